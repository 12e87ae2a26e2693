"""The gradient learner whose steps everybody measures: model-consensus over a total order, its candidates made of gradients.

Each generation starts from the agreed model. Every member submits one gradient of its own samples on it; the slate of models
that follow from those delivered (`scored_slate`) is closed with the commit that brings n-f of them. Every member measures all
of these on its own samples; with the commit that brings n-f members' scores the lower median of each model's lead over no
change decides, and the best, if its lead is above 0, is the next agreed model (`learning.model_consensus.slate`).

So no step is taken that each honest member who was counted has found to be harmful, whatever f of the others say, and whatever
length and direction the step has. Leads, since fitness on different samples has different levels: with medians of the fitness
itself (digits, 16 members with samples of their own, 5 of them liars) liars' steps won 17 generations of 40, with leads 2.

Limit: of 2f+1 scores that count, f may lie, and then f+1 honest ones decide between the worst and the best of their leads. So
the honest members' samples must be alike. Where each has other classes (Dirichlet 0.5), f liars keep the model from learning;
without liars it learns there, too.
"""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Protocol

from learning.aggregation.quantised import payload_digest
from learning.checked_task import CheckedTask, checked_differentiable
from learning.exact import micro_units, permutation
from learning.following.line import Head, kept_state, origin_of
from learning.gradient.checkpoint_codec import commit_interval
from learning.gradient.ledger import Gradients, GradientSubmission
from learning.gradient.reports import SharedMeasurement, report_on_refused, reports_on_counted, slate_report, weights
from learning.gradient.rules import GradientRules
from learning.gradient.scored_slate import (
    KeptPayloads,
    StepCandidacy,
    StepConsensus,
    StepEntry,
    StepRules,
    decode_generation,
    deliver_again,
    encode_generation,
    encode_scored,
)
from learning.gradient.worker import FRUITLESS_MAX, MakeWorker, RowSource, Worker
from learning.learner import (
    AuthoredPayload,
    ContributionFound,
    DeliveredStep,
    GradientReport,
    Participant,
    SearchProgress,
    SlateEntry,
    StateKept,
    StepAdopted,
)
from learning.model_consensus.slate import GenerationResult, Ignored, ModelConsensus
from learning.state import ModelState
from learning.task import DifferentiableTask, Float32Array, Int64Array
from learning.task_check import check_gradient

SAMPLES_MAX = 512
"""The standard error of a mean loss over so many is a twentieth of one sample's spread, and two models that are measured on
the same ones differ by far less than that."""

SAMPLES_TAG = b"kubrat/scored-samples/1"


class OwnRows(RowSource, Protocol):
    """A peer's own samples: to draw minibatches from, and to measure on."""

    @property
    def rows(self) -> Int64Array:
        """All of them, (samples,), at least one."""
        ...


class OwnMeasurement:
    """Measures models of one task on up to SAMPLES_MAX of a peer's own rows, chosen once and for all."""

    def __init__(self, task: CheckedTask, own: OwnRows, network_id: bytes, author: bytes) -> None:
        self._task = task
        seed = hashlib.blake2b(SAMPLES_TAG + network_id + author, digest_size=32).digest()
        self._batch: Int64Array = own.rows[permutation(seed, len(own.rows))[:SAMPLES_MAX]]

    def fitness(self, parameters: Float32Array) -> int:
        """Micro-units, on the canonical path."""
        return micro_units(self._task.fitness(parameters, self._batch))


