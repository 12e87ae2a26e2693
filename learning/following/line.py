"""Follow a total order: take each commit once and without a gap, keep states, go on from one that enough members vouch for."""

from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar, assert_never

from learning.learner import (
    AdoptRequest,
    AssessRequest,
    CheckRequest,
    DeliveredStep,
    DeliverRequest,
    ExportRequest,
    FinaliseRequest,
    LearnerAnswer,
    LearnerRequest,
    ModelExported,
    OwnPartDue,
    Participant,
    ReplayRequest,
    RestoreRequest,
    StateKept,
    StepAdopted,
    StepApplied,
)
from learning.state import ModelState, StoredStateError, genesis_state, parameter_bytes, state_digest, stored_state
from learning.task import Layout


@dataclass(frozen=True, slots=True)
class Head:
    """The agreed model: the same at every member after the same commit."""

    step: bytes
    """What has led to it."""
    model: ModelState
    digest: bytes
    """Of the model (`learning.state.state_digest`)."""


def kept_state(head: Head, commit: DeliveredStep, checkpoint: int, memory: bytes = b"") -> StateKept:
    """After this commit. `checkpoint`: as in `StateKept`; `memory`: what is needed besides the model."""
    model = head.model
    parameters = parameter_bytes(model)
    return StateKept(head.step, model.height, parameters, commit.height, commit.id, head.digest, memory, checkpoint)


def origin_of(layout: Layout, participant: Participant, restored: StateKept | None) -> Head:
    """Genesis, or a kept model. Raises StoredStateError when that does not fit the layout, or is not what its digest names."""
    if restored is None:
        model = genesis_state(participant.network_id, layout)
        return Head(participant.genesis_step, model, state_digest(model))
    model = stored_state(restored.parameters, restored.height, layout)
    if state_digest(model) != restored.state_digest:
        raise StoredStateError(f"the stored model of height {restored.height} is not the one that its digest names")
    return Head(restored.step, model, restored.state_digest)


class Follower(Protocol):
    """What a kind of learning makes of the commits, and what this peer does in its idle time."""

    def start_from(self, restored: StateKept | None) -> None:
        """Forget all, and go on from genesis or from a kept state. Raises StoredStateError when that does not fit the task."""
        ...

    def check_start(self) -> None:
        """Measure the head, before anything else. Raises TaskError where the task cannot even measure a first model."""
        ...

    def deliver(self, step: DeliveredStep) -> tuple[LearnerAnswer, ...]:
        """Apply the next commit; the states worth keeping are among what is told. They are the same at every member, after the
        same commits, so that members can vouch for one another's. Raises PayloadMissingError when a payload is not held.
        """
        ...

    @property
    def head(self) -> Head:
        """After the newest commit."""
        ...

    def head_report(self) -> StepAdopted:
        """What people want to know of the head."""
        ...

    def waits(self) -> tuple[LearnerAnswer, ...]:
        """What is waited for before the head moves, where there is something to wait for."""
        ...

    @property
    def is_scoring(self) -> bool:
        """As in `learning.learner.Learner`."""
        ...

    @property
    def is_searching(self) -> bool:
        """Whether `search` has anything to do before the next commit."""
        ...

    @property
    def is_part_due(self) -> bool | None:
        """As in `OwnPartDue`; None where there are no phases."""
        ...

    def search(self) -> tuple[LearnerAnswer, ...]:
        """One slice of our own work, if there is any."""
        ...


F = TypeVar("F", bound=Follower)


class LineLearner(Generic[F]):
    """Implements `learning.learner.Learner` for a total order among known members.

    Deliveries come without a gap: the first has height 1, or follows the `commit` of the `restored` state; those that it
    already holds are passed over. So a restart hands over the newest kept state and replays the deliveries after it: what the
    member itself had submitted is in there, and is not submitted again; what was never delivered is found and submitted once
    more. Without a restart nothing is: the ordering must not lose a submission.
    """

    def __init__(self, follower: F, restored: StateKept | None) -> None:
        """Starts from genesis, or from a `restored` state. Raises TaskError (StoredStateError for what is restored)."""
        self.follower = follower
        self._told_part_due: bool | None = None
        self._start_from(restored)
        follower.check_start()

    def _start_from(self, restored: StateKept | None) -> None:
        self.follower.start_from(restored)
        self._commit = 0 if restored is None else restored.commit

    def handle(self, request: LearnerRequest) -> tuple[LearnerAnswer, ...]:
        """Answer one request. Raises PayloadMissingError when a delivered payload is not held.

        An AdoptRequest is answered with the model at the head, whatever step it names: a total order has one head.
        """
        match request:
            case DeliverRequest(step):
                return (*self._deliver(step), *self._part_news(), StepApplied(step.height))
            case RestoreRequest(state):
                self._start_from(state)
                return (self.follower.head_report(), *self.follower.waits(), *self._part_news())
            case AdoptRequest():
                return (self.follower.head_report(), *self.follower.waits(), *self._part_news())
            case ExportRequest():
                head = self.follower.head
                return (ModelExported(head.step, head.model.height, head.digest, parameter_bytes(head.model)),)
            case AssessRequest() | CheckRequest() | ReplayRequest() | FinaliseRequest():
                raise AssertionError(f"a total order does not ask for {type(request).__name__}")
            case _:
                assert_never(request)

    def _deliver(self, step: DeliveredStep) -> tuple[LearnerAnswer, ...]:
        if step.height <= self._commit:
            return ()
        assert step.height == self._commit + 1, f"delivery {step.height} after {self._commit}"
        self._commit = step.height
        return self.follower.deliver(step)

    @property
    def is_scoring(self) -> bool:
        """Whether the next slice of `search` measures what others offer, and finds nothing of our own."""
        return self.follower.is_scoring

    @property
    def is_searching(self) -> bool:
        """Whether `search` has anything to do before the next delivery."""
        return self.follower.is_searching

    def search(self) -> tuple[LearnerAnswer, ...]:
        """One slice of our own work, if there is any."""
        return (*self.follower.search(), *self._part_news())

    def _part_news(self) -> tuple[OwnPartDue, ...]:
        """What has changed since it was told: after what was found, so that nobody takes it for lost in between."""
        is_due = self.follower.is_part_due
        if is_due is None or is_due == self._told_part_due:
            return ()
        self._told_part_due = is_due
        return (OwnPartDue(is_due),)
