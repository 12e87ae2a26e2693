"""Nearest-neighbour mixing: each vector is replaced by the mean of itself and those closest to it.

Allouah, Farhadkhani, Guerraoui, Gupta, Pinot, Stephan, "Fixing by Mixing: A Recipe for Optimal Byzantine ML under
Heterogeneity", AISTATS 2023, algorithm 2: an honest vector has n-f-1 honest ones, so its nearest ones cannot all be liars', and
what lies far from everybody leaves the sum. It makes the trimmed mean that follows optimal up to a constant.
"""

import math
from collections.abc import Sequence

import numpy as np

from learning.gradient.quantised import QuantisedGradient
from learning.rules.clipping import ClipFactor
from learning.rules.coordinatewise import trim_chunk
from learning.task import Float32Array

Positions = tuple[int, ...]

UNIT_MIN = -40
"""The largest value, 2**78, times 2**40 is finite in float32, even a thousand times."""

CHUNK_VALUES = 20_480
"""Mixed at once per gradient: sixteen of them, before and after, are 2.5 MiB, about a core's own cache; measured best of
4,096 to 49,152."""


def farthest(products: list[list[int]], factors: list[ClipFactor], count: int) -> list[Positions]:
    """For each vector the positions, ascending, of the `count` clipped ones that lie farthest from it.

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
        found.append(tuple(sorted(position for _, position in sorted(distances)[size - 1 - count :])))
    return found


def mixed_trimmed_mean(
    gradients: Sequence[QuantisedGradient], factors: Sequence[ClipFactor], left_out: Sequence[Positions], trimmed: int
) -> Float32Array:
    """The coordinate-wise trimmed mean of the mixed vectors, (parameters,) float32.

    Mixed vector i: the sum of all clipped ones in their order, minus those of `left_out[i]` in theirs, over how many remain.
    """
    size, count = len(gradients[0].values), len(gradients)
    units = _units(gradients)
    scales = [_scales(gradient, factor, units) for gradient, factor in zip(gradients, factors, strict=True)]
    result = np.empty(size, dtype=np.float32)
    rows = np.empty((count, min(size, CHUNK_VALUES)), dtype=np.float32)
    mixed = np.empty_like(rows)
    for first in range(0, size, CHUNK_VALUES):
        part = result[first : first + CHUNK_VALUES]
        clipped, sums = rows[:, : len(part)], mixed[:, : len(part)]
        for gradient, own, row in zip(gradients, scales, clipped, strict=True):
            _write_clipped(row, gradient, own, first)
        _write_mixed(sums, clipped, left_out)
        trim_chunk(list(sums), trimmed, part)
    result /= np.float32(count - len(left_out[0]))
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


def _write_mixed(sums: Float32Array, rows: Float32Array, left_out: Sequence[Positions]) -> None:
    total = rows[0] + np.float32(0)  # -0.0 becomes 0.0, and then no sum or difference is -0.0 again
    for row in rows[1:]:
        total += row
    for mixed, positions in zip(sums, left_out, strict=True):
        before = total
        for position in positions:
            np.subtract(before, rows[position], out=mixed)
            before = mixed
        if not positions:
            mixed[:] = total
