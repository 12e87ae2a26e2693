"""Evolution over a total order: each member's candidate is one mutation, and one entry; all members measure them alike."""

from collections.abc import Mapping
from dataclasses import dataclass

from learning.checked_task import checked_task
from learning.evolution.explorer import Explorer
from learning.evolution.measurement import Measurement
from learning.evolution.mutation import Mutating, Mutation, kept_interval
from learning.evolution.mutation_submission import decode_submission, encode_submission
from learning.evolution.payload import Candidate
from learning.evolution.rules import EvolutionRules, Strategy
from learning.evolution.search import SearchSettings
from learning.exact import MICRO
from learning.following.line import Head, kept_state, origin_of
from learning.learner import (
    AuthoredPayload,
    ContributionFound,
    DeliveredStep,
    Participant,
    SearchProgress,
    SlateEntry,
    StateKept,
    StepAdopted,
)
from learning.model_consensus.slate import GenerationResult, ModelConsensus, Scores, tagged_digest
from learning.state import CHECKPOINT_INTERVAL, ModelState, state_digest
from learning.task import Task

NO_CHANGE_TAG = b"kubrat/no-change/1"


@dataclass(frozen=True, slots=True)
class Entry:
    """A candidate on the slate; for the parent, mutation and claim are None."""

    digest: bytes
    mutation: Mutation | None
    claimed_fitness: int | None
    """Micro-units; for people alone."""

    @property
    def author(self) -> bytes | None:
        """None for the parent."""
        return None if self.mutation is None else self.mutation.author


class MutationCandidacy:
    """Implements `model_consensus.slate.Candidacy`. No change has no privilege: its digest is drawn by the generation."""

    counts_leads = False

    def __init__(self, members: int, rules: EvolutionRules) -> None:
        self._members = members
        self._recipe_length_max = rules.recipe_length_max
        self._keeps_parent = rules.strategy is not Strategy.COMMA

    def parent(self, generation: bytes) -> Entry | None:
        """Neither a mutation nor a claim. By the comma rule a child follows in any case."""
        if not self._keeps_parent:
            return None
        return Entry(no_change_digest(generation), None, None)

    def read(self, payload: bytes) -> Candidate | Scores:
        """Raises MalformedPayloadError."""
        return decode_submission(payload, self._recipe_length_max, self._members)

    def entries(self, item: AuthoredPayload, candidate: Candidate) -> tuple[Entry, ...]:
        """Named by the submission, so that equal mutations of two authors are two."""
        return (Entry(item.digest, Mutation(item.author, candidate.recipe), candidate.claimed_fitness),)

    def joint(self, entries: tuple[Entry, ...]) -> tuple[Entry, ...]:  # noqa: ARG002  Candidacy
        """None."""
        return ()


def no_change_digest(generation: bytes) -> bytes:
    """The parent's digest on the slate: BLAKE2b-256 over (length-prefixed tag, generation)."""
    return tagged_digest(NO_CHANGE_TAG, generation)


Consensus = ModelConsensus[Candidate, Entry]


class MutationCandidates:
    """Implements `learning.evolution.generations.Candidates`."""

    def __init__(self, task: Task, rules: EvolutionRules, participant: Participant, settings: SearchSettings) -> None:
        """Of the rules, `fitness_tolerance` and `regression_allowed` are of no concern here: claims are not used, and the
        parent is on the slate. Raises TaskError.
        """
        self._task = checked_task(task)
        self._participant = participant
        self._candidacy = MutationCandidacy(len(participant.members), rules)
        self._mutating = Mutating(participant.network_id, rules)
        self._measurement = Measurement(self._task, participant.network_id)
        self._explorer = Explorer(self._task, rules, settings, participant, self._measurement)

    def origin(self, restored: StateKept | None) -> Head:
        """Raises StoredStateError."""
        return origin_of(self._task.layout, self._participant, restored)

    def check_start(self) -> None:
        """Raises TaskError."""
        self._measurement.check_start(self._head)

    def begin(self, head: Head, restored: StateKept | None) -> Consensus:  # noqa: ARG002  kept where a generation begins
        """An observer does not search."""
        self._head = head
        if not self._participant.is_observer:
            self._explorer.start_from(head.step, head.model)
        return ModelConsensus(self._participant.members, head.step, self._candidacy)

    def state(self, entry: Entry) -> ModelState:
        """The child, or the parent a version later."""
        return self._mutating.child(self._head.step, self._head.model, entry.mutation)

    def head_report(self, agreed: int | None) -> StepAdopted:
        """The fitness is the agreed one, on the parent's batch; at genesis and after a restart our own measurement."""
        head = self._head
        fitness = self.fitness_of(None) if agreed is None else agreed
        metrics = self._task.metrics(head.model.parameters)
        return StepAdopted(head.step, head.model.height, fitness / MICRO, metrics, head.digest)

    def states_to_keep(self, commit: DeliveredStep, consensus: Consensus, *, is_first: bool = False) -> tuple[StateKept, ...]:  # noqa: ARG002
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
        """Of the head's child by this mutation, or of the head."""
        head = self._head
        if mutation is None:
            return self._measurement.fitness(head.step, head.model, head.digest)
        child = self._mutating.child(head.step, head.model, mutation)
        return self._measurement.fitness(head.step, child, state_digest(child))

    def progress(self) -> tuple[SearchProgress, ...]:
        """Told at every generation's end."""
        return self._explorer.progress(1)

    # --- for people -------------------------------------------------------------------------------------------------

    def slate_report(self, decision: GenerationResult[Entry], measured: Mapping[bytes, int]) -> tuple[SlateEntry, ...]:
        """What authors claim, what is agreed, what we have measured."""
        return tuple(
            SlateEntry(entry.author, entry.claimed_fitness, agreed, measured.get(entry.digest))
            for entry, agreed in zip(decision.slate.entries, decision.agreed, strict=True)
        )

    def gradient_reports(self, *_: object) -> tuple[tuple[()], tuple[()]]:
        """The slate says it all."""
        return (), ()
