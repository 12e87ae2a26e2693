"""The gradient learner over proof of work: a block lists gradients in its leader's order, and every peer judges them alike.

A leader may leave gradients out, or order them as it likes; it cannot alter one. What it has left out waits for the next
leaders. A block that lists what no honest leader would is invalid: else everybody would fetch whatever free keys have signed,
and keep it as long as the chain lasts.

Section 7 of docs/protocol.md.
"""

from typing import assert_never

from learning.aggregation.rule import GradientOutcome
from learning.checked_task import checked_differentiable
from learning.following.state_tree import StateTree, final_step, invalid, useless
from learning.gradient.blocks import BlockState, BlockTransition, Offer, UnlistedContribution, UnlistedContributions, in_turns
from learning.gradient.checkpoint_codec import (
    KEPT_BLOCKS,
    encode_memory,
    kept_interval,
    kept_parameters,
    origin_ledger,
    state_bytes_max,
)
from learning.gradient.ledger import Aggregator, Gradients, decode_submission
from learning.gradient.reports import SharedMeasurement, gradients_report
from learning.gradient.rules import CHECK_MS_MAX_DEFAULT, GradientRules
from learning.gradient.worker import GradientSubmitter, MakeWorker, RowSource, Worker
from learning.learner import (
    AdoptRequest,
    AssessRequest,
    AuthoredPayload,
    CheckRequest,
    ContributionAssessed,
    DeliverRequest,
    ExportRequest,
    FinaliseRequest,
    GradientsReport,
    LearnerAnswer,
    LearnerRequest,
    ModelExported,
    Participant,
    ProposedStep,
    ReplayRequest,
    RestoreRequest,
    StateKept,
    StepChecked,
    StepOffered,
    Verdict,
)
from learning.state import ModelState, StoredStateError
from learning.task import DifferentiableTask
from learning.task_check import check_gradient

BASE_AGE_MAX = 16
"""Blocks below the head: a contribution whose base lies deeper has missed as many leaders, and is no longer offered."""

BLOCKS_MAX = 8_192
"""Each has cost its leader a block's work, and lists up to 64 contributions of some 300 bytes; an honest branch is a few
hundred long."""

STATES_BYTES_MAX = 128 * 2**20
"""States at hand, the final one among them; what several share is counted once."""

NEVER_LISTED = frozenset(
    {
        GradientOutcome.NOT_A_WORKER,
        GradientOutcome.MALFORMED,
        GradientOutcome.UNKNOWN_BASE,
        GradientOutcome.FUTURE_BASE,
        GradientOutcome.STALE,
        GradientOutcome.REPEATED,
    }
)
"""What a leader knows of the state and the contribution alone. What a rule refuses an honest leader may list."""


