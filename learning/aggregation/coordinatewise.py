"""Median and trimmed mean of a few vectors, coordinate by coordinate: the same bits on every processor.

Sorting is by a network of elementwise minima and maxima (Batcher's odd-even merge sort: Knuth, "The Art of Computer
Programming" 3, 5.2.2, algorithm M), pruned to the ranks that are asked for, on chunks that stay in the processor's cache.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from learning.task import Float32Array

CHUNK_BYTES = 1 << 19
"""All vectors' part of one chunk together: half of a common second-level cache."""

NETWORKS_KEPT = 64
"""One per (count, ranks): a network whose membership moves uses a few."""

Comparator = tuple[int, int, bool, bool]
"""(low wire, high wire, the minimum is wanted on the low one, the maximum is wanted on the high one)."""


def median(vectors: Sequence[Float32Array]) -> Float32Array:
    """The coordinate-wise median, (parameters,) float32; of an even number: half the sum of the two in the middle."""
    count = len(vectors)
    return trimmed_mean(vectors, (count - 1) // 2)


def trimmed_mean(vectors: Sequence[Float32Array], trimmed: int) -> Float32Array:
    """The coordinate-wise mean without the `trimmed` lowest and highest, summed from the lowest up; (parameters,) float32.

    The vectors are finite and of one length; 0 <= 2 * trimmed < len(vectors).
    """
    return _by_chunks(vectors, lambda wires, result: trim_chunk(wires, trimmed, result))


def trim_chunk(wires: list[Float32Array], trimmed: int, result: Float32Array) -> None:
    """Write the trimmed mean of the `wires` to `result`. They are sorted in place; none holds -0.0, else ties differ."""
    count = len(wires)
    assert 0 <= 2 * trimmed < count, f"{trimmed} trimmed from each end of {count}"
    _sort(wires, _network(count, trimmed, count - trimmed))
    np.copyto(result, wires[trimmed])
    for wire in wires[trimmed + 1 : count - trimmed]:
        result += wire
    result /= np.float32(count - 2 * trimmed)


def trim_chunk_by_voices(wires: list[Float32Array], voices: Sequence[int], trimmed: int, result: Float32Array) -> None:
    """As `trim_chunk` of each wire repeated as often as it has voices, and `trimmed` of all voices; the wires are used up.

    A -0.0 does no harm here: it keeps its own voices where it ties with 0.0, and the sums begin with 0.0.
    """
    total = sum(voices)
    assert 0 <= 2 * trimmed < total, f"{trimmed} trimmed from each end of {total}"
    counts = [np.full(wires[0].shape, count, dtype=np.int16) for count in voices]
    for low, high, _, _ in _network(len(wires), 0, len(wires)):
        is_lower = wires[high] < wires[low]
        lower_count = np.where(is_lower, counts[high], counts[low])
        counts[low], counts[high] = lower_count, counts[low] + counts[high] - lower_count
        wires[low], wires[high] = np.minimum(wires[low], wires[high]), np.maximum(wires[low], wires[high])
    result[:] = 0
    below = np.zeros(wires[0].shape, dtype=np.int16)
    for wire, count in zip(wires, counts, strict=True):
        above = below + count
        taken = np.clip(above, trimmed, total - trimmed) - np.clip(below, trimmed, total - trimmed)
        result += wire * taken.astype(np.float32)
        below = above
    result /= np.float32(total - 2 * trimmed)


def _by_chunks(
    vectors: Sequence[Float32Array], reduce_chunk: Callable[[list[Float32Array], Float32Array], None]
) -> Float32Array:
    size, count = len(vectors[0]), len(vectors)
    width = max(1, CHUNK_BYTES // (4 * (count + 1)))
    result = np.empty(size, dtype=np.float32)
    wires = np.empty((count, min(width, size)), dtype=np.float32)
    for first in range(0, size, width):
        part = result[first : first + width]
        for wire, vector in zip(wires, vectors, strict=True):
            np.add(vector[first : first + width], np.float32(0), out=wire[: len(part)])  # -0.0 becomes 0.0: else ties differ
        reduce_chunk([wire[: len(part)] for wire in wires], part)
    return result


def _sort(wires: list[Float32Array], network: tuple[Comparator, ...]) -> None:
    spare: npt.NDArray[np.float32] = np.empty_like(wires[0])
    for low, high, wants_low, wants_high in network:
        first, second = wires[low], wires[high]
        if wants_low and wants_high:
            np.minimum(first, second, out=spare)
            np.maximum(first, second, out=second)
            wires[low], spare = spare, first
        elif wants_low:
            np.minimum(first, second, out=first)
        else:
            np.maximum(first, second, out=second)


@lru_cache(maxsize=NETWORKS_KEPT)
def _network(count: int, first_rank: int, last_rank: int) -> tuple[Comparator, ...]:
    """The comparators that the ranks first_rank..last_rank - 1 (0 the lowest) depend on, in order."""
    wanted = set(range(first_rank, last_rank))
    kept: list[Comparator] = []
    for low, high in reversed(_merge_sort(count)):
        if low in wanted or high in wanted:
            kept.append((low, high, low in wanted, high in wanted))
            wanted |= {low, high}
    return tuple(reversed(kept))


def _merge_sort(count: int) -> list[tuple[int, int]]:
    """Knuth's algorithm M for any count."""
    comparators = []
    top = 1 << max(0, (count - 1).bit_length() - 1)
    p = top
    while p > 0:
        q, r, d = top, 0, p
        while d > 0:
            comparators += [(i, i + d) for i in range(count - d) if i & p == r]
            d, q, r = q - p, q >> 1, p
        p >>= 1
    return comparators
