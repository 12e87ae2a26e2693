"""The joint rule under proof of work: checks what others list and claim, ranks, joins what is known, and offers the best block.

Every peer that hears a list rebuilds its direction and measures it: one that does not gain is joined by nobody honest. What a
leader joins is rebuilt and measured again as a whole, by all.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import assert_never

from learning.checked_task import checked_task
from learning.evolution.claim_check import ClaimVerdict, verdict_on_claims
from learning.evolution.explorer import PROGRESS_CANDIDATES
from learning.evolution.join_trial import Base, JoinTrial, KnownList
from learning.evolution.joint_blocks import (
    LISTS_MAX,
    ClaimedList,
    JointClaim,
    JointModel,
    JointTransition,
    decode_joint_memory,
    encode_claimed_list,
    encode_joint_claim,
    encode_joint_memory,
)
from learning.evolution.joint_step import Children, EntryKind, JointEntry, JointRule, JointState, missed_scale
from learning.evolution.measurement import Measurement
from learning.evolution.mutation import MODELS_BYTES_MAX, kept_interval
from learning.evolution.ranked_list import LIST_INDEX_MAX, RankedList
from learning.evolution.ranking import Ranking
from learning.evolution.rules import EvolutionRules
from learning.evolution.search import Generation, SearchSettings
from learning.exact import FITNESS_LOWEST, MICRO, noise_key
from learning.following.line import Head
from learning.following.state_tree import StateTree, final_step, invalid, useless
from learning.learner import (
    AdoptRequest,
    AssessRequest,
    AuthoredPayload,
    CheckRequest,
    ContributionAssessed,
    ContributionFound,
    DeliverRequest,
    ExportRequest,
    FinaliseRequest,
    LearnerAnswer,
    LearnerRequest,
    ModelExported,
    Participant,
    ProposedStep,
    ReplayRequest,
    RestoreRequest,
    SearchProgress,
    StateKept,
    StepAdopted,
    StepChecked,
    StepOffered,
    Verdict,
)
from learning.model_consensus.slate import MalformedPayloadError
from learning.state import ModelState, StoredStateError, genesis_state, parameter_bytes, state_digest, stored_state
from learning.task import Task
from learning.task_check import check_repeatable

STEPS_MAX = 16_384
"""About 12 MB. Each step above the final one has cost its leader a block's work, and an honest branch is a few hundred long."""