class BlockLearner:
    """Implements `learning.learner.Learner` for gradients in blocks, their leaders being the workers."""

    def __init__(  # noqa: PLR0917 - each is another thing, of another owner
        self,
        task: DifferentiableTask,
        rules: GradientRules,
        participant: Participant,
        gradients: Gradients,
        rows: RowSource,
        restored: StateKept | None = None,
        make_worker: MakeWorker = Worker,
        *,
        check_ms_max: int = CHECK_MS_MAX_DEFAULT,
    ) -> None:
        """Starts from genesis, or from a `restored` final state. Raises TaskError (StoredStateError for what is restored)."""
        trained = checked_differentiable(task)
        checked = trained.checked
        check_gradient(trained)
        self._author = participant.author
        self._gradients = gradients
        self._is_working = participant.is_searching
        self._aggregator = Aggregator(checked.layout, rules.ledger_rules(), rules.named_rule())
        self._transition = BlockTransition(self._aggregator, gradients, rules.workers_window, check_ms_max)
        self._shared = SharedMeasurement(checked, participant.network_id)
        worker = make_worker(trained, rows, rules.worker_settings())
        self._submitter = GradientSubmitter(worker, self._author, rules.staleness_max)
        needs_models = self._aggregator.rule.needs_models
        size = state_bytes_max(checked.layout, rules.workers_window, rules.staleness_max, needs_models=needs_models)
        self._kept_interval = kept_interval(size, KEPT_BLOCKS)
        root, state = self._origin(participant, restored, rules.workers_window)
        self._tree = StateTree(self._transition, root, state, steps_max=BLOCKS_MAX, bytes_max=STATES_BYTES_MAX)
        self._has_adopted = False
        self._kept_height = root.height
        self._pending = UnlistedContributions()
        self._offer: Offer
        self._reported: frozenset[bytes] = frozenset()
        self._shared.check_start(root.id, ModelState(state.ledger.parameters, root.height))
        self._stand_on(root)

    def _origin(self, participant: Participant, restored: StateKept | None, window: int) -> tuple[ProposedStep, BlockState]:
        """Raises StoredStateError when what is restored does not fit the task, or is not what its block commits to."""
        state = BlockState(*origin_ledger(self._aggregator, participant, restored))
        if restored is None:
            return final_step(participant.genesis_step, 0, state.digest), state
        leaders = min(restored.height, window)
        if (state.digest, len(state.leaders)) != (restored.state_digest, leaders):
            raise StoredStateError(f"the stored state is not the one that block {restored.step.hex()} commits to")
        return final_step(restored.step, restored.height, state.digest), state

    def handle(self, request: LearnerRequest) -> tuple[LearnerAnswer, ...]:
        """Answer one request. Raises PayloadMissingError when a listed payload is not held."""
        match request:
            case AssessRequest(contribution):
                return self._assess(contribution)
            case CheckRequest(step):
                return (self._check(step),)
            case ReplayRequest(step):
                return self._replay(step)
            case AdoptRequest(step):
                return self._adopt(self._tree.require(step))
            case FinaliseRequest(step):
                return self._finalise(step)
            case ExportRequest(is_final):
                return (self._export(self._tree.root if is_final else self._head),)
            case DeliverRequest() | RestoreRequest():
                raise AssertionError("a total order delivers to a LineLearner")
            case _:
                assert_never(request)

    # --- what others offer ------------------------------------------------------------------------------------------

    def _assess(self, contribution: AuthoredPayload) -> tuple[LearnerAnswer, ...]:
        answers = self._assessment(contribution)
        if contribution.author == self._author and contribution.digest not in self._pending:
            self._submitter.on_delivered(contribution.payload)
        return answers

    def _assessment(self, contribution: AuthoredPayload) -> tuple[LearnerAnswer, ...]:
        """What cannot be listed now is no lie, only of no use: the author may know a newer head than we, or an older one."""
        submission = decode_submission(contribution.payload)
        if submission is None:
            return (useless(contribution, Verdict.INVALID, "its payload is no submission of a gradient"),)
        if self._transition.fault_of(self._view(contribution), contribution.author, submission) is not None:
            return (useless(contribution, Verdict.CONTESTED),)
        if self._aggregator.gradient(submission, contribution.attached, self._gradients) is None:
            return (useless(contribution, Verdict.INVALID, "its large payload is no gradient of this model"),)
        waiting = UnlistedContribution(contribution, submission)
        if not self._pending.add(waiting, self._listed):
            return (useless(contribution, Verdict.GOOD),)
        answer = ContributionAssessed(contribution.digest, Verdict.GOOD, True, "")
        if contribution.digest in self._listed:  # told of late, as after a restart
            return (answer,)
        extended = self._offer.extend(waiting, self._transition)
        if extended is None:
            return (answer,)
        self._offer = extended
        return (answer, extended.answer())

    def _view(self, contribution: AuthoredPayload) -> BlockState:
        """The state to judge by: after the head, or after its base where that is newer than the head, or its rival."""
        base = self._tree.find(contribution.base)
        if base is None or base.id in self._path:
            return self._state
        return self._tree.at_hand(base) or self._state

    def _check(self, step: ProposedStep) -> StepChecked:
        parent = self._tree.parent_of(step)
        if isinstance(parent, str):
            return invalid(step, parent)
        if step.claim:
            return invalid(step, f"a claim of {len(step.claim)} bytes, expected none")
        state = self._transition.begin(self._tree.state(parent), step.leader)
        listed_max = self._transition.listed_max(state)
        if len(step.contributions) > listed_max:
            return invalid(step, f"lists {len(step.contributions)} contributions, allowed: {listed_max}")
        for contribution in step.contributions:
            state = self._transition.add_contribution(state, contribution)
            outcome = state.judged[-1].outcome
            if outcome in NEVER_LISTED:
                return invalid(step, f"contribution {contribution.digest.hex()[:8]} is listed in vain: {outcome}")
        if state.digest != step.state_digest:
            return invalid(step, f"state digest is {step.state_digest.hex()}, rebuilt {state.digest.hex()}")
        self._tree.add(step, state)
        return StepChecked(step.id, Verdict.GOOD, False, "")

    # --- where we stand ---------------------------------------------------------------------------------------------

    def _replay(self, step: ProposedStep) -> tuple[()]:
        """Blocks at or below the final one, and on branches that died with it, are of no use any more."""
        if self._tree.find(step.parent) is not None:
            self._tree.add_stored(step)
        return ()

    def _adopt(self, block: ProposedStep) -> tuple[LearnerAnswer, ...]:
        self._stand_on(block)
        self._has_adopted = True
        ledger = self._state.ledger
        adopted = self._shared.head_report(block.id, block.height, ledger.parameters, block.state_digest)
        return (adopted, self._offer.answer(), *self._new_reports())

    def _stand_on(self, block: ProposedStep) -> None:
        path = tuple(self._tree.path(block))
        self._head, self._state = block, self._tree.state(block)
        self._path = frozenset(one.id for one in path) | {self._tree.root.id}
        """Blocks from the final one to the head."""
        self._listed = frozenset(item.digest for one in path for item in one.contributions)
        """Contributions in them, but for the final one."""
        self._pending.keep(self._may_wait)
        waiting = tuple(known for known in self._pending if known.contribution.digest not in self._listed)
        own = (known.contribution for known in waiting if known.contribution.author == self._author)
        self._submitter.keep(frozenset(contribution.payload for contribution in own))
        offer = Offer(block.id, self._transition.begin(self._state, self._author))
        for known in in_turns(waiting, self._last_arrival):
            offer = offer.extend(known, self._transition) or offer
        self._offer = offer

    def _last_arrival(self, author: bytes) -> int:
        """By the number of the gradient that the rule remembers of a worker; -1: of none."""
        slot = self._state.ledger.memory.slot_of(author)
        return -1 if slot is None else slot.arrived

    def _may_wait(self, waiting: UnlistedContribution) -> bool:
        """Whether a contribution may still be listed; one that is listed already may come back by a reorganisation."""
        contribution = waiting.contribution
        base = self._tree.find(contribution.base)
        if base is None or base.height < self._head.height - BASE_AGE_MAX:
            return False
        if contribution.digest in self._listed:
            return True
        return self._transition.fault_of(self._state, contribution.author, waiting.submission) in {
            None,
            GradientOutcome.FUTURE_BASE,
        }

    def _new_reports(self) -> tuple[GradientsReport, ...]:
        """What was not told before of the blocks that lead to the head; of what would have to be rebuilt, nothing."""
        answers = []
        for block in self._tree.path(self._head):
            state = self._tree.at_hand(block)
            if block.id not in self._reported and state is not None and state.judged:
                answers.append(gradients_report(block.id, state.ledger.version, state.judged))
        self._reported |= frozenset(block.id for block in self._tree.path(self._head))
        return tuple(reversed(answers))

    def _finalise(self, step: bytes) -> tuple[LearnerAnswer, ...]:
        remaining = self._tree.finalise(step)
        if remaining is None:
            return ()
        block = self._tree.root
        self._reported &= remaining
        if self._head.id not in remaining:  # a restart finalises before it adopts
            self._stand_on(block)
        return (*self._offer_again(), *self._states_to_keep(block))

    def _offer_again(self) -> tuple[StepOffered, ...]:
        """Without the contributions whose base lies below the final block: they were listed, or the ordering forgets them."""
        self._pending.keep(self._may_wait)
        if all(digest in self._pending for digest in self._offer.listed):
            return ()
        self._stand_on(self._head)
        return (self._offer.answer(),)

    def _states_to_keep(self, block: ProposedStep) -> tuple[StateKept, ...]:
        if block.height < self._kept_height + self._kept_interval:
            return ()
        self._kept_height = block.height
        state = self._tree.state(block)
        parameters, memory = kept_parameters(state.ledger), encode_memory(state.ledger, state.leaders)
        return (StateKept(block.id, block.height, parameters, state_digest=state.digest, memory=memory),)

    def _export(self, block: ProposedStep) -> ModelExported:
        return ModelExported(block.id, block.height, block.state_digest, kept_parameters(self._tree.state(block).ledger))

    # --- what we submit ---------------------------------------------------------------------------------------------

    @property
    def is_scoring(self) -> bool:
        """What others offer is measured when it is asked."""
        return False

    @property
    def is_searching(self) -> bool:
        """Whether a gradient of ours is due: we are a worker, and none of ours waits to be listed."""
        is_worker = self._is_working and self._has_adopted and self._author in self._transition.group(self._state).workers
        return is_worker and self._submitter.is_due(self._state.ledger)

    def search(self) -> tuple[LearnerAnswer, ...]:
        """One gradient on the head's model, if one is due."""
        return self._submitter.compute(self._state.ledger, self._head.id) if self.is_searching else ()
