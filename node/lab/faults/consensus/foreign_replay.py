"""What was signed elsewhere is sent here: beside each own block the one that was signed for another network."""

from dataclasses import replace
from hashlib import blake2b

import msgspec

from consensus.effects import Broadcast
from consensus.encoding import encode
from consensus.proof_of_work import messages as work
from consensus.proof_of_work.header import Block as WorkBlock
from consensus.proof_of_work.header import draft_of, sign_header
from consensus.protocol import Input
from consensus.total_order import messages as order
from consensus.total_order.block import sign_block
from consensus.types import DIGEST_BYTES, Instant, NetworkId, WallTime
from node.lab.faults.consensus.interceptor import Effects
from node.lab.faults.consensus.situation import ReplicaSituation

APART_MS = 1
"""The foreign block is dated so much later: one of equal content would be taken for the one that is known."""


class ForeignReplay:
    """Sends after each own block the one that its key has signed in another network, of the same members and rules.

    Source: replay between chains that share their keys and formats, as after Ethereum's fork of 2016 (EIP-155). Powers: its own
    key, which takes part in both networks.
    """

    def __init__(self, situation: ReplicaSituation) -> None:
        self._situation = situation
        self._own_blocks = situation.own_blocks
        self._elsewhere = NetworkId(blake2b(situation.network_id, digest_size=DIGEST_BYTES).digest())

    def hear(self, event: Input, now: Instant) -> tuple[Input, ...]:  # noqa: ARG002
        """Everything."""
        return (event,)

    def say(self, effects: Effects, now: Instant) -> Effects:  # noqa: ARG002
        """Everything, and after each own block its twin from elsewhere."""
        messages = (effect.message for effect in effects if isinstance(effect, Broadcast))
        own = (message for message in messages if self._own_blocks.pushed(message) is not None)
        return (*effects, *(Broadcast(self._foreign(message)) for message in own))

    def _foreign(self, message: bytes) -> bytes:
        return self._foreign_order_block(message) if self._situation.members else self._foreign_work_block(message)

    def _foreign_order_block(self, message: bytes) -> bytes:
        told = order.MESSAGE_CODEC.decode(message)
        assert isinstance(told, order.BlockMessage), "what is pushed is a block"
        content = msgspec.structs.replace(told.block.content, time_ms=told.block.content.time_ms + APART_MS)
        _, block = sign_block(self._elsewhere, content, self._situation.sign)
        return encode(order.BlockMessage(block))

    def _foreign_work_block(self, message: bytes) -> bytes:
        told = work.MESSAGE_CODEC.decode(message)
        assert isinstance(told, work.BlockMessage), "what is pushed is a block"
        draft = draft_of(told.block.header)
        nonce = int.from_bytes(told.block.header.nonce, "big")
        later = replace(draft, time_ms=WallTime(draft.time_ms + APART_MS))
        foreign = sign_header(self._elsewhere, later, nonce, self._situation.sign)
        return encode(work.BlockMessage(WorkBlock(foreign, told.block.body)))
