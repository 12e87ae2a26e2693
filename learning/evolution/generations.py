"""Generations over a total order: candidates, their scores, and the next agreed model, the same at every member.

Every member holds the same generation after the same commit, since only delivered submissions count (`slate`). In its idle time
a member first looks for its candidate, of which it submits one in each generation; then it measures the candidates of the
others as they arrive, so that its scores are ready soon after the slate is closed. An observer does neither, and follows.
"""

from collections.abc import Mapping, Sequence
from typing import Generic, Protocol, TypeVar

from learning.evolution.mutation_submission import encode_submission
from learning.following.line import Head
from learning.learner import (
    AuthoredPayload,
    ContributionFound,
    DeliveredStep,
    GenerationDecided,
    GenerationWaits,
    GradientReport,
    GradientsReport,
    LearnerAnswer,
    Participant,
    SearchProgress,
    SlateEntry,
    StateKept,
    StepAdopted,
)
from learning.model_consensus.slate import GenerationResult, Ignored, Listed, ModelConsensus, Scores, Slate, next_generation
from learning.state import ModelState, state_digest

C = TypeVar("C")
"""A candidate as its author submits it, decoded."""

E = TypeVar("E", bound=Listed)
"""An entry of the slate."""


class Candidates(Protocol[C, E]):
    """One kind of candidates: where they start from, and how a member makes, measures and tells of them.

    All that is asked is about the generation that was begun last.
    """

    def origin(self, restored: StateKept | None) -> Head:
        """The first model, or the kept one. Raises StoredStateError when what is kept does not fit the task."""
        ...

    def check_start(self) -> None:
        """Measure the head that was begun with. Raises TaskError where a first model cannot be measured."""
        ...

    def begin(self, head: Head, restored: StateKept | None) -> ModelConsensus[C, E]:
        """The generation that starts from `head`, as far as a restored state has seen it; we look for our candidate from now.

        Raises StoredStateError when what is kept of it does not fit.
        """
        ...

    def state(self, entry: E) -> ModelState:
        """The model that an entry leads to, a version later."""
        ...

    def head_report(self, agreed: int | None) -> StepAdopted:
        """The head, for people. `agreed`: its agreed fitness in micro-units, unless it was restored or is the first."""
        ...

    def states_to_keep(
        self, commit: DeliveredStep, consensus: ModelConsensus[C, E], *, is_first: bool = False
    ) -> tuple[StateKept, ...]:
        """The state, where it is worth keeping; the same at every member.

        Asked after each commit, and before that, with `is_first`, where a generation has begun with it.
        """
        ...

    # --- our own part ---

    @property
    def is_active(self) -> bool:
        """Whether `advance` would look for it."""
        ...

    def advance(self) -> tuple[ContributionFound | SearchProgress, ...]:
        """One slice of search; several candidates only by a fault."""
        ...

    def fitness(self, entry: E) -> int:
        """Our own measurement, in micro-units."""
        ...

    # --- for people ---

    def slate_report(self, decision: GenerationResult[E], measured: Mapping[bytes, int]) -> tuple[SlateEntry, ...]:
        """The slate with our own measurements, by the entries' digests."""
        ...

    def gradient_reports(
        self, refused: Sequence[tuple[AuthoredPayload, Ignored]], winner: E | None, candidates: Mapping[bytes, tuple[E, ...]]
    ) -> tuple[tuple[GradientReport, ...], tuple[tuple[bytes, float], ...]]:
        """What became of a commit's submissions, and whose had which part in the winner; nothing where the slate says it all.

        `winner`: None where the commit has decided nothing.
        """
        ...

    def progress(self) -> tuple[SearchProgress, ...]:
        """How much was searched, at the end of a generation."""
        ...


