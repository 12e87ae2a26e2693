"""The pure glue that joins an ordering machine to a learner: effects become requests, answers become inputs.

No clock, no IO: the shell (driver.py), the simulator and the tests run this very class.
"""

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol, assert_never

from consensus import protocol
from consensus.attachment import LargePayload
from consensus.contribution import Contribution, contribution_digest
from consensus.protocol import (
    Accuse,
    Adopt,
    Assess,
    Assessed,
    Attachment,
    Broadcast,
    Check,
    Checked,
    Deliver,
    Effect,
    FetchPayload,
    FetchState,
    Finalise,
    Guard,
    Halt,
    Input,
    Offered,
    OrderingProtocol,
    PassOver,
    PayloadHeld,
    Record,
    Refuse,
    Replay,
    Restore,
    Send,
    SetTimer,
    SolvePuzzle,
    StateReached,
    Step,
    StopPuzzle,
    Submitted,
    Verdict,
    VerifyPuzzle,
)
from consensus.types import Digest, Height, Instant, NetworkId, StepId
from learning.checkpoint import checkpoint_digest, decode_kept_state, encode_kept_state
from learning.gradient.quantised import payload_digest
from learning.learner import (
    AdoptRequest,
    AssessRequest,
    CheckRequest,
    ContributionAssessed,
    ContributionFound,
    DeliveredStep,
    DeliverRequest,
    FinaliseRequest,
    GenerationDecided,
    GenerationWaits,
    GradientsJudged,
    Judgement,
    LearnerAnswer,
    LearnerRequest,
    ModelExported,
    ProposedStep,
    ReplayRequest,
    RestoreRequest,
    SearchProgress,
    SignedPayload,
    StateKept,
    StepAdopted,
    StepChecked,
    StepOffered,
)

PAYLOAD_TABLE = "payload"
"""Where large payloads lie, by their digest."""

PAYLOAD_COMMITS = 2_048
"""Total order: how long a delivered payload is kept for members that lag. Those behind by SNAPSHOT_COMMITS start from a
checkpoint; the oldest that a member may still name lies four intervals back, a thousand commits."""

SNAPSHOT_COMMITS = 256
"""Behind an agreed checkpoint by so many commits, its state is cheaper than the payloads of all these."""

STATE_TABLE = "state"
"""Where the newest kept final state lies, under one key: a restart replays from there."""

STATE_KEY = b"kept"

CHECKPOINTS_KEPT = 4
"""A peer that starts from one has three intervals' time to fetch it."""


@dataclass(frozen=True, slots=True)
class AskLearner:
    """Hand this request to the learner; its answers come back through `Replica.answered`."""

    request: LearnerRequest


@dataclass(frozen=True, slots=True)
class Forget:
    """Nobody will ask for this row again: remove it."""

    table: str
    key: bytes


OuterEffect = (
    Record
    | Forget
    | Guard
    | Send
    | Broadcast
    | SetTimer
    | SolvePuzzle
    | StopPuzzle
    | VerifyPuzzle
    | FetchPayload
    | FetchState
    | AskLearner
    | Accuse
    | Refuse
    | PassOver
    | Halt
)
"""What is left for the shell once the learner's part is routed."""

_VERDICTS = {
    Judgement.GOOD: Verdict.GOOD,
    Judgement.CONTESTED: Verdict.CONTESTED,
    Judgement.INVALID: Verdict.INVALID,
}


class ReplicaPort(Protocol):
    """What a shell drives: a replica, or what tests and testnets put in its place (`node.faults`)."""

    @property
    def ordering(self) -> OrderingProtocol:
        """The ordering machine."""
        ...

    @property
    def serves_large_bytes(self) -> bool:
        """Whether the shell hands its payloads and states to who asks for them."""
        ...

    def start(self, now: Instant) -> tuple[OuterEffect, ...]:
        """What is to be done first."""
        ...

    def handle(self, event: Input, now: Instant) -> tuple[OuterEffect, ...]:
        """What is to be done about an input."""
        ...

    def answered(self, answer: LearnerAnswer, now: Instant) -> tuple[OuterEffect, ...]:
        """What is to be done about an answer of the learner."""
        ...


