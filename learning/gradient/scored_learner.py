"""The gradient learner whose steps everybody measures: model-consensus over a total order, its candidates made of gradients.

Each generation starts from the agreed model. Every member submits one gradient of its own samples on it; the slate of models
that follow from those delivered (`scored_slate`) is closed with the commit that brings n-f of them. Every member measures all
of these on its own samples; with the commit that brings n-f members' scores the lower median of each model's lead over no
change decides, and the best, if its lead is above 0, is the next agreed model (`learning.evolution.slate`).

So no step is taken that each honest member who was counted has found to be harmful, whatever f of the others say, and whatever
length and direction the step has. Leads, since fitness on different samples has different levels: with medians of the fitness
itself (digits, 16 members with samples of their own, 5 of them liars) liars' steps won 17 generations of 40, with leads 2.

Limit: of 2f+1 scores that count, f may lie, and then f+1 honest ones decide between the worst and the best of their leads. So
the honest members' samples must be alike. Where each has other classes (Dirichlet 0.5), f liars keep the model from learning;
without liars it learns there, too.
"""

from typing import assert_never

from learning.evolution.rules import SearchSettings
from learning.evolution.slate import Decision, ModelConsensus, Slate, next_generation
from learning.gradient.kept import commit_interval
from learning.gradient.ledger import Gradients
from learning.gradient.rules import GradientRules
from learning.gradient.scored_desk import ScoredDesk
from learning.gradient.scored_kept import (
    KeptGeneration,
    KeptPayloads,
    StepConsensus,
    decode_generation,
    deliver_again,
    encode_generation,
)
from learning.gradient.scored_measurement import OwnMeasurement, OwnRows
from learning.gradient.scored_slate import StepCandidacy, StepEntry, StepRules
from learning.gradient.scored_telling import counted, refused, slate_shown, weights
from learning.gradient.telling import Gauge
from learning.gradient.worker import MakeWorker, Worker
from learning.learner import (
    AdoptRequest,
    AssessRequest,
    CheckRequest,
    DeliveredStep,
    DeliverRequest,
    ExportRequest,
    FinaliseRequest,
    GenerationDecided,
    GenerationWaits,
    GradientJudged,
    GradientsJudged,
    LearnerAnswer,
    LearnerRequest,
    ModelExported,
    ReplayRequest,
    RestoreRequest,
    SignedPayload,
    StateKept,
    StepAdopted,
    StepApplied,
)
from learning.state import ModelState, StoredStateError, genesis_state, parameter_bytes, state_digest, stored_state
from learning.task import DifferentiableTask, Float32Array
from learning.task_check import check_task
from learning.tasks.gradient_check import check_gradient


