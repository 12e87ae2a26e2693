"""Blocks that name their parents wrongly: of sound form, signed, and never what they say."""

import msgspec

from consensus.effects import Broadcast
from consensus.encoding import encode
from consensus.protocol import Input
from consensus.total_order.block import Block, Content, Reference, sign_block
from consensus.total_order.messages import MESSAGE_CODEC, BlockMessage
from consensus.types import Instant
from node.lab.faults.consensus.interceptor import Effects
from node.lab.faults.consensus.situation import ReplicaSituation
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
