"""The pure glue that joins an ordering machine to a learner: effects become requests, answers become inputs.

No clock, no IO: the shell (driver.py), the simulator and the tests run this very class.
"""

from dataclasses import dataclass
from typing import assert_never

from consensus import protocol
from consensus.contribution import Contribution, contribution_digest
from consensus.protocol import (
    Accuse,
    Adopt,
    Assess,
    Assessed,
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
    Record,
    Refuse,
    Replay,
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
from learning.checkpoint import CHECKPOINT_INTERVAL, checkpoint_digest, encode_kept_state
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
    Judgement,
    LearnerAnswer,
    LearnerRequest,
    ModelExported,
    ProposedStep,
    ReplayRequest,
    SearchProgress,
    SignedPayload,
    StateKept,
    StepAdopted,
    StepChecked,
    StepOffered,
)

STATE_TABLE = "state"
"""Where the newest kept final state lies, under one key: a restart replays from there."""

STATE_KEY = b"kept"

CHECKPOINTS_KEPT = 4
"""A peer that starts from one has three intervals' time to fetch it."""


@dataclass(frozen=True, slots=True)
class AskLearner:
    """Hand this request to the learner; its answers come back through `Replica.answered`."""

    request: LearnerRequest


OuterEffect = (
    Record
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
    | Halt
)
"""What is left for the shell once the learner's part is routed."""

_VERDICTS = {
    Judgement.GOOD: Verdict.GOOD,
    Judgement.CONTESTED: Verdict.CONTESTED,
    Judgement.INVALID: Verdict.INVALID,
}


class Replica:
    """One ordering machine and the way to its learner."""

    def __init__(self, ordering: OrderingProtocol, network_id: NetworkId) -> None:
        self.ordering = ordering
        self._network_id = network_id

    def start(self, now: Instant) -> tuple[OuterEffect, ...]:
        """What is to be done first."""
        return self._outer(self.ordering.start(now))

    def handle(self, event: Input, now: Instant) -> tuple[OuterEffect, ...]:
        """What is to be done about an input from the network, a timer or the puzzle process."""
        return self._outer(self.ordering.handle(event, now))

    def answered(self, answer: LearnerAnswer, now: Instant) -> tuple[OuterEffect, ...]:
        """What is to be done about an answer of the learner; answers meant for people alone give nothing."""
        match answer:
            case StateKept():
                return self._kept(answer, now)
            case StepAdopted() | SearchProgress() | ModelExported() | GenerationDecided() | GenerationWaits():
                return ()
            case ContributionAssessed() | StepChecked() | ContributionFound() | StepOffered():
                return self.handle(_input_of(answer), now)
            case _:
                assert_never(answer)

    def _kept(self, state: StateKept, now: Instant) -> tuple[OuterEffect, ...]:
        """Record it; under a total order, some are checkpoints that others may start from."""
        encoded = encode_kept_state(state)
        newest = Record(STATE_TABLE, STATE_KEY, encoded)
        if state.commit == 0 or state.height % CHECKPOINT_INTERVAL:
            return (newest,)
        checkpoint = Record(STATE_TABLE, checkpoint_key(state.height), encoded)
        reached = StateReached(Height(state.commit), Digest(checkpoint_digest(encoded)))
        return (newest, checkpoint, *self.handle(reached, now))

    def _outer(self, effects: tuple[Effect, ...]) -> tuple[OuterEffect, ...]:
        return tuple(self._routed(effect) for effect in effects)

    def _routed(self, effect: Effect) -> OuterEffect:
        match effect:
            case Assess(digest, contribution):
                return AskLearner(AssessRequest(_payload(digest, contribution)))
            case Check(step):
                return AskLearner(CheckRequest(self._proposed(step)))
            case Replay(step):
                return AskLearner(ReplayRequest(self._proposed(step)))
            case Adopt(step, _):
                return AskLearner(AdoptRequest(step))
            case Finalise(step, _):
                return AskLearner(FinaliseRequest(step))
            case Deliver(step):
                return AskLearner(DeliverRequest(_delivered(step)))
            case _:
                return effect

    def _proposed(self, step: Step) -> ProposedStep:
        contributions = tuple(_payload(contribution_digest(self._network_id, item), item) for item in step.contributions)
        return ProposedStep(step.id, step.parent, step.height, contributions, step.claim, step.state_digest)


def _delivered(step: protocol.DeliveredStep) -> DeliveredStep:
    items = tuple(SignedPayload(item.digest, item.author, item.base, item.payload) for item in step.items)
    return DeliveredStep(step.id, step.parent, step.height, items)


def _payload(digest: Digest, contribution: Contribution) -> SignedPayload:
    return SignedPayload(digest, contribution.author, contribution.base, contribution.payload)


def _input_of(answer: ContributionAssessed | StepChecked | ContributionFound | StepOffered) -> Input:
    match answer:
        case ContributionAssessed(digest, judgement, is_useful, detail):
            return Assessed(Digest(digest), _VERDICTS[judgement], is_useful, detail)
        case StepChecked(step, judgement, is_proven_lie, detail):
            return Checked(StepId(step), _VERDICTS[judgement], is_proven_lie, detail)
        case ContributionFound(base, payload):
            return Submitted(StepId(base), payload)
        case StepOffered(base, contributions, claim, state_digest):
            return Offered(StepId(base), tuple(Digest(item) for item in contributions), claim, Digest(state_digest))
        case _:
            assert_never(answer)


def checkpoint_key(height: int) -> bytes:
    """The newest few checkpoints stay, each in place of the one CHECKPOINTS_KEPT before it."""
    return b"checkpoint-%d" % (height // CHECKPOINT_INTERVAL % CHECKPOINTS_KEPT)
