"""How much a gradient counts by its staleness tau: Lambda(tau), in decimal arithmetic, rounded once to 16 significant bits.

`inverse`: 1 / (1 + tau), as in DynSGD: Jiang, Cui, Zhang, Yu, "Heterogeneity-aware Distributed Parameter Servers", SIGMOD 2017.
`exponential`: exp(-alpha tau): Damaskinos, El Mhamdi, Guerraoui, Patra, Taziki, "Asynchronous Byzantine Machine Learning (the
case of SGD)", ICML 2018, arXiv 1802.07928, section 3.3.

Section 7 of docs/protocol.md.
"""

from decimal import ROUND_HALF_EVEN, Context, Decimal
from enum import StrEnum
from functools import lru_cache

import numpy as np

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
