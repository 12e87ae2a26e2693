"""The arithmetic that all peers share, bit for bit: integers, and elementwise IEEE-754 `+ - * /` of numpy in a fixed order.

A *stream* is the raw output of Philox4x64-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC'11) under an
explicit 128-bit key: word 4k + j of the stream is word j of the cipher of counter k + 1 (numpy counts before it enciphers).
Words are read as little-endian bytes, bits from the lowest up. Nothing here depends on a processor, a thread count or a
library's choice of algorithm; `self_test` proves it on the user's machine.

Section 3 of docs/protocol.md.
"""

import hashlib
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache
from typing import Annotated, NewType

import numpy as np
import numpy.typing as npt
from msgspec import Meta

from learning.golden_digests import GOLDEN_DIGESTS
from learning.task import Float32Array, Float64Array, Int64Array, Layout, ParameterBlock

Int8Array = npt.NDArray[np.int8]
Uint8Array = npt.NDArray[np.uint8]
Int16Array = npt.NDArray[np.int16]
Int32Array = npt.NDArray[np.int32]
Uint64Array = npt.NDArray[np.uint64]

DecimalText = Annotated[
    str, Meta(pattern=r"^[0-9]{1,4}(\.[0-9]{1,12})?\Z", title='a decimal number like "0.03", of at most 12 decimals')
]
"""No float is ever agreed on: what the rules say is read as it stands, and rounded by `round_factor`."""

StreamKey = NewType("StreamKey", int)
"""Names one stream: 128 bits, out of BLAKE2b."""

STREAM_KEY_BYTES = 16

WORDS_PER_BLOCK = 4
"""Philox4x64 enciphers a counter to four words; a candidate's noise starts at a whole counter."""

PARAMETERS_PER_WORD = 64
"""One bit a parameter."""

SIGNIFICANT_BITS = 16
"""A 16-bit factor times an 8-bit integer fits the 24 bits of float32: the product is exact, fused with an addition or not."""

SUM_MAX = 255
"""The 8 bits that SIGNIFICANT_BITS leaves for a weighted sum of signs."""

CHUNK_WORDS = 2_048
"""Noise is unpacked in pieces of 512 KiB of float32, which stay in a core's own cache: twice this is a tenth slower."""

WEIGHTED_SUM_MAX = 2**15 - 1
"""Of the magnitudes of the weights: what int16 holds."""

OCTETS_AT_ONCE = 2**14
"""Of noise, summed up in one piece, so that it stays in a core's own cache: seven times as fast at a million parameters."""

MOVED_AT_ONCE = 2**17
"""Parameters of a child that are worked out together, so that they stay in a core's own cache."""

BLOCKS_REMEMBERED = 4_096
"""Under 1 MB: candidates of tiny models come back in blocks, and the peers of a simulation share them."""

EXPONENT_MAX = 100
"""Rounded factors lie within 2**-100 .. 2**100, far from float32's subnormal and infinite values."""

FITNESS_MAX = 2**60
"""In micro-units, about 1.15e12 units: sums and differences of a few such values stay within int64."""

FITNESS_LOWEST = -FITNESS_MAX
"""What NaN and infinities count as, and where the range ends."""

MICRO = 1_000_000


class ExactArithmeticError(Exception):
    """This machine computes otherwise than the golden vectors say; the message names which."""


# --- streams --------------------------------------------------------------------------------------------------------


def stream_key(tag: bytes, *parts: bytes) -> StreamKey:
    """BLAKE2b-128 over the length-prefixed (u32, little-endian) tag and parts, read as a little-endian integer."""
    hasher = hashlib.blake2b(digest_size=STREAM_KEY_BYTES)
    for part in (tag, *parts):
        hasher.update(len(part).to_bytes(4, "little") + part)
    return StreamKey(int.from_bytes(hasher.digest(), "little"))


def noise_key(network_id: bytes, parent_step: bytes, author: bytes) -> StreamKey:
    """The stream of one author's mutations of one parent: nobody can present another's candidate as his own."""
    return stream_key(b"kubrat/noise/1", network_id, parent_step, author)


def raw_words(key: StreamKey, first_block: int, count: int) -> Uint64Array:
    """`count` words of the stream from word 4 * first_block on."""
    return np.random.Philox(key=key, counter=first_block).random_raw(count)


@lru_cache(maxsize=BLOCKS_REMEMBERED)
def _one_block(key: StreamKey, block: int) -> Uint64Array:
    """The noise of a candidate of up to 256 parameters: to set the generator up takes longer than all else about it."""
    raw = raw_words(key, block, WORDS_PER_BLOCK)
    raw.setflags(write=False)
    return raw


