"""By how much each vector is shortened so that none is longer than the median one: exact factors from exact norms."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from learning.exact import EXPONENT_MAX, SIGNIFICANT_BITS


@dataclass(frozen=True, slots=True)
class ClipFactor:
    """`mantissa` / 2**`shift`, 0..1, of at most 16 significant bits."""

    mantissa: int
    shift: int

    @property
    def value(self) -> np.float32:
        """Exactly."""
        return np.float32(math.ldexp(self.mantissa, -self.shift))


WHOLE = ClipFactor(1, 0)


def clip_factors(squared_norms: list[int], voices: Sequence[int] = ()) -> list[ClipFactor]:
    """min(1, sqrt(median / own)) of each, from squared norms in any common unit; rounded down to 16 significant bits.

    `voices`: as how many each counts in the median; none given: one each.
    The median of an even number is the lower of the two in the middle, so f liars among 2f+1 or more can move it neither
    above nor below all honest norms. A zero vector is never clipped; where the median is 0, all that is longer counts 0.
    """
    counted = [
        norm for norm, count in zip(squared_norms, voices or [1] * len(squared_norms), strict=True) for _ in range(count)
    ]
    median = sorted(counted)[(len(counted) - 1) // 2]
    return [_factor(median, own) for own in squared_norms]


def _factor(median: int, own: int) -> ClipFactor:
    if own <= median:
        return WHOLE
    shift = SIGNIFICANT_BITS + (own.bit_length() - median.bit_length()) // 2
    mantissa = math.isqrt((median << (2 * shift)) // own)
    excess = max(0, mantissa.bit_length() - SIGNIFICANT_BITS)
    mantissa, shift = mantissa >> excess, shift - excess
    return ClipFactor(mantissa, shift) if shift <= EXPONENT_MAX else ClipFactor(0, 0)
