"""The gradient learner over a total order: the delivered order is the stream that every member judges alike.

Every member holds the same ledger after the same commit. In its idle time a member computes one gradient on the newest model,
submits it, and goes on when it has come; it never waits for the others. An observer follows, and computes nothing.
"""

import hashlib

from learning.aggregation.rule import Workers
from learning.checked_task import checked_differentiable
from learning.following.line import Head, kept_state
from learning.gradient.checkpoint_codec import commit_interval, encode_memory, origin_ledger
from learning.gradient.ledger import Aggregator, Gradients, Judged
from learning.gradient.reports import SharedMeasurement, gradients_report
from learning.gradient.rules import GradientRules
from learning.gradient.worker import GradientSubmitter, MakeWorker, RowSource, Worker
from learning.learner import (
    AuthoredPayload,
    DeliveredStep,
    LearnerAnswer,
    Participant,
    StateKept,
    StepAdopted,
    faulty_max,
)
from learning.state import ModelState, StoredStateError
from learning.task import DifferentiableTask
from learning.task_check import check_gradient

VERSION_TAG = b"kubrat/model-version/1"


class GradientStream:
    """Implements `learning.following.line.Follower`: each gradient that is delivered may move the model.

    To people a step is a version of the model. Its id and its digest follow from the model alone, so that two members that
    name the same version, each after a commit of its own, name the same step. What members vouch for is the whole state.
    """

    def __init__(  # noqa: PLR0917 - each is another thing, of another owner
        self,
        task: DifferentiableTask,
        rules: GradientRules,
        participant: Participant,
        gradients: Gradients,
        rows: RowSource,
        make_worker: MakeWorker = Worker,
    ) -> None:
        """Raises TaskError."""
        trained = checked_differentiable(task)
        checked = trained.checked
        check_gradient(trained)
        self._participant = participant
        self._gradients = gradients
        members = participant.members
        self._group = Workers(tuple(sorted(members)), faulty_max(len(members)))
        self._aggregator = Aggregator(checked.layout, rules.ledger_rules(), rules.named_rule())
        self._shared = SharedMeasurement(checked, participant.network_id)
        self._submitter = GradientSubmitter(
            make_worker(trained, rows, rules.worker_settings()), participant.author, rules.staleness_max
        )
        needs_models = self._aggregator.rule.needs_models
        self._kept_interval = commit_interval(checked.layout, len(members), rules.staleness_max, needs_models=needs_models)

    def start_from(self, restored: StateKept | None) -> None:
        """Raises StoredStateError when what is restored does not fit the task."""
        self.ledger, _ = origin_ledger(self._aggregator, self._participant, restored)
        self._commit_step = self._participant.genesis_step if restored is None else restored.commit_step
        if restored is None:
            return
        head = self.head
        if (head.step, head.model.height, head.digest) != (restored.step, restored.height, restored.state_digest):
            raise StoredStateError(f"the stored model of version {restored.height} is not the one that its digest names")
        self._submitter.keep(frozenset())  # what was on its way may be among the commits that are skipped, or lost with them

    def check_start(self) -> None:
        """Raises TaskError."""
        self._shared.check_start(self.head.step, self.head.model)

    # --- what the order delivers ------------------------------------------------------------------------------------

    def deliver(self, step: DeliveredStep) -> tuple[LearnerAnswer, ...]:
        """Take a commit's gradients in their order. Raises PayloadMissingError."""
        self._commit_step = step.id
        before = self.ledger.version
        read: set[bytes] = set()
        judged = tuple(self._take(item, read) for item in step.items)
        self._submitter.on_model_moved(self.ledger.version)
        answers = (gradients_report(step.id, self.ledger.version, judged),) if judged else ()
        return (*answers, *self._due_report(before), *self._states_to_keep(step))

    def _take(self, item: AuthoredPayload, read: set[bytes]) -> Judged:
        """Of each author one payload in a commit is read, and `read` notes whose: eight items of a block may name one on eight
        models, and cost everybody eight times what an honest worker's does, who waits until its own has come.
        """
        may_read = item.author not in read
        self.ledger, judged = self._aggregator.advance(self.ledger, item, self._group, self._gradients, may_read=may_read)
        if judged.was_read:
            read.add(item.author)
        if item.author == self._participant.author:
            self._submitter.on_delivered(item.payload)
        return judged

    def _due_report(self, before: int) -> tuple[StepAdopted, ...]:
        """Measuring takes time, so once in as many versions as there are members; after the same commits at all of them."""
        is_due = before // self._group.size != self.ledger.version // self._group.size
        return (self.head_report(),) if is_due else ()

    def _states_to_keep(self, commit: DeliveredStep) -> tuple[StateKept, ...]:
        number, rest = divmod(commit.height, self._kept_interval)
        return () if rest else (kept_state(self.head, commit, number, encode_memory(self.ledger)),)

    @property
    def head(self) -> Head:
        """The newest version of the model, named alike by every member."""
        ledger, genesis = self.ledger, self._participant.genesis_step
        model = ModelState(ledger.parameters, ledger.version)
        if ledger.version == 0:
            return Head(genesis, model, ledger.digest)
        return Head(hashlib.blake2b(VERSION_TAG + genesis + ledger.digest, digest_size=32).digest(), model, ledger.digest)

    def head_report(self) -> StepAdopted:
        """For people."""
        head = self.head
        return self._shared.head_report(head.step, head.model.height, head.model.parameters, head.digest)

    def waits(self) -> tuple[()]:
        """Nobody waits for anybody."""
        return ()

    # --- what we submit ---------------------------------------------------------------------------------------------

    @property
    def is_part_due(self) -> None:
        """There are no phases: a gradient is told whenever there is one."""

    @property
    def is_scoring(self) -> bool:
        """Gradients of others are judged as they are delivered."""
        return False

    @property
    def is_searching(self) -> bool:
        """Whether a gradient of ours is due before the next delivery."""
        return not self._participant.is_observer and self._submitter.is_due(self.ledger)

    def search(self) -> tuple[LearnerAnswer, ...]:
        """One gradient on the newest model, if one is due."""
        return self._submitter.compute(self.ledger, self._commit_step) if self.is_searching else ()