def words_per_candidate(parameters: int) -> int:
    """Words that one candidate's noise takes: whole blocks of 256 parameters."""
    return WORDS_PER_BLOCK * -(-parameters // (WORDS_PER_BLOCK * PARAMETERS_PER_WORD))


@lru_cache(maxsize=8)
def _byte_table(scale: np.float32) -> Float32Array:
    """Row b holds `scale` or `-scale` for the eight bits of byte b, lowest first: 1 is +, 0 is -. Shape (256, 8)."""
    bits = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1, bitorder="little")
    table = np.where(bits == 1, scale, -scale).astype(np.float32)
    table.setflags(write=False)
    return table


def _first_block(index: int, parameters: int) -> int:
    return index * words_per_candidate(parameters) // WORDS_PER_BLOCK


# --- children -------------------------------------------------------------------------------------------------------


def fill_children(children: Float32Array, theta: Float32Array, key: StreamKey, first_index: int, sigma: np.float32) -> None:
    """Write theta + sigma * s_i into the rows of `children` (count, parameters), for `count` indices from `first_index` on.

    One stream serves all rows; s_i in {-1, +1} per parameter. Extra memory: about 1 MiB, whatever the shape.
    """
    count, parameters = children.shape
    words = words_per_candidate(parameters)
    stream = np.random.Philox(key=key, counter=_first_block(first_index, parameters))
    table = _byte_table(sigma)
    rows_at_once = max(1, CHUNK_WORDS // words)
    for first_row in range(0, count, rows_at_once):
        rows = children[first_row : first_row + rows_at_once]
        for first_word in range(0, words, CHUNK_WORDS):
            width = min(CHUNK_WORDS, words - first_word)
            first = first_word * PARAMETERS_PER_WORD
            last = min(first + width * PARAMETERS_PER_WORD, parameters)
            raw = stream.random_raw(len(rows) * width)
            np.add(theta[first:last], _unpack(table, raw, len(rows), last - first), out=rows[:, first:last])


def _unpack(table: Float32Array, raw: Uint64Array, rows: int, columns: int) -> Float32Array:
    octets = raw.astype("<u8", copy=False).view(np.uint8).reshape(rows, -1)
    used = octets[:, : -(-columns // 8)]
    return table.take(used, axis=0).reshape(rows, -1)[:, :columns]


def _noise_octets(key: StreamKey, index: int, parameters: int) -> Uint8Array:
    """One bit a parameter, and up to 255 more."""
    first, words = _first_block(index, parameters), words_per_candidate(parameters)
    raw = _one_block(key, first) if words == WORDS_PER_BLOCK else raw_words(key, first, words)
    return _octets(raw, parameters)


def _octets(raw: Uint64Array, parameters: int) -> Uint8Array:
    octets: Uint8Array = raw.astype("<u8", copy=False).view(np.uint8)
    return octets[: -(-parameters // 8)]


def _noise_of(key: StreamKey, indices: Iterable[int], parameters: int) -> Iterator[Uint8Array]:
    """The noise of mutations in ascending order, from one generator: to set one up takes longer than to read."""
    words = words_per_candidate(parameters)
    if words == WORDS_PER_BLOCK:
        yield from (_noise_octets(key, index, parameters) for index in indices)
        return
    stream, block = np.random.Philox(key=key), 0
    for index in indices:
        first = _first_block(index, parameters)
        stream.advance(first - block)
        yield _octets(stream.random_raw(words), parameters)
        block = first + words // WORDS_PER_BLOCK


def signs(key: StreamKey, index: int, parameters: int) -> Int8Array:
    """s_i in {-1, +1}, shape (parameters,): the direction of mutation `index`."""
    bits = np.unpackbits(_noise_octets(key, index, parameters), count=parameters, bitorder="little").view(np.int8)
    return (bits << 1) - np.int8(1)


def recombine(
    theta: Float32Array, key: StreamKey, indices: tuple[int, ...], weights: tuple[int, ...], scale: np.float32
) -> Float32Array:
    """theta + scale * sum(w_i s_i): the sum and the product are exact, the addition rounds once. Shape of theta."""
    assert len(indices) == len(weights), f"{len(indices)} indices, {len(weights)} weights"
    assert 0 < sum(weights) <= SUM_MAX, f"weights sum to {sum(weights)}, allowed 1..{SUM_MAX}"
    return theta + scale * weighted_signs(key, indices, weights, len(theta)).astype(np.float32)


def weighted_signs(key: StreamKey, indices: tuple[int, ...], weights: tuple[int, ...], parameters: int) -> Int16Array:
    """sum(w_i s_i), exact; shape (parameters,)."""
    assert sum(map(abs, weights)) <= WEIGHTED_SUM_MAX, f"weights of {sum(map(abs, weights))} in all, allowed {WEIGHTED_SUM_MAX}"
    total = np.full(parameters, -sum(weights), dtype=np.int16)
    ascending = sorted(zip(indices, weights, strict=True))
    noise = _noise_of(key, (index for index, _ in ascending), parameters)
    for octets, (_, weight) in zip(noise, ascending, strict=True):
        for start in range(0, len(octets), OCTETS_AT_ONCE):  # w (2 bit - 1) is 2 w for each bit that is set, less w
            piece = slice(8 * start, min(8 * (start + OCTETS_AT_ONCE), parameters))
            bits = np.unpackbits(octets[start : start + OCTETS_AT_ONCE], count=piece.stop - piece.start, bitorder="little")
            total[piece] += bits * np.int16(2 * weight)
    return total


def moved(
    theta: Float32Array, direction: Int32Array, scale: np.float32, before: Float32Array | None = None, share: float = 0.0
) -> Float32Array:
    """theta + scale * direction + share * (theta - before), rounded to float32 once, at the end. Shape of theta.

    In float64, elementwise and in this order: the first product is exact (16 bits times 31), and so is the second one where
    `share` is a power of two. None before: nothing is added. Extra memory: some MiB, whatever the shape.
    """
    child = np.empty_like(theta)
    for first in range(0, len(theta), MOVED_AT_ONCE):
        piece = slice(first, first + MOVED_AT_ONCE)
        start = theta[piece].astype(np.float64)
        sums = start + np.float64(scale) * direction[piece].astype(np.float64)
        if before is not None:
            sums += np.float64(share) * (start - before[piece].astype(np.float64))
        child[piece] = sums.astype(np.float32)
    return child


# --- first weights --------------------------------------------------------------------------------------------------


def first_weights(key: StreamKey, layout: Layout) -> Float32Array:
    """The model to start from: what is given; else uniform in [-1/sqrt(fan_in), 1/sqrt(fan_in)), or the block's constant.

    Parameter i takes the i-th 16-bit integer of the stream, whatever block it lies in, times the block's scale / 2**15.
    """
    parameters = sum(block.size for block in layout)
    raw = raw_words(key, 0, -(-parameters // 4))
    weights = raw.astype("<u8", copy=False).view("<i2")[:parameters].astype(np.float32)
    first = 0
    for block in layout:
        part = weights[first : first + block.size]
        if block.given is not None:
            part[:] = block.given
        elif block.fan_in:
            part *= inverse_square_root(block.fan_in) * np.float32(2.0**-15)
        else:
            part[:] = block.constant
        first += block.size
    return weights


def inverse_square_root(value: int) -> np.float32:
    """1/sqrt(value) to the nearest 16 significant bits, by integers alone; a tie would need a rational root below 1/2**16."""
    assert value > 0, f"inverse square root of {value}"
    exponent = SIGNIFICANT_BITS - 1 + (value.bit_length() + 1) // 2
    mantissa = (math.isqrt(4 ** (exponent + 1) // value) + 1) // 2
    if mantissa > 2**SIGNIFICANT_BITS:  # one bit too many: round once, from the start, at the coarser grid
        exponent -= 1
        mantissa = (math.isqrt(4 ** (exponent + 1) // value) + 1) // 2
    return np.float32(math.ldexp(mantissa, -exponent))


# --- rounding, sums, order ------------------------------------------------------------------------------------------


def round_factor(value: Decimal) -> np.float32:
    """`value` to the nearest float32 of at most 16 significant bits, ties to even.

    Raises ValueError when it is not finite, or its magnitude is outside 2**-100 .. 2**100 and not 0.
    """
    if not value.is_finite():
        raise ValueError(f"factor {value} is not finite")
    exact = Fraction(value)
    if exact != 0 and not Fraction(1, 2**EXPONENT_MAX) <= abs(exact) <= 2**EXPONENT_MAX:
        raise ValueError(f"factor {value:.6e} is outside 2**-{EXPONENT_MAX} .. 2**{EXPONENT_MAX}")
    return round_ratio(exact)


def round_ratio(exact: Fraction) -> np.float32:
    """The same for a ratio of our own making, whose magnitude is 0 or within 2**-100 .. 2**100."""
    if exact == 0:
        return np.float32(0)
    exponent = _floor_log2(abs(exact)) - (SIGNIFICANT_BITS - 1)
    return np.float32(math.ldexp(round(exact / Fraction(2) ** exponent), exponent))


def _floor_log2(value: Fraction) -> int:
    guess = value.numerator.bit_length() - value.denominator.bit_length()
    return guess if Fraction(2) ** guess <= value else guess - 1


def tree_sum(values: Float64Array) -> float:
    """The sum of a vector, by adding its second half to its first, elementwise, again and again; padded to a power of two."""
    size = 1 << max(0, len(values) - 1).bit_length()
    partial = np.zeros(size, dtype=np.float64)
    partial[: len(values)] = values
    while len(partial) > 1:
        half = len(partial) // 2
        partial = partial[:half] + partial[half:]
    return float(partial[0])


def micro_units(fitness: float) -> int:
    """Fitness as an integer in millionths, half to even, within FITNESS_LOWEST..FITNESS_MAX; NaN, infinities: the lowest."""
    if not math.isfinite(fitness):
        return FITNESS_LOWEST
    return min(max(round(Fraction(float(fitness)) * MICRO), FITNESS_LOWEST), FITNESS_MAX)


def permutation(seed: bytes, size: int) -> Int64Array:
    """0..size-1 in the order that `seed` selects: sorted by one raw word each, equal words by the lower number.

    A prefix of it is a random subset.
    """
    keys = raw_words(stream_key(b"kubrat/permutation/1", seed), 0, size)
    return np.argsort(keys, kind="stable").astype(np.int64)


# --- self-test ------------------------------------------------------------------------------------------------------


def _digest(array: npt.NDArray[np.generic]) -> str:
    """BLAKE2b-128 over the little-endian bytes, in hex."""
    return hashlib.blake2b(array.astype(array.dtype.newbyteorder("<")).tobytes(), digest_size=16).hexdigest()


_KEY = stream_key(b"kubrat/golden/1")
_THETA_SIZE = 1_003


def _golden_theta() -> Float32Array:
    return (np.arange(_THETA_SIZE, dtype=np.float32) - np.float32(500)) / np.float32(7_001)


def _golden_children() -> Float32Array:
    children = np.empty((3, _THETA_SIZE), dtype=np.float32)
    fill_children(children, _golden_theta(), _KEY, 2**32 - 3, round_factor(Decimal("0.03")))
    return children


def _golden_weights() -> Float32Array:
    return first_weights(_KEY, (ParameterBlock("a", (65, 7), 64), ParameterBlock("b", (7,), 0), ParameterBlock("c", (9,), 3)))


def _golden_factors() -> Float32Array:
    decimals = [round_factor(Decimal(text)) for text in ("0.03", "-0.1", "1.0000076293945312500", "3.3e-30", "65537")]
    return np.array(decimals + [inverse_square_root(value) for value in (1, 2, 64, 65_535, 10**9)], dtype=np.float32)


def _golden_fitness() -> Int64Array:
    values = (-2.302585092994046, 0.0000005, 0.0000015, math.nan, math.inf, -math.inf, 1e300)
    return np.array([micro_units(value) for value in values], dtype=np.int64)


def _golden_subnormals() -> Float32Array:
    return _golden_theta() * np.float32(2.0**-130)


def _golden_division() -> Float64Array:
    return np.sqrt(np.arange(1, 300, dtype=np.float64)) / np.float64(3)


def _golden_moved() -> Float32Array:
    theta = _golden_theta()
    direction = weighted_signs(_KEY, (3, 65_535, 0, 7), (3, 1, -1, -3), _THETA_SIZE)
    return moved(theta, direction.astype(np.int32), round_factor(Decimal("0.00123")), theta[::-1].copy(), 0.5)


GOLDEN_VECTORS: Mapping[str, Callable[[], npt.NDArray[np.generic]]] = {
    "Philox words": lambda: raw_words(_KEY, 2**70 + 5, 12),
    "signs": lambda: signs(_KEY, 7, _THETA_SIZE),
    "children": _golden_children,
    "recombined child": lambda: recombine(_golden_theta(), _KEY, (5, 0, 9), (4, 2, 1), round_factor(Decimal("0.0066"))),
    "first weights": _golden_weights,
    "rounded factors": _golden_factors,
    "tree sum": lambda: np.array([tree_sum(_golden_division())]),
    "micro-units": _golden_fitness,
    "permutation": lambda: permutation(b"golden", 100),
    "subnormal float32 values": _golden_subnormals,
    "float64 root and division": _golden_division,
    "moved child": _golden_moved,
}
"""What `self_test` computes, by the name that its error gives. Append only: a changed vector is another network."""


def self_test() -> None:
    """Compare this machine with the golden vectors; takes a few milliseconds.

    Raises ExactArithmeticError naming every vector that differs: a peer that went on would disagree with all others.
    """
    wrong = [name for name, compute in GOLDEN_VECTORS.items() if _digest(compute()) != GOLDEN_DIGESTS[name]]
    if wrong:
        raise ExactArithmeticError(f"this machine computes otherwise than the network's other peers: {', '.join(wrong)}")