class ScoredLearner:
    """Implements `learning.learner.Learner` for scored steps in a total order among known members.

    Deliveries come without a gap: the first has height 1, or follows the `commit` of the `restored` state; those that it
    already holds are passed over. So a restart hands over the newest kept state and replays the deliveries after it: what the
    member itself had submitted is in there, and is not submitted again. The height of a model is its generation's number.
    """

    def __init__(  # noqa: PLR0917 - each is another thing, of another owner
        self,
        task: DifferentiableTask,
        rules: GradientRules,
        network_id: bytes,
        author: bytes,
        members: tuple[bytes, ...],
        genesis_step: bytes,
        gradients: Gradients,
        settings: SearchSettings,
        rows: OwnRows,
        restored: StateKept | None = None,
        make_worker: MakeWorker = Worker,
    ) -> None:
        """Starts from genesis, or from a `restored` state. Who is not among the members, or does not search, is an observer.

        Of the rules, `staleness_max` is of no concern here: only gradients on the agreed model count. Raises TaskError
        (StoredStateError for what is restored).
        """
        checked = check_task(task)
        check_gradient(task)
        self._network_id = network_id
        self._author = author
        self._members = members
        self._genesis_step = genesis_step
        self._gradients = gradients
        self._is_observer = author not in members or not settings.is_searching
        self._rules = StepRules(rules.ledger_rules().learning_rate, checked.layout, len(members), rules.bits)
        worker = make_worker(task, rows, rules.worker_settings())
        self._desk = ScoredDesk(worker, OwnMeasurement(checked, rows, network_id, author), author)
        self._gauge = Gauge(checked, network_id)
        self._kept_interval = commit_interval(checked.layout, len(members), rules.staleness_max, needs_models=False)
        self._start_from(restored)

    def _start_from(self, restored: StateKept | None) -> None:
        """Raises StoredStateError when what is restored does not fit the task."""
        if restored is None:
            self._commit, self._commit_step = 0, self._genesis_step
            first = genesis_state(self._network_id, self._rules.layout)
            self._begin(self._genesis_step, first, state_digest(first))
            return
        model = stored_state(restored.parameters, restored.height, self._rules.layout)
        if state_digest(model) != restored.state_digest:
            raise StoredStateError(f"the stored model of height {restored.height} is not the one that its digest names")
        self._begin(restored.step, model, restored.state_digest, decode_generation(restored.memory))
        self._commit, self._commit_step = restored.commit, restored.commit_step

    def _begin(self, generation: bytes, model: ModelState, digest: bytes, kept: KeptGeneration | None = None) -> None:
        """A generation on the model of this state digest, and our own part in it.

        Raises StoredStateError when what is kept of it does not fit.
        """
        self._model, self._digest = model, digest
        gradients = self._gradients if kept is None else KeptPayloads(kept, self._gradients)
        self._candidacy = StepCandidacy(self._rules, model, digest, gradients)
        self._consensus: StepConsensus = ModelConsensus(self._members, generation, self._candidacy)
        if kept is not None:
            deliver_again(kept, self._consensus, model.height, digest)
        self._desk.begin(self._consensus, self._candidacy, model, digest)

    def handle(self, request: LearnerRequest) -> tuple[LearnerAnswer, ...]:
        """Answer one request. Raises TaskError when the task fails, PayloadMissingError when a delivered payload is not held.

        An AdoptRequest is answered with the agreed model, whatever step it names: a total order has one head.
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

    @property
    def parameters(self) -> Float32Array:
        """Of the agreed model, (parameters,), read-only."""
        return self._model.parameters

    @property
    def slate(self) -> Slate[StepEntry] | None:
        """What is to be scored, once it is closed."""
        return self._consensus.slate

    # --- what the order delivers ------------------------------------------------------------------------------------

    def _deliver(self, step: DeliveredStep) -> tuple[LearnerAnswer, ...]:
        if step.height <= self._commit:
            return ()
        assert step.height == self._commit + 1, f"delivery {step.height} after {self._commit}"
        self._commit, self._commit_step = step.height, step.id
        before = self._waits()
        refusals = tuple(row for item in step.items if (row := self._take(item)) is not None)
        match self._consensus.end_of_commit():
            case Decision() as decision:
                answers = self._decide(decision, refusals)
            case Slate() | None:
                waits = self._waits()
                told = (GradientsJudged(step.id, self._model.height, refusals, ()),) if refusals else ()
                answers = (*told, waits) if waits != before else told
        return (*answers, *self._kept())

    def _take(self, item: SignedPayload) -> GradientJudged | None:
        """What is told at once: that a gradient was refused."""
        reason = self._consensus.deliver(item)
        return None if reason is None else refused(item, reason, self._model, self._digest, self._rules.entries_max)

    def _decide(self, decision: Decision[StepEntry], refusals: tuple[GradientJudged, ...]) -> tuple[LearnerAnswer, ...]:
        consensus, winner = self._consensus, decision.slate.entries[decision.winner]
        judged = (*counted(winner, consensus.candidates), *refusals)
        slate = slate_shown(decision, self._desk.measured)
        ignored = tuple((reason.value, count) for reason, count in decision.ignored)
        parent, model = consensus.generation, self._candidacy.state(winner)
        self._begin(next_generation(parent, winner.digest, winner.digest), model, winner.digest)
        return (
            self._adopted(),
            GradientsJudged(self._head, model.height, judged, weights(winner)),
            GenerationDecided(self._head, model.height, parent, slate, decision.winner, decision.scorers, ignored),
            self._waits(),
        )

    def _kept(self) -> tuple[StateKept, ...]:
        """After the same commits at every member, so that they can vouch for one another's."""
        number, rest = divmod(self._commit, self._kept_interval)
        if rest:
            return ()
        kept = StateKept(
            self._head,
            self._model.height,
            parameter_bytes(self._model),
            self._commit,
            self._commit_step,
            self._digest,
            encode_generation(self._consensus),
            number,
        )
        return (kept,)

    @property
    def _head(self) -> bytes:
        """The step that has led to the agreed model, which names the generation that starts from it."""
        return self._consensus.generation

    def _waits(self) -> GenerationWaits:
        consensus = self._consensus
        return GenerationWaits(self._head, self._model.height, consensus.phase, consensus.counted, consensus.needed)

    def _adopted(self) -> StepAdopted:
        return self._gauge.adopted(self._head, self._model.height, self._model.parameters, self._digest)

    def _export(self) -> ModelExported:
        return ModelExported(self._head, self._model.height, self._digest, parameter_bytes(self._model))

    # --- what we submit ---------------------------------------------------------------------------------------------

    @property
    def is_searching(self) -> bool:
        """Whether `search` has anything to do before the next delivery."""
        return not self._is_observer and self._desk.is_busy

    def search(self) -> tuple[LearnerAnswer, ...]:
        """One gradient, or one measurement; our scores, once all is measured."""
        return self._desk.advance() if self.is_searching else ()
