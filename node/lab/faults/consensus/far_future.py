"""Blocks of rounds that nobody will reach: signed, of sound form, on top of parents that do not exist."""

from hashlib import blake2b

from consensus.effects import Broadcast
from consensus.encoding import encode
from consensus.protocol import Input
from consensus.total_order.block import ROUND_MAX, CommitMark, Content, Reference, sign_block
from consensus.total_order.messages import BlockMessage
from consensus.types import DIGEST_BYTES, Instant, WallTime
from node.lab.faults.consensus.interceptor import Effects
from node.lab.faults.consensus.situation import ReplicaSituation


class FarFuture:
    """With each own block it sends one more, `ahead` rounds later (total order only).

    Whoever stores blocks before their parents must bound how many (Danezis, Kokoris-Kogias, Sonnino, Spiegelman, "Narwhal and
    Tusk", EuroSys 2022, on garbage collection). Powers: its own key.
    """

    def __init__(self, ahead: int, situation: ReplicaSituation) -> None:
        self._ahead = ahead
        self._situation = situation
        self._own_blocks = situation.own_blocks

    def hear(self, event: Input, now: Instant) -> tuple[Input, ...]:  # noqa: ARG002
        """Everything."""
        return (event,)

    def say(self, effects: Effects, now: Instant) -> Effects:
        """Everything, and a forged block after each own one."""
        numbers = (self._own_blocks.pushed(effect.message) for effect in effects if isinstance(effect, Broadcast))
        rounds = [number + self._ahead for number in numbers if number is not None]
        return (*effects, *(self._forge(number, now) for number in rounds if number <= ROUND_MAX))

    def _forge(self, number: int, now: Instant) -> Broadcast:
        """Its parents are a quorum of blocks of the round before that nobody has, its own first."""
        committee, index = self._situation.committee, self._situation.index
        authors = [(index + place) % committee.size for place in range(committee.quorum)]
        content = Content(
            author=index,
            round=number,
            parents=tuple(Reference(number - 1, author, _nowhere(number, author)) for author in authors),
            items=(),
            attachments=(),
            time_ms=WallTime(max(0, now)),
            commit=CommitMark(0, bytes(DIGEST_BYTES)),
            checkpoint=None,
        )
        _, block = sign_block(self._situation.network_id, content, self._situation.sign)
        return Broadcast(encode(BlockMessage(block)))


def _nowhere(number: int, author: int) -> bytes:
    """A digest that no block has."""
    return blake2b(b"%d/%d" % (number, author), digest_size=DIGEST_BYTES).digest()
