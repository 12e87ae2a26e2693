"""Blocks of a total order that name their parents wrongly, or too late: of sound form, signed, and of no use to the others."""

from collections import deque
from dataclasses import dataclass
from hashlib import blake2b

import msgspec

from consensus.effects import Broadcast, SetTimer
from consensus.encoding import MalformedBytesError, encode
from consensus.protocol import Input, Received
from consensus.total_order.block import ROUND_MAX, Block, CommitMark, Content, Reference, sign_block
from consensus.total_order.messages import MESSAGE_BYTES_MAX, MESSAGE_CODEC, BlockMessage
from consensus.types import DIGEST_BYTES, Instant, WallTime
from node.lab.faults.consensus.interceptor import Effects, ReplicaSituation, contents_of, is_timer
from node.runtime.coupling import OuterEffect

TIMES = 2
"""How often each is sent: what is kept nowhere must not be missed when it comes again."""


class FalseParents:
    """In place of its own block it sends, twice, one that names a parent by an earlier round; the true one follows as its twin.

    References are judged by all that they say, and a graph must stay whole whatever they say (Keidar, Kokoris-Kogias, Naor,
    Spiegelman, "All You Need is DAG", PODC 2021, on the validity of blocks; total order only). Powers: its own key.
    """

    def __init__(self, situation: ReplicaSituation) -> None:
        self._situation = situation
        self._own_blocks = situation.own_blocks

    def hear(self, event: Input, now: Instant) -> tuple[Input, ...]:  # noqa: ARG002
        """Everything."""
        return (event,)

    def say(self, effects: Effects, now: Instant) -> Effects:  # noqa: ARG002
        """Everything, and false blocks before the true ones."""
        said: list[OuterEffect] = []
        for effect in effects:
            if isinstance(effect, Broadcast) and self._own_blocks.pushed(effect.message) is not None:
                said += self._false(effect)
            said.append(effect)
        return tuple(said)

    def _false(self, effect: Broadcast) -> list[OuterEffect]:
        """None where the block has no parent to spare: then it would not even have a sound form."""
        message = MESSAGE_CODEC.decode(effect.message)
        assert isinstance(message, BlockMessage), "an own block is pushed in a message of its own"
        content = message.block.content
        newest = [parent for parent in content.parents[1:] if parent.round == content.round - 1]
        if len(newest) < self._situation.committee.quorum or content.round < 3:
            return []
        block = self._sign(content, newest[-1])
        return [Broadcast(encode(BlockMessage(block)))] * TIMES

    def _sign(self, content: Content, misnamed: Reference) -> Block:
        false = Reference(misnamed.round - 1, misnamed.author, misnamed.digest)
        parents = tuple(false if parent == misnamed else parent for parent in content.parents)
        misnaming = msgspec.structs.replace(content, parents=parents)
        _, block = sign_block(self._situation.network_id, misnaming, self._situation.sign)
        return block


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


HELD_MAX = 1_000
"""Messages not heard yet; what comes beyond them is heard at once. Some rounds' worth of 200 members."""

OLD_PARENTS_TIMER = "fault/old-parents"


@dataclass(frozen=True, slots=True)
class _Unheard:
    event: Received
    leader_round: int
    """It is heard after our own block of the round after this."""
    until: Instant


class OldParents:
    """Its blocks name the leaders' blocks when these are old: valid parents, and never a vote (total order only).

    It hears a leader's block once its own block of the next round is out, or after `hold_ms`. Source: a Byzantine validator may
    choose any quorum of parents (Babel, Chursin, Danezis, Kichidis, Kokoris-Kogias, Koshy, Sonnino, Tian, "Mysticeti", NDSS
    2025). Powers: none; the order of hearing is its own.
    """

    def __init__(self, hold_ms: int, situation: ReplicaSituation) -> None:
        self._hold_ms = hold_ms
        self._committee = situation.committee
        self._index = situation.index
        self._own_blocks = situation.own_blocks
        self._own_round = 0
        self._unheard: deque[_Unheard] = deque()

    def hear(self, event: Input, now: Instant) -> tuple[Input, ...]:
        """A leader's block later, all else now."""
        if is_timer(event, OLD_PARENTS_TIMER):
            return self._due(now)
        leader_round = self._newest_leader_round(event) if isinstance(event, Received) else 0
        if leader_round < max(1, self._own_round) or len(self._unheard) >= HELD_MAX:
            return (event,)
        assert isinstance(event, Received), "only a message brings a block"
        self._unheard.append(_Unheard(event, leader_round, Instant(now + self._hold_ms)))
        return ()

    def say(self, effects: Effects, now: Instant) -> Effects:
        """Everything; once our own block is out, what waited for it is heard."""
        for effect in effects:
            if isinstance(effect, Broadcast):
                self._own_round = max(self._own_round, self._own_blocks.pushed(effect.message) or 0)
        if not self._unheard:
            return effects
        is_due = any(unheard.leader_round < self._own_round for unheard in self._unheard)
        return (*effects, SetTimer(OLD_PARENTS_TIMER, now if is_due else self._unheard[0].until))

    def _due(self, now: Instant) -> tuple[Input, ...]:
        due = tuple(unheard for unheard in self._unheard if unheard.leader_round < self._own_round or unheard.until <= now)
        self._unheard = deque(unheard for unheard in self._unheard if unheard not in due)
        return tuple(unheard.event for unheard in due)

    def _newest_leader_round(self, event: Received) -> int:
        """The newest round of which this message brings another leader's block; 0 when it brings none."""
        if len(event.message) > MESSAGE_BYTES_MAX:
            return 0
        try:
            contents = contents_of(event.message)
        except MalformedBytesError:  # the honest machine judges it
            return 0
        rounds = (
            content.round
            for content in contents
            if content.author != self._index and content.author == self._committee.leader_of(content.round)
        )
        return max(rounds, default=0)
