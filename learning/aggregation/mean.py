"""No defence: every gradient moves the model with weight 1 (asynchronous stochastic gradient descent).

Section 7 of docs/protocol.md.
"""

from dataclasses import dataclass, replace

from learning.aggregation.rule import AggregationResult, ArrivedGradient, GradientOutcome, PastModels, RuleMemory, Workers


@dataclass(frozen=True, slots=True)
class Mean:
    """Implements `Rule`. Remembers nothing but how many gradients came."""

    @property
    def name(self) -> str:
        """As the network file calls it."""
        return "mean"

    @property
    def needs_models(self) -> bool:
        """No."""
        return False

    def judge(self, memory: RuleMemory, arrival: ArrivedGradient, group: Workers, past: PastModels) -> AggregationResult:  # noqa: ARG002  Rule
        """theta <- theta - lr * g."""
        memory = replace(memory, arrivals=memory.arrivals + 1)
        return AggregationResult(memory, GradientOutcome.APPLIED, arrival.gradient.dense(), ((arrival.author, 1.0),))
