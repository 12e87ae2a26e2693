"""The evolutionary learner: checks what others claim, keeps the models of the steps above the final one, and searches.

Candidates and steps are judged by one rule: rebuild the child exactly, measure it on the batch that its parent selects, compare
with the claim. Nothing is taken on trust; a lie is an answer.
"""

from dataclasses import dataclass
from typing import assert_never

from learning.checked_task import checked_task
from learning.evolution.claim_check import ClaimCheck
from learning.evolution.explorer import Explorer
from learning.evolution.measurement import Measurement
from learning.evolution.mutation import MODELS_BYTES_MAX, Mutating, Mutation, kept_interval
from learning.evolution.payload import Candidate, Claim, encode_candidate, encode_claim
from learning.evolution.recipe import Recipe
from learning.evolution.rules import EvolutionRules
from learning.evolution.search import SearchSettings
from learning.exact import MICRO
from learning.following.line import origin_of
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
    StateKept,
    StepAdopted,
    StepChecked,
    StepOffered,
    Verdict,
)
from learning.model_consensus.slate import MalformedPayloadError
from learning.state import StoredStateError, parameter_bytes, state_digest
from learning.task import Task
from learning.task_check import check_repeatable

STEPS_MAX = 16_384
"""About 12 MB. Each step above the final one has cost its leader a block's work, and an honest branch is a few hundred long."""


@dataclass(frozen=True, slots=True)
class BestKnown:
    """The best candidate that was assessed as good and may be accepted on its base, as we measured it."""

    fitness: int
    contribution: bytes
    state_digest: bytes

    def is_beaten_by(self, fitness: int, contribution: bytes) -> bool:
        """Fitter, or as fit and of a lower digest."""
        return (-fitness, contribution) < (-self.fitness, self.contribution)


