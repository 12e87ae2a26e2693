"""The rules that remember no gradient: each one moves the model by itself (mean, dampened), or none does (scored).

Mean and dampened are no defence against liars: theta <- theta - lr * Lambda(tau) * g, where Lambda is 1, or falls with the
staleness tau. `inverse`: 1 / (1 + tau), as in DynSGD: Jiang, Cui, Zhang, Yu, "Heterogeneity-aware Distributed Parameter
Servers", SIGMOD 2017. `exponential`: exp(-alpha tau): Damaskinos, El Mhamdi, Guerraoui, Patra, Taziki, "Asynchronous Byzantine
Machine Learning (the case of SGD)", ICML 2018, arXiv 1802.07928, section 3.3.

Scored: a step that everybody measures. The gradients of one model are put on a slate, and the lower median of the scores
decides, as in model-consensus: Kucharavy, Monti, Guerraoui, Dolamic, "Byzantine-Resilient Learning Beyond Gradients:
Distributing Evolutionary Search", arXiv 2304.13540.

Section 7 of docs/protocol.md.
"""

from dataclasses import dataclass, replace
from decimal import ROUND_HALF_EVEN, Context, Decimal
from enum import StrEnum
from functools import lru_cache

import numpy as np

from learning.aggregation.rule import AggregationResult, ArrivedGradient, GradientOutcome, PastModels, RuleMemory, Workers
from learning.exact import EXPONENT_MAX, round_factor

DECIMAL = Context(prec=50, rounding=ROUND_HALF_EVEN, Emin=-999_999, Emax=999_999)
"""Our own context, so that nobody's ambient one can change a digit; `Context.exp` is correctly rounded by its specification."""

WEIGHT_MIN = DECIMAL.power(2, -EXPONENT_MAX)
"""Below this a weight counts as 0: no float32 model could tell the difference."""

WEIGHTS_KEPT = 4_096
"""More than the stalenesses that one run meets."""

ALPHA_DEFAULT = "0.2"
"""Kardam, section 5: the value of its experiments."""


class Dampening(StrEnum):
    """Which Lambda."""

    NONE = "none"
    INVERSE = "inverse"
    EXPONENTIAL = "exponential"


@lru_cache(maxsize=WEIGHTS_KEPT)
def dampening_weight(dampening: Dampening, alpha: str, staleness: int) -> np.float32:
    """Lambda(staleness), 0..1; `alpha`: a decimal above 0, used by `exponential` alone."""
    match dampening:
        case Dampening.NONE:
            weight = Decimal(1)
        case Dampening.INVERSE:
            weight = DECIMAL.divide(Decimal(1), Decimal(1 + staleness))
        case Dampening.EXPONENTIAL:
            weight = DECIMAL.exp(DECIMAL.multiply(DECIMAL.create_decimal(alpha), Decimal(-staleness)))
    return round_factor(weight) if weight >= WEIGHT_MIN else np.float32(0)


@dataclass(frozen=True, slots=True)
class Mean:
    """Implements `AggregationRule`. Remembers nothing but how many gradients came."""

    @property
    def name(self) -> str:
        """As the network file calls it."""
        return "mean"

    @property
    def needs_models(self) -> bool:
        """No."""
        return False

    def judge(self, memory: RuleMemory, arrival: ArrivedGradient, group: Workers, past: PastModels) -> AggregationResult:  # noqa: ARG002  AggregationRule
        """theta <- theta - lr * g."""
        memory = replace(memory, arrivals=memory.arrivals + 1)
        return AggregationResult(memory, GradientOutcome.APPLIED, arrival.gradient.dense(), ((arrival.author, 1.0),))


@dataclass(frozen=True, slots=True)
class Dampened:
    """Implements `AggregationRule`. Remembers nothing but how many gradients came."""

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

    def judge(self, memory: RuleMemory, arrival: ArrivedGradient, group: Workers, past: PastModels) -> AggregationResult:  # noqa: ARG002  AggregationRule
        """theta <- theta - lr * Lambda(tau) * g."""
        weight = dampening_weight(self.dampening, self.alpha, arrival.staleness)
        memory = replace(memory, arrivals=memory.arrivals + 1)
        return AggregationResult(
            memory, GradientOutcome.APPLIED, weight * arrival.gradient.dense(), ((arrival.author, float(weight)),)
        )


@dataclass(frozen=True, slots=True)
class Scored:
    """Implements `AggregationRule` by moving nothing: here only `learning.gradient.step_candidates` decides."""

    @property
    def name(self) -> str:
        """As the network file calls it."""
        return "scored"

    @property
    def needs_models(self) -> bool:
        """No."""
        return False

    def judge(self, memory: RuleMemory, arrival: ArrivedGradient, group: Workers, past: PastModels) -> AggregationResult:  # noqa: ARG002  AggregationRule
        """Every gradient waits for scores."""
        return AggregationResult(replace(memory, arrivals=memory.arrivals + 1), GradientOutcome.COLLECTED)
