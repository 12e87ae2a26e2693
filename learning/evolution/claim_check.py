"""Judges candidates and steps by rebuilding them exactly and measuring what they claim.

Section 4 of docs/protocol.md.
"""

from dataclasses import dataclass, replace

from learning.evolution.measurement import Measurement
from learning.evolution.mutation import Mutating, Mutation
from learning.evolution.payload import Candidate, Claim, decode_claim
from learning.evolution.rules import EvolutionRules
from learning.exact import FITNESS_LOWEST
from learning.following.state_tree import StateTree
from learning.learner import ProposedStep, Verdict
from learning.model_consensus.slate import MalformedPayloadError
from learning.state import ModelState, state_digest

REFUTED_FACTOR = 2
"""Two honest measurements differ by a tolerance at most: who measures twice that is not met by anybody honest who agrees."""

LIE_FACTOR = 100
"""Honest measurements differ by a unit or two, which the tolerance covers several times over: what is off by a hundred
tolerances is a lie, whatever the machine."""


@dataclass(frozen=True, slots=True)
class ClaimVerdict:
    """What we say of somebody's claim. `is_proven_lie`: of a leader's claim, beyond any honest measurement."""

    verdict: Verdict
    detail: str = ""
    is_proven_lie: bool = False


SEVERITY = (Verdict.GOOD, Verdict.CONTESTED, Verdict.REFUTED)


def verdict_on_claims(claims: tuple[tuple[str, int, int | None], ...], tolerance: int) -> ClaimVerdict:
    """Of (field, claimed, measured), the worst; the tolerance in micro-units. `measured`: None where that could not be done."""
    verdicts = [(_verdict_on(*claim, tolerance), _distance(claim)) for claim in claims]
    worst, _ = max(verdicts, key=lambda one: (SEVERITY.index(one[0].verdict), one[0].is_proven_lie, one[1]))
    return worst


def _verdict_on(field: str, claimed: int, measured: int | None, tolerance: int) -> ClaimVerdict:
    """A model that cannot be measured is the worst, and whoever says so of it is right.

    Where one machine can measure it and another cannot, nobody has lied: what we cannot measure is contested, not refuted, and
    a claim of the lowest fitness is refuted by our measurement, and no evidence of anything.
    """
    distance = _distance((field, claimed, measured))
    if distance <= tolerance:
        return ClaimVerdict(Verdict.GOOD)
    if measured is None:
        return ClaimVerdict(Verdict.CONTESTED, f"{field} is {claimed}, and could not be measured here")
    verdict = Verdict.REFUTED if distance > REFUTED_FACTOR * max(1, tolerance) else Verdict.CONTESTED
    is_proven_lie = distance > LIE_FACTOR * max(1, tolerance) and claimed != FITNESS_LOWEST
    return ClaimVerdict(verdict, f"{field} is {claimed}, measured {measured}, tolerance {tolerance}", is_proven_lie)


def _distance(claim: tuple[str, int, int | None]) -> int:
    _, claimed, measured = claim
    return abs(claimed - (FITNESS_LOWEST if measured is None else measured))


@dataclass(frozen=True, slots=True)
class Offspring:
    """A child as we have rebuilt and measured it."""

    model: ModelState
    digest: bytes
    measured: int | None
    """Micro-units; None where it could not be measured."""

    @property
    def fitness(self) -> int:
        """Micro-units; the lowest where it has none."""
        return FITNESS_LOWEST if self.measured is None else self.measured


@dataclass(frozen=True, slots=True)
class DecodedStep:
    """A step of sound form. `candidate`: None for "no change"."""

    mutation: Mutation | None
    candidate: Candidate | None
    claim: Claim


class ClaimCheck:
    """Rebuilds, measures, compares."""

    def __init__(
        self, rules: EvolutionRules, mutating: Mutating, tree: StateTree[ModelState], measurement: Measurement
    ) -> None:
        self._rules = rules
        self._mutating = mutating
        self._tree = tree
        self._measurement = measurement

    def parent_fitness(self, base: ProposedStep) -> int:
        """Micro-units of the model after `base`, on the batch that its children are measured on."""
        return self._measurement.fitness(base.id, self._tree.state(base), base.state_digest)

    def offspring(self, base: ProposedStep, mutation: Mutation) -> Offspring:
        """The child of `base` by this mutation, measured."""
        model = self._mutating.child(base.id, self._tree.state(base), mutation)
        digest = state_digest(model)
        return Offspring(model, digest, self._measurement.fitness_if_measured(base.id, model, digest))

    def verdict_on_candidate(self, candidate: Candidate, offspring: Offspring) -> ClaimVerdict:
        """GOOD, or CONTESTED where the author's claim is beyond the tolerance."""
        verdict = verdict_on_claims(
            (("claimed_fitness", candidate.claimed_fitness, offspring.measured),), self._rules.fitness_tolerance
        )
        return replace(verdict, verdict=Verdict.CONTESTED) if verdict.verdict is Verdict.REFUTED else verdict

    def decode_step(self, step: ProposedStep, parent: ProposedStep) -> DecodedStep:
        """The step's content. Raises MalformedPayloadError when it can never be applied, whatever is measured."""
        if step.height != parent.height + 1:
            raise MalformedPayloadError(f"height is {step.height}, expected {parent.height + 1}")
        if len(step.contributions) > 1:
            raise MalformedPayloadError(f"contributions: {len(step.contributions)}, allowed 0..1")
        claim = decode_claim(step.claim)
        if not step.contributions:
            return DecodedStep(None, None, claim)
        contribution = step.contributions[0]
        if contribution.base != parent.id:
            raise MalformedPayloadError(f"contribution for base {contribution.base.hex()}, expected {parent.id.hex()}")
        candidate, mutation = self._mutating.candidate_of(contribution)
        return DecodedStep(mutation, candidate, claim)

    def verdict_on_step(self, decoded: DecodedStep, parent: ProposedStep, model: ModelState, digest: bytes) -> ClaimVerdict:
        """GOOD, CONTESTED or REFUTED, for a step whose `model` has been rebuilt and has the digest that it commits to.

        INVALID where the claims themselves say that the child is worse than allowed: nothing has to be measured for that.
        """
        claim = decoded.claim
        if not self._rules.may_follow(claim.child_fitness, claim.parent_fitness):
            return ClaimVerdict(Verdict.INVALID, self._regression(claim))
        measure = self._measurement.fitness_if_measured
        parent_fitness = measure(parent.id, self._tree.state(parent), parent.state_digest)
        fitness = measure(parent.id, model, digest) if decoded.candidate else parent_fitness
        pairs = (("child_fitness", claim.child_fitness, fitness), ("parent_fitness", claim.parent_fitness, parent_fitness))
        verdict = verdict_on_claims(pairs, self._rules.fitness_tolerance)
        if verdict.verdict is Verdict.GOOD and decoded.candidate:
            of_author = self.verdict_on_candidate(decoded.candidate, Offspring(model, digest, fitness))
            verdict = replace(of_author, is_proven_lie=False)  # the author's lie, not the leader's
        return verdict

    def _regression(self, claim: Claim) -> str:
        allowed = claim.parent_fitness - self._rules.regression_allowed
        return f"child_fitness is {claim.child_fitness}, allowed {allowed} or more"
