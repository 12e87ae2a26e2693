"""The gradient learner over a total order: the delivered order is the stream that every member judges alike.

Every member holds the same ledger after the same commit. In its idle time a member computes one gradient on the newest model,
submits it, and goes on when it has come; it never waits for the others. An observer follows, and computes nothing.
"""

import hashlib
from typing import assert_never

from learning.evolution.rules import SearchSettings
from learning.gradient.desk import Desk
from learning.gradient.kept import commit_interval, decode_ledger, encode_memory, kept_parameters
from learning.gradient.ledger import Clerk, Delivered, Gradients, Judged, Ledger, first_ledger
from learning.gradient.rules import GradientRules
from learning.gradient.telling import Gauge, told
from learning.gradient.worker import MakeWorker, RowSource, Worker
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
    ReplayRequest,
    RestoreRequest,
    SignedPayload,
    StateKept,
    StepAdopted,
    StepApplied,
)
from learning.rules.rule import Group
from learning.state import StoredStateError, genesis_state
from learning.task import DifferentiableTask
from learning.task_check import check_task
from learning.tasks.gradient_check import check_gradient

VERSION_TAG = b"kubrat/model-version/1"


class StreamLearner:
    """Implements `learning.learner.Learner` for gradients in a total order among known members.

    Deliveries come without a gap: the first has height 1, or follows the `commit` of the `restored` state; those that it
    already holds are passed over. So a restart hands over the newest kept state and replays the deliveries after it.

    To people a step is a version of the model. Its id and its digest follow from the model alone, so that two members that
    name the same version, each after a commit of its own, name the same step. What members vouch for is the whole state.
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
        rows: RowSource,
        restored: StateKept | None = None,
        make_worker: MakeWorker = Worker,
    ) -> None:
        """Starts from genesis, or from a `restored` state. Who is not among the members, or does not search, is an observer.

        Raises TaskError (StoredStateError for what is restored).
        """
        checked = check_task(task)
        check_gradient(task)
        self._layout = checked.layout
        self._network_id = network_id
        self._author = author
        self._genesis_step = genesis_step
        self._gradients = gradients
        self._group = Group(tuple(sorted(members)), (len(members) - 1) // 3)
        self._is_worker = author in members and settings.is_searching
        self._clerk = Clerk(checked.layout, rules.ledger_rules(), rules.named_rule())
        self._gauge = Gauge(checked, network_id)
        self._desk = Desk(make_worker(task, rows, rules.worker_settings()), author, rules.staleness_max)
        needs_models = self._clerk.rule.needs_models
        self._kept_interval = commit_interval(checked.layout, len(members), rules.staleness_max, needs_models=needs_models)
        self._start_from(restored)

    def _start_from(self, restored: StateKept | None) -> None:
        """Raises StoredStateError when what is restored does not fit the task."""
        rule = self._clerk.rule
        if restored is None:
            self._commit, self._commit_step = 0, self._genesis_step
            self._ledger = first_ledger(genesis_state(self._network_id, self._layout).parameters, rule)
            return
        self._ledger, _ = decode_ledger(
            restored.parameters, restored.memory, self._layout, needs_models=rule.needs_models, bits=self._clerk.bits
        )
        if self._ledger.digest != restored.state_digest:
            raise StoredStateError(f"the stored model of version {restored.height} is not the one that its digest names")
        self._commit, self._commit_step = restored.commit, restored.commit_step

    def handle(self, request: LearnerRequest) -> tuple[LearnerAnswer, ...]:
        """Answer one request. Raises TaskError when the task fails, PayloadMissingError when a delivered payload is not held.

        An AdoptRequest is answered with the newest model, whatever step it names: a total order has one head.
        """
        match request:
            case DeliverRequest(step):
                return (*self._deliver(step), StepApplied(step.height))
            case RestoreRequest(state):
                self._start_from(state)
                self._desk.keep(frozenset())  # what was on its way may be among the commits that are skipped, or lost with them
                return (self._adopted(),)
            case AdoptRequest():
                return (self._adopted(),)
            case ExportRequest():
                return (self._export(),)
            case AssessRequest() | CheckRequest() | ReplayRequest() | FinaliseRequest():
                raise AssertionError(f"a total order does not ask for {type(request).__name__}")
            case _:
                assert_never(request)

    @property
    def ledger(self) -> Ledger:
        """The agreed state after the newest delivery."""
        return self._ledger

    # --- what the order delivers ------------------------------------------------------------------------------------

    def _deliver(self, step: DeliveredStep) -> tuple[LearnerAnswer, ...]:
        if step.height <= self._commit:
            return ()
        assert step.height == self._commit + 1, f"delivery {step.height} after {self._commit}"
        self._commit, self._commit_step = step.height, step.id
        before = self._ledger.version
        read: set[bytes] = set()
        judged = tuple(self._take(item, read) for item in step.items)
        self._desk.model_moved(self._ledger.version)
        answers = (told(step.id, self._ledger.version, judged),) if judged else ()
        return (*answers, *self._measured(before), *self._kept())

    def _take(self, item: SignedPayload, read: set[bytes]) -> Judged:
        """Of each author one payload in a commit is read, and `read` notes whose: eight items of a block may name one on eight
        models, and cost everybody eight times what an honest worker's does, who waits until its own has come.
        """
        delivered = Delivered(item.author, item.payload, item.attached)
        self._ledger, judged = self._clerk.advance(
            self._ledger, delivered, self._group, self._gradients, may_read=item.author not in read
        )
        if judged.was_read:
            read.add(item.author)
        if item.author == self._author:
            self._desk.has_come(item.payload)
        return judged

    def _measured(self, before: int) -> tuple[StepAdopted, ...]:
        """Measuring takes time, so once in as many versions as there are members; after the same commits at all of them."""
        is_due = before // self._group.size != self._ledger.version // self._group.size
        return (self._adopted(),) if is_due else ()

    def _kept(self) -> tuple[StateKept, ...]:
        """After the same commits at every member, so that they can vouch for one another's."""
        number, rest = divmod(self._commit, self._kept_interval)
        if rest:
            return ()
        ledger = self._ledger
        kept = StateKept(
            self._step,
            ledger.version,
            kept_parameters(ledger),
            self._commit,
            self._commit_step,
            ledger.digest,
            encode_memory(ledger),
            number,
        )
        return (kept,)

    @property
    def _step(self) -> bytes:
        """Names the newest version of the model, the same at every member."""
        if self._ledger.version == 0:
            return self._genesis_step
        return hashlib.blake2b(VERSION_TAG + self._genesis_step + self._ledger.digest, digest_size=32).digest()

    def _adopted(self) -> StepAdopted:
        ledger = self._ledger
        return self._gauge.adopted(self._step, ledger.version, ledger.parameters, ledger.digest)

    def _export(self) -> ModelExported:
        return ModelExported(self._step, self._ledger.version, self._ledger.digest, kept_parameters(self._ledger))

    # --- what we submit ---------------------------------------------------------------------------------------------

    @property
    def is_searching(self) -> bool:
        """Whether a gradient of ours is due before the next delivery."""
        return self._is_worker and self._desk.is_due(self._ledger)

    def search(self) -> tuple[LearnerAnswer, ...]:
        """One gradient on the newest model, if one is due."""
        return self._desk.compute(self._ledger, self._commit_step) if self.is_searching else ()
