"""What people are told: how good the model is, what became of the gradients, and how scored steps were decided on."""

from collections.abc import Mapping, Sequence
from typing import assert_never

from learning.aggregation.rule import GradientOutcome
from learning.checked_task import CheckedTask
from learning.exact import FITNESS_LOWEST, MICRO, micro_units
from learning.gradient.ledger import Judged
from learning.gradient.scored_slate import StepEntry, decode_scored
from learning.learner import AuthoredPayload, GradientReport, GradientsReport, SlateEntry, StepAdopted
from learning.model_consensus.slate import GenerationResult, Ignored, MalformedPayloadError, Scores
from learning.state import ModelState
from learning.task import Float32Array
from learning.task_check import start_fitness

FITNESS_SAMPLES_MAX = 512
"""The standard error of a mean loss over so many is a twentieth of one sample's spread: enough for a curve."""

JUST_COME = 0
"""The staleness of every gradient that counts: it was computed on the model that it moves."""


class SharedMeasurement:
    """Measures models on one sample that all peers of the network share, so that their curves can be compared."""

    def __init__(self, task: CheckedTask, network_id: bytes) -> None:
        """`network_id`: 32 bytes."""
        self._task = task
        self._network_id = network_id
        self._batch = task.draw_batch(network_id)[:FITNESS_SAMPLES_MAX]
        self._start: tuple[bytes, int] | None = None
        """The step that we have started from, and its fitness."""

    def check_start(self, step: bytes, model: ModelState) -> None:
        """Measure the model that the learner starts from. Raises TaskError where the task cannot even measure a first model."""
        fitness = start_fitness(self._task, model, self._network_id, FITNESS_SAMPLES_MAX)
        self._start = (step, FITNESS_LOWEST if fitness is None else micro_units(fitness))

    def head_report(self, step: bytes, height: int, parameters: Float32Array, state_digest: bytes) -> StepAdopted:
        """The model at a step."""
        if self._start is not None and self._start[0] == step:
            fitness = self._start[1]
        else:
            fitness = micro_units(self._task.fitness(parameters, self._batch))
        return StepAdopted(step, height, fitness / MICRO, self._task.metrics(parameters), state_digest)


def gradients_report(step: bytes, version: int, judged: Sequence[Judged]) -> GradientsReport:
    """What the gradients of one step did; `version`: of the model after it."""
    rows = tuple(GradientReport(one.author, one.outcome.value, one.outcome.is_accepted, one.staleness) for one in judged)
    weights = next((one.weights for one in reversed(judged) if one.weights), ())
    return GradientsReport(step, version, rows, weights)


# --- of scored steps ---------------------------------------------------------------------------------------------------


def slate_report(decision: GenerationResult[StepEntry], measured: Mapping[bytes, int]) -> tuple[SlateEntry, ...]:
    """All fitness as the lead over no change. `measured`: our own measurements, by the entries' digests."""
    parent = measured.get(decision.slate.entries[0].digest)
    own = (_lead(measured.get(entry.digest), parent) for entry in decision.slate.entries)
    rows = zip(decision.slate.entries, decision.agreed, own, strict=True)
    return tuple(SlateEntry(entry.author, None, agreed, lead, entry.label) for entry, agreed, lead in rows)


def _lead(fitness: int | None, parent: int | None) -> int | None:
    return None if fitness is None or parent is None else fitness - parent


def reports_on_counted(winner: StepEntry, candidates: Mapping[bytes, tuple[StepEntry, ...]]) -> tuple[GradientReport, ...]:
    """The gradients of a generation that was decided, in the order of delivery."""
    first: dict[bytes, bytes] = {}
    rows = []
    for author, entries in candidates.items():
        is_first = first.setdefault(entries[0].digest, author) == author
        outcome = (
            GradientOutcome.APPLIED
            if author in winner.authors
            else GradientOutcome.COLLECTED
            if is_first
            else GradientOutcome.COPY
        )
        rows.append(GradientReport(author, outcome.value, outcome.is_accepted, JUST_COME))
    return tuple(rows)


def weights(winner: StepEntry) -> tuple[tuple[bytes, float], ...]:
    """Each author's part in the step, ascending by author."""
    return tuple((author, 1 / len(winner.authors)) for author in sorted(winner.authors))


def report_on_refused(
    item: AuthoredPayload, reason: Ignored, model: ModelState, digest: bytes, entries_max: int
) -> GradientReport | None:
    """A gradient that changes nothing; `model` and its `digest` are the agreed ones. None for scores."""
    try:
        submission = decode_scored(item.payload, entries_max)
    except MalformedPayloadError:
        return _row(item.author, GradientOutcome.MALFORMED, None)
    if isinstance(submission, Scores):
        return None
    age = model.height - submission.base
    match reason:
        case Ignored.OUTSIDER:
            return _row(item.author, GradientOutcome.NOT_A_WORKER, age if age >= 0 else None)
        case Ignored.SECOND_CANDIDATE:
            return _row(item.author, GradientOutcome.REPEATED, JUST_COME)
        case Ignored.LATE_CANDIDATE:
            return _row(item.author, GradientOutcome.LATE, JUST_COME)
        case Ignored.OTHER_GENERATION | Ignored.MALFORMED:
            return _on_another_model(item.author, age, is_same=submission.base_digest == digest)
        case Ignored.EARLY_SCORES | Ignored.SECOND_SCORES | Ignored.OTHER_SLATE | Ignored.WRONG_COUNT:
            raise AssertionError(f"a gradient is refused as {reason}")
        case _:
            assert_never(reason)


def _on_another_model(author: bytes, age: int, *, is_same: bool) -> GradientReport:
    """Refused for its base, or, where that is right, for its payload."""
    if age < 0:
        return _row(author, GradientOutcome.FUTURE_BASE, None)
    if age > 0:
        return _row(author, GradientOutcome.STALE, age)
    return _row(author, GradientOutcome.MALFORMED, JUST_COME) if is_same else _row(author, GradientOutcome.UNKNOWN_BASE, None)


def _row(author: bytes, outcome: GradientOutcome, staleness: int | None) -> GradientReport:
    return GradientReport(author, outcome.value, outcome.is_accepted, staleness)