class Generations(Generic[C, E]):
    """Implements `learning.following.line.Follower`."""

    def __init__(self, candidates: Candidates[C, E], participant: Participant) -> None:
        self.candidates = candidates
        self._participant = participant

    def start_from(self, restored: StateKept | None) -> None:
        """Raises StoredStateError when what is restored does not fit the task."""
        self._agreed: int | None = None
        self._begin(self.candidates.origin(restored), restored)

    def check_start(self) -> None:
        """Raises TaskError."""
        self.candidates.check_start()

    def _begin(self, head: Head, restored: StateKept | None = None) -> None:
        """A generation, and our own part in it."""
        self.consensus = self.candidates.begin(head, restored)
        self.head = head
        self._measured: dict[bytes, int] = {}
        """Our own measurements in micro-units, by the entries' digests."""
        self._has_offered = self._has_scored = False

    # --- what the order delivers ------------------------------------------------------------------------------------

    def deliver(self, step: DeliveredStep) -> tuple[LearnerAnswer, ...]:
        """Take a commit's submissions. Raises PayloadMissingError."""
        before = self.waits()
        taken = tuple((item, self.consensus.deliver(item)) for item in step.items)
        refused = tuple((item, reason) for item, reason in taken if reason is not None)
        match self.consensus.end_of_commit():
            case GenerationResult() as decision:
                answers = self._decide(step, refused, decision)
            case Slate() | None:
                rows, weights = self.candidates.gradient_reports(refused, None, self.consensus.candidates)
                told = (GradientsReport(step.id, self.head.model.height, rows, weights),) if rows else ()
                waits = self.waits()
                answers = (*told, *waits) if waits != before else told
        return (*answers, *self.candidates.states_to_keep(step, self.consensus))

    def _decide(
        self, commit: DeliveredStep, refused: Sequence[tuple[AuthoredPayload, Ignored]], decision: GenerationResult[E]
    ) -> tuple[LearnerAnswer, ...]:
        parent, winner = self.head.step, decision.slate.entries[decision.winner]
        rows, weights = self.candidates.gradient_reports(refused, winner, self.consensus.candidates)
        slate = self.candidates.slate_report(decision, self._measured)
        ignored = tuple((reason.value, count) for reason, count in decision.ignored)
        model = self.candidates.state(winner)
        digest = state_digest(model)
        author = slate[decision.winner].author
        step, height = next_generation(parent, winner.digest, digest), model.height
        self._agreed = decision.agreed[decision.winner]
        self._begin(Head(step, model, digest))
        return (
            self.head_report(),
            *((GradientsReport(step, height, rows, weights),) if rows else ()),
            GenerationDecided(
                step, height, parent, slate, decision.winner, decision.scorers, ignored, () if author is None else (author,)
            ),
            *self.candidates.states_to_keep(commit, self.consensus, is_first=True),
            *self.waits(),
            *self.candidates.progress(),
        )

    def head_report(self) -> StepAdopted:
        """For people."""
        return self.candidates.head_report(self._agreed)

    def waits(self) -> tuple[GenerationWaits]:
        """For whose candidates, or scores."""
        consensus = self.consensus
        return (GenerationWaits(self.head.step, self.head.model.height, consensus.phase, consensus.counted, consensus.needed),)

    # --- what we submit ---------------------------------------------------------------------------------------------

    @property
    def is_scoring(self) -> bool:
        """Whether the next slice measures an entry of the slate."""
        return not self._may_offer

    @property
    def is_searching(self) -> bool:
        """Whether `search` has anything to do before the next delivery."""
        return not self._participant.is_observer and (self._may_offer or self._may_score or self._entry_to_measure is not None)

    @property
    def is_part_due(self) -> bool:
        """Whether our own part in the phase under way is being made."""
        return not self._participant.is_observer and (self._may_offer or self._may_score)

    def search(self) -> tuple[LearnerAnswer, ...]:
        """One slice of search, or one measurement; our candidate or our scores, once they are ready."""
        if not self.is_searching:
            return ()
        if self._may_offer:
            answers = self.candidates.advance()
            self._has_offered = any(isinstance(answer, ContributionFound) for answer in answers)
            return answers
        entry = self._entry_to_measure
        if entry is None:
            return (self._score(),)
        self._measured[entry.digest] = self.candidates.fitness(entry)
        return ()

    @property
    def _may_offer(self) -> bool:
        """The slate is open, and our candidate neither on it nor on its way."""
        if self._has_offered or self.consensus.slate is not None or not self.candidates.is_active:
            return False
        return self._participant.author not in self.consensus.counted

    @property
    def _may_score(self) -> bool:
        """The slate is closed, and our scores neither delivered nor on their way."""
        return (
            self.consensus.slate is not None and not self._has_scored and self._participant.author not in self.consensus.counted
        )

    @property
    def _entry_to_measure(self) -> E | None:
        """The next entry to measure, for scores that are still to be given."""
        if self.consensus.slate is not None and not self._may_score:
            return None
        return next((entry for entry in self.consensus.entries if entry.digest not in self._measured), None)

    def _score(self) -> ContributionFound:
        slate = self.consensus.slate
        assert slate is not None, "scores for an open slate"
        self._has_scored = True
        scores = Scores(slate.digest, tuple(self._measured[entry.digest] for entry in slate.entries))
        return ContributionFound(self.head.step, encode_submission(scores))