class Replica:
    """One ordering machine and the way to its learner. Implements `ReplicaPort`."""

    serves_large_bytes = True

    def __init__(self, ordering: OrderingProtocol, network_id: NetworkId, held: Iterable[Digest] | None = None) -> None:
        """`held`: large payloads in the store at the start; None under proof of work, where none is ever forgotten."""
        self.ordering = ordering
        self._network_id = network_id
        self._forgets_payloads = held is not None
        self._undated_payloads: list[Digest] = list(held or ())
        """Held before this life's first delivery; they count as delivered with it."""
        self._delivered_payloads: OrderedDict[Digest, Height] = OrderedDict()
        """By their last delivery; those that have come and were not delivered, by the delivery before they came."""
        self._height = Height(0)
        """Of the last delivery in this life."""
        self._kept_commit = 0

    def start(self, now: Instant) -> tuple[OuterEffect, ...]:
        """What is to be done first."""
        return self._outer(self.ordering.start(now))

    def handle(self, event: Input, now: Instant) -> tuple[OuterEffect, ...]:
        """What is to be done about an input from the network, a timer or the puzzle process."""
        if isinstance(event, PayloadHeld) and self._forgets_payloads:
            self._note_payload(event.digest)
        return self._outer(self.ordering.handle(event, now))

    def answered(self, answer: LearnerAnswer, now: Instant) -> tuple[OuterEffect, ...]:
        """What is to be done about an answer of the learner; answers meant for people alone give nothing."""
        match answer:
            case StateKept():
                return self._kept(answer, now)
            case (
                StepAdopted() | SearchProgress() | ModelExported() | GenerationDecided() | GenerationWaits() | GradientsJudged()
            ):
                return ()
            case ContributionFound():
                return self._found(answer, now)
            case ContributionAssessed() | StepChecked() | StepOffered():
                return self.handle(_input_of(answer), now)
            case _:
                assert_never(answer)

    def _found(self, found: ContributionFound, now: Instant) -> tuple[OuterEffect, ...]:
        """Its large payloads are recorded before anybody hears of them."""
        held = tuple((Digest(payload_digest(content)), content) for content in found.large)
        for digest, _ in held:
            self._delivered_payloads.pop(digest, None)
        records = tuple(Record(PAYLOAD_TABLE, digest, content) for digest, content in held)
        attachments = tuple(Attachment(digest, len(content)) for digest, content in held)
        return (*records, *self.handle(Submitted(StepId(found.base), found.payload, attachments), now))

    def _kept(self, state: StateKept, now: Instant) -> tuple[OuterEffect, ...]:
        """Record it; under a total order, some are checkpoints that others may start from."""
        self._kept_commit = max(self._kept_commit, state.commit)
        encoded = encode_kept_state(state)
        newest = Record(STATE_TABLE, STATE_KEY, encoded)
        if state.commit == 0 or state.checkpoint == 0:
            return (newest,)
        checkpoint = Record(STATE_TABLE, checkpoint_key(state.checkpoint), encoded)
        reached = StateReached(Height(state.commit), Digest(checkpoint_digest(encoded)))
        return (newest, checkpoint, *self.handle(reached, now))

    def _outer(self, effects: tuple[Effect, ...]) -> tuple[OuterEffect, ...]:
        if not effects:
            return ()
        outer: list[OuterEffect] = [
            Record(STATE_TABLE, STATE_KEY, effect.state) for effect in effects if isinstance(effect, Restore)
        ]  # first, so that it is durable in one commit with the records that follow: neither is of use without the other
        for effect in effects:
            outer.append(self._routed(effect))
            if isinstance(effect, Deliver):
                outer += self._forgotten(effect.step)
        return tuple(outer)

    def _note_payload(self, digest: Digest) -> None:
        """It is here. Should its block never be ordered, nobody asks for it after as many commits as for a delivered one."""
        if self._height:
            self._delivered_payloads[digest] = self._height
            self._delivered_payloads.move_to_end(digest)
        else:
            self._undated_payloads.append(digest)

    def _forgotten(self, step: protocol.DeliveredStep) -> list[Forget]:
        """Payloads that were delivered so long ago that whoever lacks them starts from a checkpoint instead.

        Our own learner may be behind its deliveries, and replays those after the newest kept state: they stay.
        """
        self._height = step.height
        delivered = [attachment.digest for item in step.items for attachment in item.attachments]
        for digest in (*self._undated_payloads, *delivered):
            self._note_payload(digest)
        self._undated_payloads.clear()
        gone: list[Forget] = []
        newest_gone = min(step.height - PAYLOAD_COMMITS, self._kept_commit)
        while self._delivered_payloads and next(iter(self._delivered_payloads.values())) <= newest_gone:
            digest, _ = self._delivered_payloads.popitem(last=False)
            gone.append(Forget(PAYLOAD_TABLE, digest))
        return gone

    def _routed(self, effect: Effect) -> OuterEffect:
        match effect:
            case Assess(digest, contribution):
                return AskLearner(AssessRequest(_payload(digest, contribution)))
            case Check(step):
                return AskLearner(CheckRequest(step_for_learner(self._network_id, step)))
            case Replay(step):
                return AskLearner(ReplayRequest(step_for_learner(self._network_id, step)))
            case Adopt(step, _):
                return AskLearner(AdoptRequest(step))
            case Finalise(step, _):
                return AskLearner(FinaliseRequest(step))
            case FetchPayload(digest):  # named again, and perhaps still here: then it must stay
                self._delivered_payloads.pop(digest, None)
                return effect
            case Restore(_, state):
                return AskLearner(RestoreRequest(decode_kept_state(state)))
            case Deliver(step):
                return AskLearner(DeliverRequest(delivery_for_learner(step)))
            case _:
                return effect


