"""Nearest-neighbour mixing of clipped vectors: each is replaced by the mean of itself and those closest to it.

Allouah, Farhadkhani, Guerraoui, Gupta, Pinot, Stephan, "Fixing by Mixing: A Recipe for Optimal Byzantine ML under
Heterogeneity", AISTATS 2023, algorithm 2: an honest vector has n-f-1 honest ones, so its nearest ones cannot all be liars', and
what lies far from everybody leaves the sum. It makes the trimmed mean that follows optimal up to a constant.

Before that each vector is shortened so that none is longer than the median one: exact factors from exact norms.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from learning.aggregation.coordinatewise import trim_chunk, trim_chunk_by_voices
from learning.aggregation.quantised import QuantisedGradient
from learning.exact import EXPONENT_MAX, SIGNIFICANT_BITS
from learning.task import Float32Array


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


LeftOut = tuple[tuple[int, int], ...]
"""(position, how many of its voices), ascending."""

UNIT_MIN = -40
"""The largest value, 2**78, times 2**40 is finite in float32, even a thousand times."""

CHUNK_VALUES = 20_480
"""Mixed at once per gradient: sixteen of them, before and after, are 2.5 MiB, about a core's own cache; measured best of
4,096 to 49,152."""


def farthest(products: list[list[int]], factors: list[ClipFactor], voices: Sequence[int], count: int) -> list[LeftOut]:
    """For each vector those that lie farthest from it after clipping, `count` voices of them.

    `products`: all inner products before clipping, in one unit. Distances are exact; of equal ones the later position counts
    as farther, but nobody is far from itself.
    """
    shift = max(factor.shift for factor in factors)
    scaled = [factor.mantissa << (shift - factor.shift) for factor in factors]
    size = len(scaled)
    clipped = [[scaled[one] * scaled[other] * products[one][other] for other in range(size)] for one in range(size)]
    found = []
    for own in range(size):
        # |x - y|**2 = |x|**2 - 2 xy + |y|**2, and |x|**2 is the same for all
        distances = [(clipped[other][other] - 2 * clipped[own][other], other) for other in range(size) if other != own]
        found.append(_voices_of([position for _, position in sorted(distances, reverse=True)], voices, count))
    return found


def _voices_of(positions: Sequence[int], voices: Sequence[int], count: int) -> LeftOut:
    """The first `count` voices of these positions, or all that they have; ascending."""
    taken: dict[int, int] = {}
    for position in positions:
        if count == 0:
            break
        taken[position] = min(voices[position], count)
        count -= taken[position]
    return tuple(sorted(taken.items()))


def mixed_trimmed_mean(
    gradients: Sequence[QuantisedGradient],
    factors: Sequence[ClipFactor],
    voices: Sequence[int],
    left_out: Sequence[LeftOut],
    trimmed: int,
) -> Float32Array:
    """The coordinate-wise trimmed mean of the mixed vectors, (parameters,) float32; each counts as often as it has voices.

    Mixed vector i: the sum of all clipped ones in their order, minus those of `left_out[i]` in theirs, over how many remain.
    `trimmed`: voices at each end; left_out[i] has as many, or all but its own, and then it is its own vector.
    """
    size, count = len(gradients[0].values), len(gradients)
    units = _units(gradients)
    scales = [_scales(gradient, factor, units) for gradient, factor in zip(gradients, factors, strict=True)]
    result = np.empty(size, dtype=np.float32)
    rows = np.empty((count, min(size, CHUNK_VALUES)), dtype=np.float32)
    mixed = np.empty_like(rows)
    is_one_each = all(own == 1 for own in voices)
    remaining = [sum(voices) - sum(left for _, left in positions) for positions in left_out]
    for first in range(0, size, CHUNK_VALUES):
        part = result[first : first + CHUNK_VALUES]
        clipped, sums = rows[:, : len(part)], mixed[:, : len(part)]
        for gradient, own, row in zip(gradients, scales, clipped, strict=True):
            _write_clipped(row, gradient, own, first)
        _write_mixed(sums, clipped, voices, left_out)
        if is_one_each:
            trim_chunk(list(sums), trimmed, part)
            part /= np.float32(remaining[0])
        else:
            np.divide(sums, np.array(remaining, dtype=np.float32)[:, np.newaxis], out=sums)
            trim_chunk_by_voices(list(sums), voices, trimmed, part)
    start = 0
    for block, unit in zip(gradients[0].sizes, units, strict=True):
        result[start : start + block] *= np.float32(2.0**unit)
        start += block
    return result


def _units(gradients: Sequence[QuantisedGradient]) -> list[int]:
    """The exponent that each block is computed in: the lower median, so most rows need no scaling, and liars do not set it."""
    columns = zip(*(gradient.exponents for gradient in gradients), strict=True)
    return [max(UNIT_MIN, sorted(column)[(len(gradients) - 1) // 2]) for column in columns]


def _scales(gradient: QuantisedGradient, factor: ClipFactor, units: list[int]) -> list[np.float32]:
    """factor * 2**(exponent - unit) of each block, rounded to float32 only where it is below 2**-126."""
    pairs = zip(gradient.exponents, units, strict=True)
    return [np.float32(math.ldexp(factor.mantissa, exponent - unit - factor.shift)) for exponent, unit in pairs]


def _write_clipped(row: Float32Array, gradient: QuantisedGradient, scales: list[np.float32], first: int) -> None:
    """Columns from `first` on: each integer, exact in float32, times its block's scale, rounded once."""
    last = first + len(row)
    start = 0
    for size, scale in zip(gradient.sizes, scales, strict=True):
        left, right = max(start, first), min(start + size, last)
        if left < right:
            part = row[left - first : right - first]
            part[:] = gradient.values[left:right]
            if scale != 1:
                part *= scale
        start += size


def _write_mixed(sums: Float32Array, rows: Float32Array, voices: Sequence[int], left_out: Sequence[LeftOut]) -> None:
    total = _times(rows[0], voices[0]) + np.float32(0)  # -0.0 becomes 0.0, and then no sum or difference is -0.0 again
    for row, count in zip(rows[1:], voices[1:], strict=True):
        total += _times(row, count)
    for mixed, positions in zip(sums, left_out, strict=True):
        before = total
        for position, count in positions:
            np.subtract(before, _times(rows[position], count), out=mixed)
            before = mixed
        if not positions:
            mixed[:] = total


def _times(row: Float32Array, count: int) -> Float32Array:
    return row if count == 1 else row * np.float32(count)