class JointBlockLearner:
    """Implements `learning.learner.Learner` for proof of work."""

    def __init__(
        self,
        task: Task,
        rules: EvolutionRules,
        participant: Participant,
        settings: SearchSettings,
        restored: StateKept | None = None,
        *,
        lists_max: int = LISTS_MAX,
    ) -> None:
        """Starts from genesis, or from a `restored` final state. `lists_max`: as many as a block may join.

        Raises TaskError (StoredStateError for what is restored).
        """
        self._task = checked_task(task)
        self._rules = rules
        self._settings = settings
        self._participant = participant
        self._rule = JointRule(participant.network_id, (), rules)
        self._lists_max = lists_max
        self._transition = JointTransition(self._rule, lists_max)
        root, state = self._origin(restored)
        self._tree = StateTree(self._transition, root, state, steps_max=STEPS_MAX, bytes_max=MODELS_BYTES_MAX)
        self._measurement = Measurement(self._task, participant.network_id)
        self._measurement.check_start(Head(root.id, state.model, state_digest(state.model)))
        check_repeatable(self._task, state.model.parameters, self._measurement.batch(root.id), rules.fitness_tolerance)
        self._adopted = root
        self._kept_height = root.height
        self._bases: dict[bytes, Base] = {}
        self._ranking: Ranking | None = None
        self._list_due = 0
        """The next list is made of so many mutations."""
        self._join: JoinTrial | None = None
        self._tried = self._told = 0
        self._owed = 0
        """Evaluations that joins have taken and ranking has not: it has half of the time, whatever lists come."""

    def _origin(self, restored: StateKept | None) -> tuple[ProposedStep, JointModel]:
        if restored is None:
            state = JointModel(genesis_state(self._participant.network_id, self._task.layout))
            step = self._participant.genesis_step
            return final_step(step, 0, self._transition.digest(state)), state
        model = stored_state(restored.parameters, restored.height, self._task.layout)
        state = decode_joint_memory(restored.memory, model)
        if self._transition.digest(state) != restored.state_digest:
            raise StoredStateError(f"the stored state of height {restored.height} is not the one that its digest names")
        return final_step(restored.step, restored.height, restored.state_digest), state

    def handle(self, request: LearnerRequest) -> tuple[LearnerAnswer, ...]:
        """Answer one request."""
        match request:
            case AssessRequest(contribution):
                return (self._assess(contribution),)
            case CheckRequest(step):
                return (self._check(step),)
            case ReplayRequest(step):
                return self._replay(step)
            case AdoptRequest(step):
                return self._adopt(self._tree.require(step))
            case FinaliseRequest(step):
                return self._finalise(step)
            case ExportRequest(is_final):
                return (self._export(self._tree.root if is_final else self._adopted),)
            case DeliverRequest() | RestoreRequest():
                raise AssertionError("a total order delivers to a LineLearner")
            case _:
                assert_never(request)

    # --- what others offer ------------------------------------------------------------------------------------------

    def _assess(self, contribution: AuthoredPayload) -> ContributionAssessed:
        """What claims no more than its author's best, or no gain, is not measured: it is of no use to anybody."""
        base = self._tree.find(contribution.base)
        if base is None:  # we have forgotten it, and who sent it has not: no lie
            return useless(contribution)
        try:
            claimed = self._transition.claimed_list(contribution)
        except MalformedPayloadError as error:
            return useless(contribution, Verdict.INVALID, str(error))
        if not self._is_wanted(base, contribution.author, claimed.claimed_fitness):
            return useless(contribution)
        measured = self._direction_fitness(base, contribution.author, claimed.ranked)
        verdict = verdict_on_claims((("claimed_fitness", claimed.claimed_fitness, measured),), self._rules.fitness_tolerance)
        fitness = FITNESS_LOWEST if measured is None else measured
        if verdict.verdict is Verdict.REFUTED:
            verdict = replace(verdict, verdict=Verdict.CONTESTED)
        is_useful = verdict.verdict is Verdict.GOOD and self._is_wanted(base, contribution.author, fitness)
        if is_useful:
            self._list(base, contribution.author, KnownList(contribution.digest, claimed.ranked, fitness))
        return ContributionAssessed(
            contribution.digest, verdict.verdict, is_useful, verdict.detail, is_proven_lie=verdict.is_proven_lie
        )

    def _is_wanted(self, base: ProposedStep, author: bytes, fitness: int) -> bool:
        """One that gains, and more than its author's last; where there is no room, more than the worst, or our own."""
        if fitness <= self._parent_fitness(base):
            return False
        lists = self._know(base).lists
        if author in lists:
            return fitness > lists[author].fitness
        if len(lists) < self._lists_max or author == self._participant.author:
            return True
        return fitness > lists[self._worst_of_others(lists)].fitness

    def _list(self, base: ProposedStep, author: bytes, known: KnownList) -> None:
        lists = self._know(base).lists
        if author not in lists and len(lists) >= self._lists_max:
            del lists[self._worst_of_others(lists)]
        lists[author] = known

    def _worst_of_others(self, lists: Mapping[bytes, KnownList]) -> bytes:
        """Whose list gives way: ours stays, so it is no measure for others."""
        return min(lists.keys() - {self._participant.author}, key=lambda author: (lists[author].fitness, author))

    def _know(self, base: ProposedStep) -> Base:
        return self._bases.setdefault(base.id, Base())

    def _direction_fitness(self, base: ProposedStep, author: bytes, ranked: RankedList) -> int | None:
        """None where it could not be measured."""
        state = self._tree.state(base)
        children = Children(self._rule, base.id, state.model, {author: ranked}, JointState(state.before, state.scale))
        entry = JointEntry(bytes(32), EntryKind.DIRECTION, author)
        return self._measured(base, children.model(entry))

    def _fitness(self, base: ProposedStep, model: ModelState) -> int:
        return self._measurement.fitness(base.id, model, state_digest(model))

    def _measured(self, base: ProposedStep, model: ModelState) -> int | None:
        return self._measurement.fitness_if_measured(base.id, model, state_digest(model))

    def _parent_fitness(self, base: ProposedStep) -> int:
        return self._fitness(base, self._tree.state(base).model)

    def _check(self, step: ProposedStep) -> StepChecked:
        parent = self._tree.parent_of(step)
        if isinstance(parent, str):
            return invalid(step, parent)
        if step.height != parent.height + 1:
            return invalid(step, f"height is {step.height}, expected {parent.height + 1}")
        try:
            block = self._transition.decode(step)
            state = self._transition.child(parent.id, self._tree.state(parent), block)
        except MalformedPayloadError as error:
            return invalid(step, str(error))
        digest = self._transition.digest(state)
        if digest != step.state_digest:
            return invalid(step, f"state digest is {step.state_digest.hex()}, rebuilt {digest.hex()}")
        claim = block.claim
        if not self._rules.may_follow(claim.child_fitness, claim.parent_fitness):
            allowed = claim.parent_fitness - self._rules.regression_allowed
            return invalid(step, f"child_fitness is {claim.child_fitness}, allowed {allowed} or more")
        verdict = self._verdict_on(claim, parent, state, has_lists=bool(block.lists))
        self._tree.add(step, state)
        return StepChecked(step.id, verdict.verdict, verdict.is_proven_lie, verdict.detail)

    def _verdict_on(self, claim: JointClaim, parent: ProposedStep, state: JointModel, *, has_lists: bool) -> ClaimVerdict:
        parent_fitness = self._measured(parent, self._tree.state(parent).model)
        fitness = self._measured(parent, state.model) if has_lists else parent_fitness
        pairs = (("child_fitness", claim.child_fitness, fitness), ("parent_fitness", claim.parent_fitness, parent_fitness))
        return verdict_on_claims(pairs, self._rules.fitness_tolerance)

    # --- where we stand ---------------------------------------------------------------------------------------------

    def _replay(self, step: ProposedStep) -> tuple[()]:
        """Steps at or below the final one, and on branches that died with it, are of no use any more."""
        if self._tree.find(step.parent) is None:
            return ()
        try:
            self._transition.decode(step)
        except MalformedPayloadError as error:
            raise StoredStateError(f"stored step {step.id.hex()}: {error}") from error
        self._tree.add_stored(step)
        return ()

    def _adopt(self, step: ProposedStep) -> tuple[LearnerAnswer, ...]:
        if self._ranking is None or step.id != self._adopted.id:
            self._ranking = self._ranking_on(step)
            self._list_due = self._ranking.least
            self._join, self._owed = None, 0
        self._adopted = step
        fitness = self._parent_fitness(step) / MICRO
        metrics = self._task.metrics(self._tree.state(step).model.parameters)
        adopted = StepAdopted(step.id, step.height, fitness, metrics, step.state_digest)
        offer = self._know(step).offer
        return (adopted, *(() if offer is None else (offer,)), *self._progress(1))

    def _finalise(self, step: bytes) -> tuple[LearnerAnswer, ...]:
        remaining = self._tree.finalise(step)
        if remaining is None:
            return ()
        known = self._tree.root
        self._bases = {base: what for base, what in self._bases.items() if base in remaining}
        if self._adopted.id not in remaining:  # a restart finalises before it adopts
            self._ranking, self._join = None, None
            self._adopted = known
        if known.height < self._kept_height + kept_interval(self._task.layout):
            return ()
        self._kept_height = known.height
        state = self._tree.state(known)
        return (
            StateKept(
                known.id,
                known.height,
                parameter_bytes(state.model),
                state_digest=known.state_digest,
                memory=encode_joint_memory(state),
            ),
        )

    def _export(self, step: ProposedStep) -> ModelExported:
        return ModelExported(step.id, step.height, step.state_digest, parameter_bytes(self._tree.state(step).model))

    # --- what we offer ----------------------------------------------------------------------------------------------

    @property
    def is_scoring(self) -> bool:
        """What others offer is measured when it is asked."""
        return False

    @property
    def is_searching(self) -> bool:
        """Nobody before the first AdoptRequest; who may lead joins the lists of others, whether it ranks or not."""
        return self._ranking is not None and (self.has_to_join or self._may_rank)

    @property
    def _may_rank(self) -> bool:
        return self._participant.is_searching and self._ranking is not None and not self._ranking.is_exhausted

    @property
    def has_to_join(self) -> bool:
        """Whether a join is under way, or due: there are lists that the last one had not, and ranking has had its share."""
        if not self._participant.is_leading:
            return False
        if self._join is not None and not self._join.is_done:
            return True
        lists = self._know(self._adopted).lists
        is_new = bool(lists) and (self._join is None or self._join.known != lists)
        return is_new and (self._owed <= 0 or not self._may_rank)

    def search(self) -> tuple[LearnerAnswer, ...]:
        """One slice: of the join of all lists that are known by now, else of ranking."""
        if not self.is_searching:
            return ()
        known = self._know(self._adopted)
        if not self.has_to_join:
            return self._rank(known)
        if self._join is None or self._join.is_done:
            state = self._tree.state(self._adopted)
            self._join = JoinTrial(self._task, self._rule, self._adopted.id, state, dict(known.lists))
        return self._advance_join(self._join, known)

    def _advance_join(self, join: JoinTrial, known: Base) -> tuple[LearnerAnswer, ...]:
        batch = self._measurement.batch(self._adopted.id)
        before = join.measured
        best = join.advance(batch)
        self._owed += max(1, join.measured - before) * len(batch)
        if best is None:
            return ()
        base, state = self._adopted, self._tree.state(self._adopted)
        parent_fitness = self._parent_fitness(base)
        fitness = self._fitness(base, join.children.model(best))
        if fitness <= parent_fitness:
            return self._offer_no_change(base, known, fitness - parent_fitness)
        if known.offer is not None and fitness <= known.offered_fitness:
            return ()
        scale = best.scale if best.kind is EntryKind.JOIN else state.scale
        claim = JointClaim(fitness, parent_fitness, scale, best.share, best.kind is EntryKind.HEAD)
        authors = (best.author,) if best.author is not None else tuple(join.known)
        contributions = tuple(join.known[author].contribution for author in authors)
        digest = self._transition.digest(JointModel(join.children.model(best), state.model.parameters, scale))
        known.offer = StepOffered(base.id, contributions, encode_joint_claim(claim), digest)
        known.offered_fitness = fitness
        return (known.offer,)

    def _offer_no_change(self, base: ProposedStep, known: Base, lead: int) -> tuple[StepOffered, ...]:
        """The same model, one block higher. `lead`: of the best that was tried here, 0 or less.

        Only once a search has found nothing better: a block before that would throw away what all work on for its parent.
        """
        if known.offer is not None:
            return ()
        parent, fitness = self._tree.state(base), self._parent_fitness(base)
        scale = missed_scale(lead, parent.scale)
        claim, digest = JointClaim(fitness, fitness, scale), self._transition.digest(parent.one_higher(scale))
        known.offer, known.offered_fitness = StepOffered(base.id, (), encode_joint_claim(claim), digest), fitness
        return (known.offer,)

    def _ranking_on(self, step: ProposedStep) -> Ranking:
        model = self._tree.state(step).model
        key = noise_key(self._participant.network_id, step.id, self._participant.author)
        sigma = self._rule.sigma(model.height, self._tree.state(step).scale)
        return Ranking(self._task, self._rules, self._settings, Generation(model, key, sigma, self._measurement.batch(step.id)))

    def _rank(self, known: Base) -> tuple[LearnerAnswer, ...]:
        """A slice; each time that twice as many are ranked as for the last list, the list of all, if it is a better one."""
        ranking = self._ranking
        assert ranking is not None, "a ranking of nothing"
        tried = -ranking.candidates_tried
        ranking.advance()
        tried += ranking.candidates_tried
        self._tried += tried
        self._owed = max(0, self._owed - tried * ranking.samples)
        progress = self._progress(PROGRESS_CANDIDATES)
        if ranking.candidates_tried < self._list_due:
            return progress
        self._list_due = min(2 * self._list_due, LIST_INDEX_MAX)
        base, ranked = self._adopted, ranking.ranked_list()
        measured = self._direction_fitness(base, self._participant.author, ranked)
        fitness = measured if measured is not None else FITNESS_LOWEST
        if fitness <= self._parent_fitness(base):
            return (*progress, *self._offer_no_change(base, known, fitness - self._parent_fitness(base)))
        if known.announced is not None and fitness <= known.announced:
            return progress
        known.announced = fitness
        return (*progress, ContributionFound(base.id, encode_claimed_list(ClaimedList(ranked, fitness))))

    def _progress(self, since: int) -> tuple[SearchProgress, ...]:
        if self._tried - self._told < since:
            return ()
        self._told = self._tried
        return (SearchProgress(self._tried),)