def step_for_learner(network_id: NetworkId, step: Step) -> ProposedStep:
    """A step of proof of work as the learner sees it."""
    contributions = tuple(_payload(contribution_digest(network_id, item), item) for item in step.contributions)
    return ProposedStep(step.id, step.parent, step.height, step.leader, contributions, step.claim, step.state_digest)


def delivery_for_learner(step: protocol.DeliveredStep) -> DeliveredStep:
    """A step of a total order as the learner sees it."""
    items = tuple(
        SignedPayload(item.digest, item.author, item.base, item.payload, _attached(item.attachments)) for item in step.items
    )
    return DeliveredStep(step.id, step.parent, step.height, items)


def _payload(digest: Digest, contribution: Contribution) -> SignedPayload:
    attached = _attached(contribution.attachments)
    return SignedPayload(digest, contribution.author, contribution.base, contribution.payload, attached)


def _attached(attachments: Iterable[Attachment | LargePayload]) -> tuple[tuple[bytes, int], ...]:
    return tuple((attachment.digest, attachment.length) for attachment in attachments)


def _input_of(answer: ContributionAssessed | StepChecked | StepOffered) -> Input:
    match answer:
        case ContributionAssessed(digest, judgement, is_useful, detail, is_proven_lie):
            return Assessed(Digest(digest), _VERDICTS[judgement], is_useful, detail, is_proven_lie)
        case StepChecked(step, judgement, is_proven_lie, detail):
            return Checked(StepId(step), _VERDICTS[judgement], is_proven_lie, detail)
        case StepOffered(base, contributions, claim, state_digest):
            return Offered(StepId(base), tuple(Digest(item) for item in contributions), claim, Digest(state_digest))
        case _:
            assert_never(answer)


def checkpoint_key(number: int) -> bytes:
    """The newest few checkpoints stay, each in place of the one CHECKPOINTS_KEPT before it."""
    return b"checkpoint-%d" % (number % CHECKPOINTS_KEPT)
