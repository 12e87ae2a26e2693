"""A gradient as it travels: small integers and one power of two per tensor, so that inner products are exact integers.

Any two machines agree on every comparison of such gradients: a product of two 16-bit values is below 2**30, a sum of 2**22 of
them below 2**53, so float64 holds it exactly whatever the order of summation (a BLAS, a GPU, a fused operation).

Section 7 of docs/protocol.md.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

import numpy as np
import numpy.typing as npt

from learning.task import Float32Array, Layout

Values = npt.NDArray[np.int16] | npt.NDArray[np.int8]

EXPONENT_MIN = -100
"""The smallest value, 2**-100, is still a normal float32."""

EXPONENT_MAX = 63
"""Values up to 3e23: far beyond any gradient that could be of use, and squares of a whole model stay finite in float64."""

EXPONENT_OFFSET = 128
"""On the wire an exponent is one byte, this much higher."""

PRODUCT_CHUNK = 1 << 15
"""Values multiplied at once: 256 KiB in float64, which stays in a core's own cache (half the time of 2 MiB). Exact to 2**22."""

PAYLOAD_DIGEST_BYTES = 32

_HEAD_BYTES = 1


class MalformedGradientError(ValueError):
    """Bytes that are no gradient of this layout; the message says why."""


@dataclass(frozen=True)
class QuantisedGradient:
    """`values` (parameters,) int16 or int8, read-only; block k of the layout is `values[...] * 2**exponents[k]`.

    Canonical: the largest magnitude of each block lies in the upper half of the range, or the exponent is EXPONENT_MIN. And
    a network takes one width only. So equal vectors have equal bytes.
    """

    values: Values
    exponents: tuple[int, ...]
    sizes: tuple[int, ...]
    """Values per block."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, QuantisedGradient) and self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)

    @property
    def encoded(self) -> bytes:
        """One byte with the bits per value, one byte per exponent, the values in two's complement, little-endian.

        Made anew at each call: whoever holds many gradients holds them once.
        """
        return self._head() + self._wire_values().tobytes()

    @cached_property
    def digest(self) -> bytes:
        """BLAKE2b-256 of `encoded`: what `payload_digest` makes of it."""
        hasher = hashlib.blake2b(self._head(), digest_size=PAYLOAD_DIGEST_BYTES)
        hasher.update(self._wire_values().data)
        return hasher.digest()

    def _head(self) -> bytes:
        return bytes([8 * self.values.itemsize, *(exponent + EXPONENT_OFFSET for exponent in self.exponents)])

    def _wire_values(self) -> npt.NDArray[np.signedinteger]:
        return self.values.astype(self.values.dtype.newbyteorder("<"), copy=False)

    @cached_property
    def squared_norm(self) -> Fraction:
        """Exact."""
        return inner(self, self)

    def dense(self) -> Float32Array:
        """The gradient in float32, exactly; shape (parameters,)."""
        dense = self.values.astype(np.float32)
        first = 0
        for size, exponent in zip(self.sizes, self.exponents, strict=True):
            dense[first : first + size] *= np.float32(2.0**exponent)
            first += size
        return dense


def payload_digest(encoded: bytes) -> bytes:
    """Names a large payload: BLAKE2b-256 of its bytes."""
    return hashlib.blake2b(encoded, digest_size=PAYLOAD_DIGEST_BYTES).digest()


def payload_bytes(layout: Layout, bits: int) -> int:
    """Length of the encoded gradient of a model with this layout."""
    return _HEAD_BYTES + len(layout) + bits // 8 * sum(block.size for block in layout)


def inner(first: QuantisedGradient, second: QuantisedGradient) -> Fraction:
    """The exact inner product. Both of one layout."""
    return inner_products(first, (second,))[0]


def inner_products(gradient: QuantisedGradient, others: Sequence[QuantisedGradient]) -> tuple[Fraction, ...]:
    """The exact inner product with each of the others, all of one layout. Extra memory: two chunks in float64."""
    totals = [Fraction(0)] * len(others)
    first = 0
    for block, size in enumerate(gradient.sizes):
        part = slice(first, first + size)
        products = _block_products(gradient.values[part], [other.values[part] for other in others])
        for place, (other, product) in enumerate(zip(others, products, strict=True)):
            totals[place] += product * Fraction(2) ** (gradient.exponents[block] + other.exponents[block])
        first += size
    return tuple(totals)


def _block_products(values: Values, others: Sequence[Values]) -> list[int]:
    """Inner products of integers; each chunk of `values` is converted once."""
    products = [0] * len(others)
    for start in range(0, len(values), PRODUCT_CHUNK):
        end = start + PRODUCT_CHUNK
        chunk = values[start:end].astype(np.float64)
        for place, other in enumerate(others):
            products[place] += int(chunk @ other[start:end].astype(np.float64))
    return products


def squared_distance(first: QuantisedGradient, second: QuantisedGradient) -> Fraction:
    """The exact squared Euclidean distance."""
    return first.squared_norm - 2 * inner(first, second) + second.squared_norm


def quantise(gradient: Float32Array, layout: Layout, bits: int) -> QuantisedGradient | None:
    """The nearest quantised gradient, (parameters,) float32; None where a value is not finite or too large to travel."""
    assert bits in {8, 16}, f"{bits} bits"
    largest_value = 2 ** (bits - 1) - 1
    if not np.isfinite(gradient).all():
        return None
    values: Values = np.empty(len(gradient), np.int16) if bits == 16 else np.empty(len(gradient), np.int8)
    exponents, first = [], 0
    for block in layout:
        part = gradient[first : first + block.size].astype(np.float64)
        exponent = _exponent(float(np.abs(part).max(initial=0.0)), largest_value)
        if exponent > EXPONENT_MAX:
            return None
        values[first : first + block.size] = np.rint(part * 2.0**-exponent)
        exponents.append(exponent)
        first += block.size
    values.setflags(write=False)
    return QuantisedGradient(values, tuple(exponents), tuple(block.size for block in layout))


def _exponent(largest: float, largest_value: int) -> int:
    """The least exponent at which the rounded magnitude fits."""
    if largest == 0.0:
        return EXPONENT_MIN
    exponent = max(EXPONENT_MIN, int(np.frexp(largest)[1]) - largest_value.bit_length())
    return exponent + 1 if np.rint(largest * 2.0**-exponent) > largest_value else exponent


def decode_gradient(encoded: bytes, layout: Layout, bits: int) -> QuantisedGradient:
    """The inverse of `encoded`, for bytes from anybody; `bits` (8 or 16): the network's. Raises MalformedGradientError.

    The other width is refused: many a vector has a form in both, and would be two gradients.
    """
    assert bits in {8, 16}, f"{bits} bits"
    told = encoded[0] if encoded else 0
    if told != bits:
        raise MalformedGradientError(f"bits per value is {told}, allowed {bits}")
    expected = payload_bytes(layout, bits)
    if len(encoded) != expected:
        raise MalformedGradientError(f"gradient of {len(encoded)} bytes, expected {expected}")
    body = _HEAD_BYTES + len(layout)
    exponents = tuple(byte - EXPONENT_OFFSET for byte in encoded[_HEAD_BYTES:body])
    native: Values = (
        np.frombuffer(encoded, "<i2", offset=body).astype(np.int16, copy=False)
        if bits == 16
        else np.frombuffer(encoded, np.int8, offset=body)
    )
    _check_canonical(native, exponents, layout, 2 ** (bits - 1) - 1)
    return QuantisedGradient(native, exponents, tuple(block.size for block in layout))


def _check_canonical(values: Values, exponents: tuple[int, ...], layout: Layout, largest_value: int) -> None:
    first = 0
    for block, exponent in zip(layout, exponents, strict=True):
        part = values[first : first + block.size]
        largest = max(int(part.max(initial=0)), -int(part.min(initial=0)))
        if not EXPONENT_MIN <= exponent <= EXPONENT_MAX:
            raise MalformedGradientError(
                f"exponent of {block.name} is {exponent}, allowed {EXPONENT_MIN} to {EXPONENT_MAX}: beyond, it is not finite"
            )
        if largest > largest_value:
            raise MalformedGradientError(f"a value of {block.name} is {-largest}, allowed {-largest_value} to {largest_value}")
        if exponent > EXPONENT_MIN and largest <= largest_value // 2:
            raise MalformedGradientError(f"the values of {block.name} use half of their range at most: not canonical")
        first += block.size