class EvolutionLearner:
    """Implements `learning.learner.Learner`: one author's evolutionary search, and its verdicts on the others'."""

    def __init__(
        self,
        task: Task,
        rules: EvolutionRules,
        participant: Participant,
        settings: SearchSettings,
        restored: StateKept | None = None,
    ) -> None:
        """Starts from genesis, or from a `restored` final state. Raises TaskError (StoredStateError for what is restored)."""
        self._task = checked_task(task)
        self._rules = rules
        network_id, self._author = participant.network_id, participant.author
        origin = origin_of(self._task.layout, participant, restored)
        root, model = final_step(origin.step, origin.model.height, origin.digest), origin.model
        self._transition = Mutating(network_id, rules)
        self._tree = StateTree(self._transition, root, model, steps_max=STEPS_MAX, bytes_max=MODELS_BYTES_MAX)
        self._measurement = Measurement(self._task, network_id)
        self._measurement.check_start(origin)
        check_repeatable(self._task, model.parameters, self._measurement.batch(root.id), rules.fitness_tolerance)
        self._explorer = Explorer(self._task, rules, settings, participant, self._measurement)
        self._claims = ClaimCheck(rules, self._transition, self._tree, self._measurement)
        self._adopted = root
        self._kept_height = root.height
        self._best: dict[bytes, BestKnown] = {}
        self._announced: dict[bytes, int] = {}

    def handle(self, request: LearnerRequest) -> tuple[LearnerAnswer, ...]:
        """Answer one request."""
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
                return (self._export(self._tree.root if is_final else self._adopted),)
            case DeliverRequest() | RestoreRequest():
                raise AssertionError("a total order delivers to a LineLearner")
            case _:
                assert_never(request)

    @property
    def is_scoring(self) -> bool:
        """What others offer is measured when it is asked."""
        return False

    @property
    def is_searching(self) -> bool:
        """Not an observer, nor anybody before the first AdoptRequest."""
        return self._explorer.is_active

    def search(self) -> tuple[LearnerAnswer, ...]:
        """One slice of search from the adopted step, if any."""
        if not self.is_searching:
            return ()
        recipe = self._explorer.advance()
        found = self._announce(recipe) if recipe is not None else ()
        return self._explorer.progress() + found

    # --- what others offer ------------------------------------------------------------------------------------------

    def _assess(self, contribution: AuthoredPayload) -> tuple[LearnerAnswer, ...]:
        """What claims no more than the best that we know is not measured: true or false, it is of no use to anybody."""
        base = self._tree.find(contribution.base)
        if base is None:  # we have forgotten it, and who sent it has not: no lie
            return (useless(contribution),)
        try:
            candidate, mutation = self._transition.candidate_of(contribution)
        except MalformedPayloadError as error:
            return (useless(contribution, Verdict.INVALID, str(error)),)
        if not self._is_best(base, candidate.claimed_fitness, contribution.digest):
            return (useless(contribution),)
        offspring = self._claims.offspring(base, mutation)
        verdict = self._claims.verdict_on_candidate(candidate, offspring)
        is_useful = verdict.verdict is Verdict.GOOD and self._is_best(base, offspring.fitness, contribution.digest)
        answer = ContributionAssessed(
            contribution.digest, verdict.verdict, is_useful, verdict.detail, is_proven_lie=verdict.is_proven_lie
        )
        if not is_useful:
            return (answer,)
        self._best[base.id] = BestKnown(offspring.fitness, contribution.digest, offspring.digest)
        return (answer, self._offer(base)) if base.id == self._adopted.id else (answer,)

    def _is_best(self, base: ProposedStep, fitness: int, contribution: bytes) -> bool:
        if not self._rules.may_follow(fitness, self._claims.parent_fitness(base)):
            return False
        best = self._best.get(base.id)
        return best is None or best.is_beaten_by(fitness, contribution)

    def _check(self, step: ProposedStep) -> StepChecked:
        parent = self._tree.parent_of(step)
        if isinstance(parent, str):
            return invalid(step, parent)
        try:
            decoded = self._claims.decode_step(step, parent)
        except MalformedPayloadError as error:
            return invalid(step, str(error))
        model = self._transition.child(parent.id, self._tree.state(parent), decoded.mutation)
        digest = state_digest(model)
        if digest != step.state_digest:
            return invalid(step, f"state digest is {step.state_digest.hex()}, rebuilt {digest.hex()}")
        verdict = self._claims.verdict_on_step(decoded, parent, model, digest)
        if verdict.verdict is Verdict.INVALID:
            return invalid(step, verdict.detail)
        self._tree.add(step, model)
        return StepChecked(step.id, verdict.verdict, verdict.is_proven_lie, verdict.detail)

    # --- where we stand ---------------------------------------------------------------------------------------------

    def _replay(self, step: ProposedStep) -> tuple[()]:
        """Steps at or below the final one, and on branches that died with it, are of no use any more."""
        parent = self._tree.find(step.parent)
        if parent is None:
            return ()
        try:
            self._claims.decode_step(step, parent)
        except MalformedPayloadError as error:
            raise StoredStateError(f"stored step {step.id.hex()}: {error}") from error
        self._tree.add_stored(step)
        return ()

    def _adopt(self, step: ProposedStep) -> tuple[LearnerAnswer, ...]:
        if not self._explorer.has_start or step.id != self._adopted.id:
            self._explorer.start_from(step.id, self._tree.state(step))
        self._adopted = step
        fitness = self._claims.parent_fitness(step) / MICRO
        metrics = self._task.metrics(self._tree.state(step).parameters)
        adopted = StepAdopted(step.id, step.height, fitness, metrics, step.state_digest)
        return (adopted, self._offer(step), *self._explorer.progress(1))

    def _finalise(self, step: bytes) -> tuple[LearnerAnswer, ...]:
        remaining = self._tree.finalise(step)
        if remaining is None:
            return ()
        known = self._tree.root
        self._best = {base: best for base, best in self._best.items() if base in remaining}
        self._announced = {base: fitness for base, fitness in self._announced.items() if base in remaining}
        if self._adopted.id not in remaining:  # a restart finalises before it adopts
            self._explorer.stop()
            self._adopted = known
        if known.height < self._kept_height + kept_interval(self._task.layout):
            return ()
        self._kept_height = known.height
        parameters = parameter_bytes(self._tree.state(known))
        return (StateKept(known.id, known.height, parameters, state_digest=known.state_digest),)

    def _export(self, step: ProposedStep) -> ModelExported:
        return ModelExported(step.id, step.height, step.state_digest, parameter_bytes(self._tree.state(step)))

    # --- what we offer ----------------------------------------------------------------------------------------------

    def _offer(self, base: ProposedStep) -> StepOffered:
        parent_fitness = self._claims.parent_fitness(base)
        best = self._best.get(base.id)
        if best is None:
            digest = state_digest(self._transition.child(base.id, self._tree.state(base), None))
            return StepOffered(base.id, (), encode_claim(Claim(parent_fitness, parent_fitness)), digest)
        return StepOffered(base.id, (best.contribution,), encode_claim(Claim(best.fitness, parent_fitness)), best.state_digest)

    def _announce(self, recipe: Recipe) -> tuple[LearnerAnswer, ...]:
        base = self._adopted
        offspring = self._claims.offspring(base, Mutation(self._author, recipe))
        if offspring.measured is None or not self._is_worth_telling(base, offspring.fitness):
            return ()
        self._announced[base.id] = offspring.fitness
        return (ContributionFound(base.id, encode_candidate(Candidate(recipe, offspring.fitness))),)

    def _is_worth_telling(self, base: ProposedStep, fitness: int) -> bool:
        best, announced = self._best.get(base.id), self._announced.get(base.id)
        is_better = (best is None or fitness > best.fitness) and (announced is None or fitness > announced)
        return is_better and self._rules.may_follow(fitness, self._claims.parent_fitness(base))
