"""The evolutionary learner over a total order: its candidates are mutations, and all members measure them alike."""

from collections.abc import Mapping

from learning.checkpoint import CHECKPOINT_INTERVAL
from learning.evolution.explorer import Explorer
from learning.evolution.measurement import Measurement
from learning.evolution.mutation import Mutating, Mutation, kept_interval, origin_of
from learning.evolution.mutation_slate import Entry, MutationCandidacy
from learning.evolution.payload import Candidate
from learning.evolution.rules import EvolutionRules, SearchSettings
from learning.evolution.scores import encode_submission
from learning.evolution.slate import Decision, ModelConsensus
from learning.exact import MICRO
from learning.following.line import Head, kept_state
from learning.learner import (
    ContributionFound,
    DeliveredStep,
    Participant,
    SearchProgress,
    SlateEntry,
    StateKept,
    StepAdopted,
)
from learning.state import ModelState, state_digest
from learning.task import Task
from learning.task_check import check_task

Consensus = ModelConsensus[Candidate, Entry]


class Mutations:
    """Implements `learning.evolution.generations.Candidates`."""

    def __init__(self, task: Task, rules: EvolutionRules, participant: Participant, settings: SearchSettings) -> None:
        """Of the rules, `fitness_tolerance` and `regression_allowed` are of no concern here: claims are not used, and the
        parent is on the slate. Raises TaskError.
        """
        self._task = check_task(task)
        self._participant = participant
        network_id, author = participant.network_id, participant.author
        self._candidacy = MutationCandidacy(len(participant.members), rules.recipe_length_max)
        self._mutating = Mutating(network_id, rules)
        self._measurement = Measurement(self._task, network_id)
        self._explorer = Explorer(self._task, rules, settings, network_id, author, self._measurement)

    def origin(self, restored: StateKept | None) -> Head:
        """Raises StoredStateError."""
        return origin_of(self._task.layout, self._participant, restored)

    def begin(self, head: Head, restored: StateKept | None) -> Consensus:  # noqa: ARG002  kept where a generation begins
        """An observer does not search."""
        self._head = head
        if not self._participant.is_observer:
            self._explorer.start_from(head.step, head.model)
        return ModelConsensus(self._participant.members, head.step, self._candidacy)

    def state(self, entry: Entry) -> ModelState:
        """The child, or the parent a version later."""
        return self._mutating.child(self._head.step, self._head.model, entry.mutation)

    def adopted(self, agreed: int | None) -> StepAdopted:
        """The fitness is the agreed one, on the parent's batch; at genesis and after a restart our own measurement."""
        head = self._head
        fitness = self.fitness_of(None) if agreed is None else agreed
        metrics = self._task.metrics(head.model.parameters)
        return StepAdopted(head.step, head.model.height, fitness / MICRO, metrics, head.digest)

    def kept(self, commit: DeliveredStep, consensus: Consensus, *, is_first: bool = False) -> tuple[StateKept, ...]:  # noqa: ARG002
        """Where a generation begins, at some heights: so there is nothing of it to keep."""
        height = self._head.model.height
        if not is_first or height % kept_interval(self._task.layout):
            return ()
        return (kept_state(self._head, commit, 0 if height % CHECKPOINT_INTERVAL else height // CHECKPOINT_INTERVAL),)

    # --- our own part -----------------------------------------------------------------------------------------------

    @property
    def is_active(self) -> bool:
        """Whether there is anything left to try."""
        return self._explorer.is_active

    def advance(self) -> tuple[ContributionFound | SearchProgress, ...]:
        """One slice of search."""
        recipe = self._explorer.advance()
        if recipe is None:
            return self._explorer.progress()
        candidate = Candidate(recipe, self.fitness_of(Mutation(self._participant.author, recipe)))
        return (*self._explorer.progress(), ContributionFound(self._head.step, encode_submission(candidate)))

    def fitness(self, entry: Entry) -> int:
        """On the batch that the head selects."""
        return self.fitness_of(entry.mutation)

    def fitness_of(self, mutation: Mutation | None) -> int:
        """Of the head's child by this mutation, or of the head. Raises TaskError."""
        head = self._head
        if mutation is None:
            return self._measurement.fitness(head.step, head.model, head.digest)
        child = self._mutating.child(head.step, head.model, mutation)
        return self._measurement.fitness(head.step, child, state_digest(child))

    def progress(self) -> tuple[SearchProgress, ...]:
        """Told at every generation's end."""
        return self._explorer.progress(1)

    # --- for people -------------------------------------------------------------------------------------------------

    def shown(self, decision: Decision[Entry], measured: Mapping[bytes, int]) -> tuple[SlateEntry, ...]:
        """What authors claim, what is agreed, what we have measured."""
        return tuple(
            SlateEntry(entry.author, entry.claimed_fitness, agreed, measured.get(entry.digest))
            for entry, agreed in zip(decision.slate.entries, decision.agreed, strict=True)
        )

    def judged(self, *_: object) -> tuple[tuple[()], tuple[()]]:
        """The slate says it all."""
        return (), ()
