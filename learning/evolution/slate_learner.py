"""The evolutionary learner over a total order: searches, scores what the others found, and follows what the order decides.

Every member holds the same generation after the same commit, since only delivered submissions count (`slate`). In its idle time
a member first looks for its candidate, of which it submits one in each generation; then it measures the candidates of the
others as they arrive, so that its scores are ready soon after the slate is closed. An observer does neither, and follows.
"""

from typing import assert_never

from learning.checkpoint import CHECKPOINT_INTERVAL
from learning.evolution.explorer import Explorer
from learning.evolution.measurement import Measurement
from learning.evolution.mutation import Mutating, Mutation
from learning.evolution.mutation_slate import Entry, MutationCandidacy
from learning.evolution.origin import kept_interval, origin_of
from learning.evolution.payload import Candidate
from learning.evolution.recipe import Recipe
from learning.evolution.rules import EvolutionRules, SearchSettings
from learning.evolution.scores import Scores, Submission, encode_submission
from learning.evolution.slate import Decision, ModelConsensus, Slate, next_generation
from learning.exact import MICRO
from learning.following.state_tree import final_step
from learning.learner import (
    AdoptRequest,
    AssessRequest,
    CheckRequest,
    ContributionFound,
    DeliveredStep,
    DeliverRequest,
    ExportRequest,
    FinaliseRequest,
    GenerationDecided,
    GenerationWaits,
    LearnerAnswer,
    LearnerRequest,
    ModelExported,
    ReplayRequest,
    RestoreRequest,
    SlateEntry,
    StateKept,
    StepAdopted,
    StepApplied,
)
from learning.state import parameter_bytes, state_digest
from learning.task import Task
from learning.task_check import check_task


