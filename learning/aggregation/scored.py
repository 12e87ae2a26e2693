"""A step that everybody measures: the gradients of one model are put on a slate, and the lower median of the scores decides.

Source: the slate and the scores are those of Kucharavy, Monti, Guerraoui, Dolamic, "Byzantine-Resilient Learning Beyond
Gradients: Distributing Evolutionary Search", arXiv 2304.13540 (model-consensus).

Section 7 of docs/protocol.md.
"""

from dataclasses import dataclass, replace

from learning.aggregation.rule import AggregationResult, ArrivedGradient, GradientOutcome, PastModels, RuleMemory, Workers


@dataclass(frozen=True, slots=True)
class Scored:
    """Implements `Rule` by moving nothing: gradients alone decide nothing here (`learning.gradient.step_candidates` does)."""

    @property
    def name(self) -> str:
        """As the network file calls it."""
        return "scored"

    @property
    def needs_models(self) -> bool:
        """No."""
        return False

    def judge(self, memory: RuleMemory, arrival: ArrivedGradient, group: Workers, past: PastModels) -> AggregationResult:  # noqa: ARG002  Rule
        """Every gradient waits for scores."""
        return AggregationResult(replace(memory, arrivals=memory.arrivals + 1), GradientOutcome.COLLECTED)
