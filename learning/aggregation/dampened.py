"""Every gradient moves the model, the stale ones less: theta <- theta - lr * Lambda(tau) * g. No defence against liars.

Lambda and its sources: `learning.aggregation.staleness`.

Section 7 of docs/protocol.md.
"""

from dataclasses import dataclass, replace

from learning.aggregation.rule import AggregationResult, ArrivedGradient, GradientOutcome, PastModels, RuleMemory, Workers
from learning.aggregation.staleness import ALPHA_DEFAULT, Dampening, dampening_weight


@dataclass(frozen=True, slots=True)
class Dampened:
    """Implements `Rule`. Remembers nothing but how many gradients came."""

    dampening: Dampening = Dampening.INVERSE
    alpha: str = ALPHA_DEFAULT
    """A canonical decimal, above 0; for `exponential`."""

    @property
    def name(self) -> str:
        """As the network file calls it."""
        return "dampened"

    @property
    def needs_models(self) -> bool:
        """No."""
        return False

    def judge(self, memory: RuleMemory, arrival: ArrivedGradient, group: Workers, past: PastModels) -> AggregationResult:  # noqa: ARG002  Rule
        """theta <- theta - lr * Lambda(tau) * g."""
        weight = dampening_weight(self.dampening, self.alpha, arrival.staleness)
        memory = replace(memory, arrivals=memory.arrivals + 1)
        return AggregationResult(
            memory, GradientOutcome.APPLIED, weight * arrival.gradient.dense(), ((arrival.author, float(weight)),)
        )