class SlateLearner:
    """Implements `learning.learner.Learner` for a total order among known members.

    Deliveries come without a gap: the first has height 1, or follows the `commit` of the `restored` state; those that it
    already holds are passed over. So a restart hands over the newest kept state and replays the deliveries after it: what
    the member itself had submitted in that generation is in there, and is not submitted again; what was never delivered is
    found and submitted once more. Without a restart nothing is: the ordering must not lose a submission.
    """

    def __init__(  # noqa: PLR0917 - each is another thing, of another owner
        self,
        task: Task,
        rules: EvolutionRules,
        network_id: bytes,
        author: bytes,
        members: tuple[bytes, ...],
        genesis_step: bytes,
        settings: SearchSettings,
        restored: StateKept | None = None,
    ) -> None:
        """Starts from genesis, or from a `restored` state. Who is not among the members, or does not search, is an observer.

        Of the rules, `fitness_tolerance` and `regression_allowed` are of no concern here: claims are not used, and the parent
        is on the slate. Raises TaskError (StoredStateError for what is restored).
        """
        self._task = check_task(task)
        self._rules = rules
        self._network_id = network_id
        self._author = author
        self._members = members
        self._genesis_step = genesis_step
        self._is_observer = author not in members or not settings.is_searching
        self._measurement = Measurement(self._task, network_id)
        self._mutating = Mutating(network_id, rules)
        self._explorer = Explorer(self._task, rules, settings, network_id, author, self._measurement)
        self._start_from(restored)

    def _start_from(self, restored: StateKept | None) -> None:
        """Raises StoredStateError when what is restored does not fit the task."""
        self._head, self._model = origin_of(self._task.layout, self._network_id, self._genesis_step, restored)
        self._commit = 0 if restored is None else restored.commit
        self._commit_step = b"" if restored is None else restored.commit_step
        candidacy = MutationCandidacy(len(self._members), self._rules.recipe_length_max)
        self._consensus = ModelConsensus(self._members, self._head.id, candidacy)
        self._agreed: int | None = None
        self._begin()

    def _begin(self) -> None:
        """Our part in the generation that has just begun."""
        self._measured: dict[bytes | None, int] = {}
        self._has_offered = self._has_scored = False
        if not self._is_observer:
            self._explorer.start_from(self._head.id, self._model)

    def handle(self, request: LearnerRequest) -> tuple[LearnerAnswer, ...]:
        """Answer one request. Raises TaskError when the task fails.

        An AdoptRequest is answered with the model at the head, whatever step it names: a total order has one head.
        """
        match request:
            case DeliverRequest(step):
                return (*self._deliver(step), StepApplied(step.height))
            case RestoreRequest(state):
                self._start_from(state)
                return (self._adopted(), self._waits())
            case AdoptRequest():
                return (self._adopted(),)
            case ExportRequest():
                return (self._export(),)
            case AssessRequest() | CheckRequest() | ReplayRequest() | FinaliseRequest():
                raise AssertionError(f"a total order does not ask for {type(request).__name__}")
            case _:
                assert_never(request)

    # --- what the order delivers ------------------------------------------------------------------------------------

    def _deliver(self, step: DeliveredStep) -> tuple[LearnerAnswer, ...]:
        if step.height <= self._commit:
            return ()
        assert step.height == self._commit + 1, f"delivery {step.height} after {self._commit}"
        self._commit, self._commit_step = step.height, step.id
        before = self._waits()
        for item in step.items:
            self._consensus.deliver(item)
        match self._consensus.end_of_commit():
            case Decision() as decision:
                return self._decide(decision)
            case Slate() | None:
                waits = self._waits()
                return (waits,) if waits != before else ()

    def _decide(self, decision: Decision[Entry]) -> tuple[LearnerAnswer, ...]:
        parent, winner = self._head, decision.slate.entries[decision.winner]
        self._model = self._mutating.child(parent.id, self._model, winner.mutation)
        digest = state_digest(self._model)
        self._head = final_step(next_generation(parent.id, winner.digest, digest), self._model.height, digest)
        self._consensus.begin(self._head.id)
        self._agreed = decision.agreed[decision.winner]
        decided = self._decided(decision, parent.id)
        self._begin()
        return (self._adopted(), decided, *self._kept(), self._waits(), *self._explorer.progress(1))

    def _decided(self, decision: Decision[Entry], parent: bytes) -> GenerationDecided:
        slate = tuple(self._shown(*pair) for pair in zip(decision.slate.entries, decision.agreed, strict=True))
        ignored = tuple((reason.value, count) for reason, count in decision.ignored)
        head = self._head
        return GenerationDecided(head.id, head.height, parent, slate, decision.winner, decision.scorers, ignored)

    def _shown(self, entry: Entry, agreed: int) -> SlateEntry:
        author = _author_of(entry)
        return SlateEntry(author, entry.claimed_fitness, agreed, self._measured.get(author))

    def _kept(self) -> tuple[StateKept, ...]:
        """At the same heights at every member, so that they can vouch for one another's."""
        head = self._head
        if head.height % kept_interval(self._task.layout):
            return ()
        checkpoint = 0 if head.height % CHECKPOINT_INTERVAL else head.height // CHECKPOINT_INTERVAL
        kept = StateKept(
            head.id,
            head.height,
            parameter_bytes(self._model),
            self._commit,
            self._commit_step,
            head.state_digest,
            checkpoint=checkpoint,
        )
        return (kept,)

    def _waits(self) -> GenerationWaits:
        head, consensus = self._head, self._consensus
        return GenerationWaits(head.id, head.height, consensus.phase, consensus.counted, consensus.needed)

    def _adopted(self) -> StepAdopted:
        """The fitness is the agreed one, on the parent's batch; at genesis and after a restart our own measurement."""
        head = self._head
        fitness = self._fitness_of(None) if self._agreed is None else self._agreed
        metrics = self._task.metrics(self._model.parameters)
        return StepAdopted(head.id, head.height, fitness / MICRO, metrics, head.state_digest)

    def _export(self) -> ModelExported:
        head = self._head
        return ModelExported(head.id, head.height, head.state_digest, parameter_bytes(self._model))

    # --- what we submit ---------------------------------------------------------------------------------------------

    @property
    def is_searching(self) -> bool:
        """Whether `search` has anything to do before the next delivery."""
        return self._may_offer or self._may_score or self._unmeasured is not None

    def search(self) -> tuple[LearnerAnswer, ...]:
        """One slice of search, or one measurement; our candidate or our scores, once they are ready."""
        if self._may_offer:
            recipe = self._explorer.advance()
            found = self._offer(recipe) if recipe is not None else ()
            return self._explorer.progress() + found
        entry = self._unmeasured
        if entry is not None:
            self._measured[_author_of(entry)] = self._fitness_of(entry.mutation)
            return ()
        return self._score() if self._may_score else ()

    @property
    def _may_offer(self) -> bool:
        """The slate is open, and our candidate neither on it nor on its way."""
        if self._has_offered or self._consensus.slate is not None or not self._explorer.is_active:
            return False
        return self._author not in self._consensus.counted

    @property
    def _may_score(self) -> bool:
        """The slate is closed, and our scores neither delivered nor on their way."""
        if self._is_observer or self._has_scored or self._consensus.slate is None:
            return False
        return self._author not in self._consensus.counted

    @property
    def _unmeasured(self) -> Entry | None:
        """The next entry to measure, for scores that are still to be given."""
        if self._is_observer or not (self._consensus.slate is None or self._may_score):
            return None
        return next((entry for entry in self._consensus.entries if _author_of(entry) not in self._measured), None)

    def _offer(self, recipe: Recipe) -> tuple[ContributionFound]:
        self._has_offered = True
        fitness = self._fitness_of(Mutation(self._author, recipe))
        return (self._submission(Candidate(recipe, fitness)),)

    def _score(self) -> tuple[LearnerAnswer, ...]:
        slate = self._consensus.slate
        assert slate is not None, "scores for an open slate"
        self._has_scored = True
        values = tuple(self._measured[_author_of(entry)] for entry in slate.entries)
        return (self._submission(Scores(slate.digest, values)),)

    def _fitness_of(self, mutation: Mutation | None) -> int:
        head = self._head
        if mutation is None:
            return self._measurement.fitness(head.id, self._model, head.state_digest)
        child = self._mutating.child(head.id, self._model, mutation)
        return self._measurement.fitness(head.id, child, state_digest(child))

    def _submission(self, submission: Submission) -> ContributionFound:
        return ContributionFound(self._head.id, encode_submission(submission))


def _author_of(entry: Entry) -> bytes | None:
    return None if entry.mutation is None else entry.mutation.author
