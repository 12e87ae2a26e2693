"""One key that signs twice: for two machines, or for two networks.

Each of two machines with one key signs for itself, and each is seen by its part of the others alone. Source: Bano, Sonnino,
Chursin, Perelman, Li, Ching, Malkhi, "Twins: BFT Systems Made Robust", OPODIS 2021.
"""

from dataclasses import replace
from hashlib import blake2b

import msgspec

from consensus.effects import Broadcast, FetchAttachment, Halt, Send, SetTimer
from consensus.encoding import encode
from consensus.proof_of_work import messages as work
from consensus.proof_of_work.header import Block as WorkBlock
from consensus.proof_of_work.header import draft_of, sign_header
from consensus.protocol import Input, OrderingProtocol, Received, StateHeld, TimerFired
from consensus.total_order import messages as order
from consensus.total_order.block import sign_block
from consensus.total_order.messages import MESSAGE_CODEC, AskOwn, OwnNewest
from consensus.types import DIGEST_BYTES, Instant, NetworkId, PeerId, WallTime
from learning.learner import ContributionFound, LearnerAnswer
from node.lab.faults.consensus.interceptor import Audience, Effects, ReplicaSituation
from node.runtime.coupling import OuterEffect, ReplicaPort
from node.runtime.learner_queue import Awaited

TWIN_TIMERS = "fault/twin/"
"""Before the names of the second twin's timers."""

CLOCKS_APART_MS = 1
"""The second twin's clock is ahead by this, so that no two blocks of theirs are alike."""


class Twins:
    """Equivocates: what one part of the audience holds for this member's block of a round is not what the other part holds.

    Records, guard and learner are the first twin's; what the learner finds goes to both. Where a twin asks members outside its
    part for its own newest block, as it does before it signs anything, it is told that there is none. A twin that hears of the
    other one's blocks stops, as any honest member would whose key is in use elsewhere. Implements `ReplicaPort` (total order
    only). Powers: runs a second machine with its key, and picks who sees which.
    """

    def __init__(self, first: ReplicaPort, second: ReplicaPort, share: float) -> None:
        """The second twin is seen by this share of the others."""
        self._twins = (first, second)
        self._seers_of_second = Audience(share)

    @property
    def ordering(self) -> OrderingProtocol:
        """The first twin's machine."""
        return self._twins[0].ordering

    @property
    def awaited(self) -> Awaited | None:
        """As an honest peer."""
        return self._twins[0].awaited

    def start(self, now: Instant) -> Effects:
        """Both begin."""
        first, second = self._twins
        return self._said(0, first.start(now), now) + self._said(1, second.start(_later(now)), now)

    def handle(self, event: Input, now: Instant) -> Effects:
        """A message goes to the twin that its sender sees, a timer to its owner, all else to both."""
        self._seers_of_second.note(event)
        match event:
            case Received(peer):
                return self._heard(int(self._seers_of_second.is_chosen(peer)), event, now)
            case TimerFired(name) if name.startswith(TWIN_TIMERS):
                return self._heard(1, TimerFired(name.removeprefix(TWIN_TIMERS)), now)
            case TimerFired() | StateHeld():
                return self._heard(0, event, now)
            case _:
                return self._heard(0, event, now) + self._heard(1, event, now)

    def handle_answer(self, answer: LearnerAnswer, now: Instant) -> Effects:
        """The second twin has no learner of its own; it signs what the first one's finds."""
        first, second = self._twins
        effects = self._said(0, first.handle_answer(answer, now), now)
        if isinstance(answer, ContributionFound):
            effects += self._said(1, second.handle_answer(answer, _later(now)), now)
        return effects

    def _heard(self, twin: int, event: Input, now: Instant) -> Effects:
        return self._said(twin, self._twins[twin].handle(event, _later(now) if twin else now), now)

    def _said(self, twin: int, effects: Effects, now: Instant) -> Effects:
        """What a twin wants done, as far as its part of the world goes."""
        said: Effects = ()
        for effect in effects:
            match effect:
                case Broadcast(message):
                    said += tuple(Send(peer, message) for peer in self._seers(twin))
                case Send(peer, message) if peer not in self._seers(twin):
                    said += self._answer_for(twin, peer, message, now)
                case _:
                    said += self._done(twin, effect)
        return said

    def _done(self, twin: int, effect: OuterEffect) -> Effects:
        """A stopped twin stops nobody; of what the second twin wants, only messages, timers and payloads leave it."""
        match effect:
            case Send() | FetchAttachment():
                return (effect,)
            case SetTimer(name, at) if twin == 1:
                return (replace(effect, name=TWIN_TIMERS + name, at=Instant(at - CLOCKS_APART_MS)),)
            case Halt():
                return ()
            case _:
                return () if twin == 1 else (effect,)

    def _answer_for(self, twin: int, peer: PeerId, message: bytes, now: Instant) -> Effects:
        """Somebody who does not see this twin is asked for its own newest block: it has none, says the other twin."""
        question = MESSAGE_CODEC.decode(message)
        if not isinstance(question, AskOwn):
            return ()
        return self._heard(twin, Received(peer, encode(OwnNewest(question.incarnation, None))), now)

    def _seers(self, twin: int) -> tuple[PeerId, ...]:
        return self._seers_of_second.connected(chosen=bool(twin))


def _later(now: Instant) -> Instant:
    return Instant(now + CLOCKS_APART_MS)


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