class StepCandidates:
    """Implements `learning.evolution.generations.Candidates`: one gradient of ours, and all models that gradients lead to."""

    def __init__(  # noqa: PLR0917 - each is another thing, of another owner
        self,
        task: DifferentiableTask,
        rules: GradientRules,
        participant: Participant,
        gradients: Gradients,
        rows: OwnRows,
        make_worker: MakeWorker = Worker,
    ) -> None:
        """Of the rules, `staleness_max` is of no concern here: only gradients on the agreed model count. Raises TaskError."""
        trained = checked_differentiable(task)
        checked = trained.checked
        check_gradient(trained)
        self._participant = participant
        self._gradients = gradients
        members = len(participant.members)
        self._rules = StepRules(rules.ledger_rules().learning_rate, checked.layout, members, rules.bits)
        self._worker = make_worker(trained, rows, rules.worker_settings())
        self._measurement = OwnMeasurement(checked, rows, participant.network_id, participant.author)
        self._shared = SharedMeasurement(checked, participant.network_id)
        self._kept_interval = commit_interval(checked.layout, members, rules.staleness_max, needs_models=False)

    def origin(self, restored: StateKept | None) -> Head:
        """Raises StoredStateError."""
        return origin_of(self._rules.layout, self._participant, restored)

    def check_start(self) -> None:
        """Raises TaskError."""
        self._shared.check_start(self._head.step, self._head.model)

    def begin(self, head: Head, restored: StateKept | None) -> StepConsensus:
        """Raises StoredStateError when what is kept of the generation does not fit."""
        kept = None if restored is None else decode_generation(restored.memory)
        gradients = self._gradients if kept is None else KeptPayloads(kept, self._gradients)
        self._head, self._fruitless = head, 0
        self._candidacy = StepCandidacy(self._rules, head.model, head.digest, gradients)
        consensus: StepConsensus = ModelConsensus(self._participant.members, head.step, self._candidacy)
        if kept is not None:
            deliver_again(kept, consensus, head.model.height, head.digest)
        return consensus

    def state(self, entry: StepEntry) -> ModelState:
        """Rebuilt."""
        return self._candidacy.state(entry)

    def head_report(self, agreed: int | None) -> StepAdopted:  # noqa: ARG002  agreed are leads, on everybody's own samples
        """The fitness is on a sample that all peers share."""
        head = self._head
        return self._shared.head_report(head.step, head.model.height, head.model.parameters, head.digest)

    def states_to_keep(
        self, commit: DeliveredStep, consensus: StepConsensus, *, is_first: bool = False
    ) -> tuple[StateKept, ...]:
        """After some commits, with the generation under way."""
        number, rest = divmod(commit.height, self._kept_interval)
        return () if rest or is_first else (kept_state(self._head, commit, number, encode_generation(consensus)),)

    # --- our own part -----------------------------------------------------------------------------------------------

    @property
    def is_active(self) -> bool:
        """Whether a gradient may come of another minibatch."""
        return self._fruitless < FRUITLESS_MAX

    def advance(self) -> tuple[ContributionFound, ...]:
        """Several only by a fault; none where the minibatch has given no gradient that can travel."""
        payloads = self._worker.compute(self._head.model.parameters)
        self._fruitless += not payloads
        return tuple(self._contribution(encoded) for encoded in payloads)

    def _contribution(self, encoded: bytes) -> ContributionFound:
        submission = GradientSubmission(self._head.model.height, self._head.digest, payload_digest(encoded), len(encoded))
        return ContributionFound(self._head.step, encode_scored(submission), (encoded,), (submission.payload,))

    def fitness(self, entry: StepEntry) -> int:
        """On our own samples."""
        return self._measurement.fitness(self._candidacy.state(entry).parameters)

    def progress(self) -> tuple[SearchProgress, ...]:
        """Nothing: a gradient is one of many only where nothing is scored."""
        return ()

    # --- for people -------------------------------------------------------------------------------------------------

    def slate_report(self, decision: GenerationResult[StepEntry], measured: Mapping[bytes, int]) -> tuple[SlateEntry, ...]:
        """All fitness as the lead over no change."""
        return slate_report(decision, measured)

    def gradient_reports(
        self,
        refusals: Sequence[tuple[AuthoredPayload, Ignored]],
        winner: StepEntry | None,
        candidates: Mapping[bytes, tuple[StepEntry, ...]],
    ) -> tuple[tuple[GradientReport, ...], tuple[tuple[bytes, float], ...]]:
        """Those that count are told of at the end of their generation, the others at once."""
        head, entries_max = self._head, self._rules.entries_max
        rows = (report_on_refused(item, reason, head.model, head.digest, entries_max) for item, reason in refusals)
        told = tuple(row for row in rows if row is not None)
        return (told, ()) if winner is None else ((*reports_on_counted(winner, candidates), *told), weights(winner))
