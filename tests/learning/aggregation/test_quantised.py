"""Gradients as they travel, against twins in Python's integers and fractions, and under bytes from anybody."""

import itertools
from collections.abc import Iterator
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from learning.aggregation.quantised import (
    EXPONENT_MAX,
    EXPONENT_MIN,
    EXPONENT_OFFSET,
    PRODUCT_CHUNK,
    MalformedGradientError,
    QuantisedGradient,
    decode_gradient,
    inner,
    inner_products,
    payload_bytes,
    payload_digest,
    quantise,
    squared_distance,
)
from learning.task import Float32Array, Layout, ParameterBlock

FLOAT32_MAX = float(np.finfo(np.float32).max)
LAYOUT = (ParameterBlock("weight", (2, 2), 2), ParameterBlock("bias", (3,), 0))

blocks = st.lists(st.integers(min_value=1, max_value=6), min_size=1, max_size=4)
widths = st.sampled_from([8, 16])
exponents = st.integers(min_value=EXPONENT_MIN, max_value=EXPONENT_MAX)
finite = st.floats(width=32, allow_nan=False, allow_infinity=False)


def layout_of(sizes: list[int]) -> Layout:
    return tuple(ParameterBlock(f"block{place}", (size,), 1) for place, size in enumerate(sizes))


@st.composite
def gradients(draw: st.DrawFn, layout: Layout = LAYOUT, bits_drawn: st.SearchStrategy[int] = widths) -> QuantisedGradient:
    """Any canonical gradient: each block full-scale at a drawn exponent, or small at the least one."""
    bits = draw(bits_drawn)
    largest = 2 ** (bits - 1) - 1
    values, scales = [], []
    for block in layout:
        scale = draw(exponents)
        part = draw(st.lists(st.integers(-largest, largest), min_size=block.size, max_size=block.size))
        if scale > EXPONENT_MIN and max(abs(value) for value in part) <= largest // 2:
            part[draw(st.integers(0, block.size - 1))] = draw(st.sampled_from([-largest, largest // 2 + 1, largest]))
        values += part
        scales.append(scale)
    dtype = np.dtype(np.int8 if bits == 8 else np.int16).newbyteorder("<")
    head = bytes([bits, *(scale + EXPONENT_OFFSET for scale in scales)])
    return decode_gradient(head + np.array(values, dtype=dtype).tobytes(), layout, bits)


def exact(gradient: QuantisedGradient) -> list[Fraction]:
    """The vector it stands for, from its definition."""
    scales = [
        Fraction(2) ** exponent for size, exponent in zip(gradient.sizes, gradient.exponents, strict=True) for _ in range(size)
    ]
    return [int(value) * scale for value, scale in zip(gradient.values, scales, strict=True)]


def exact_inner(first: QuantisedGradient, second: QuantisedGradient) -> Fraction:
    return sum((one * other for one, other in zip(exact(first), exact(second), strict=True)), Fraction(0))


def slow_quantised(values: list[float], bits: int) -> tuple[list[int], int] | None:
    """One block: the least exponent at which every nearest integer (half to even) fits, in fractions."""
    for exponent in range(EXPONENT_MIN, EXPONENT_MAX + 1):
        rounded = [round(Fraction(value) / Fraction(2) ** exponent) for value in values]
        if max(abs(value) for value in rounded) < 2 ** (bits - 1):
            return rounded, exponent
    return None


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(values=st.lists(finite, min_size=1, max_size=6), bits=widths)
@example(values=[0.0, -0.0], bits=16)
@example(values=[1e-45, -1e-40], bits=16)
@example(values=[FLOAT32_MAX, 1.0], bits=8)
@example(values=[32767.5, -0.5], bits=16)
@example(values=[127.5], bits=8)
def test_quantised_values_are_the_nearest_at_the_least_exponent_that_fits(values: list[float], bits: int) -> None:
    layout = layout_of([len(values)])
    quantised = quantise(np.array(values, dtype=np.float32), layout, bits)
    expected = slow_quantised([float(np.float32(value)) for value in values], bits)
    assert (None if quantised is None else (quantised.values.tolist(), quantised.exponents[0])) == expected


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e38, -FLOAT32_MAX])
def test_what_is_not_finite_or_far_too_large_does_not_travel(value: float) -> None:
    gradient = np.ones(7, dtype=np.float32)
    gradient[5] = value
    assert [quantise(gradient, LAYOUT, bits) for bits in (8, 16)] == [None, None]


@pytest.mark.parametrize("bits", [8, 16])
def test_denormals_round_to_zero_and_do_not_disturb_the_rest(bits: int) -> None:
    gradient = np.array([1e-45, -1e-42, 0, 1e-38, 1, 0.5, -0.25], dtype=np.float32)
    quantised = quantise(gradient, LAYOUT, bits)
    assert quantised is not None
    assert quantised.dense().tolist() == [0, 0, 0, 0, 1, 0.5, -0.25]
    assert quantised.exponents[0] == EXPONENT_MIN
    assert not np.signbit(quantised.dense()[:4]).any()


@settings(max_examples=100, deadline=None)
@given(gradient=gradients())
def test_dense_is_exact_in_float32_and_quantises_to_the_same_bytes(gradient: QuantisedGradient) -> None:
    dense = gradient.dense()
    assert [Fraction(float(value)) for value in dense] == exact(gradient)
    assert dense.dtype == np.float32
    again = quantise(dense, LAYOUT, 8 * gradient.values.itemsize)
    assert again is not None
    assert again.encoded == gradient.encoded


@settings(max_examples=100, deadline=None)
@given(gradient=gradients())
def test_decoding_gives_the_same_gradient_and_its_digest_is_that_of_its_bytes(gradient: QuantisedGradient) -> None:
    encoded = gradient.encoded
    decoded = decode_gradient(encoded, LAYOUT, encoded[0])
    assert decoded == gradient
    assert (decoded.values.tolist(), decoded.exponents) == (gradient.values.tolist(), gradient.exponents)
    assert decoded.encoded == encoded
    assert decoded.digest == payload_digest(encoded)
    assert len(encoded) == payload_bytes(LAYOUT, encoded[0])
    assert not decoded.values.flags.writeable


@settings(max_examples=200, deadline=None)
@given(bits=widths, data=st.data())
def test_no_vector_has_two_accepted_forms_in_one_network(bits: int, data: st.DataObject) -> None:
    """Every other way to write a vector is refused: the other width, and each block's values doubled or halved."""
    gradient = data.draw(gradients(bits_drawn=st.just(bits)))
    for other in other_forms(gradient):
        with pytest.raises(MalformedGradientError):
            decode_gradient(other, LAYOUT, bits)


@settings(max_examples=200, deadline=None)
@given(bits=widths, data=st.data())
def test_equal_vectors_have_equal_bytes_and_others_other_bytes(bits: int, data: st.DataObject) -> None:
    first, second = data.draw(gradients(bits_drawn=st.just(bits))), data.draw(gradients(bits_drawn=st.just(bits)))
    assert (exact(first) == exact(second)) == (first.encoded == second.encoded) == (first == second)


def other_forms(gradient: QuantisedGradient) -> Iterator[bytes]:
    """All ways to write the same vector in 8 or 16 bits, but its own."""
    own = gradient.encoded
    ends = list(itertools.accumulate(gradient.sizes, initial=0))
    parts = [gradient.values[first:end].tolist() for first, end in itertools.pairwise(ends)]
    for bits in (8, 16):
        ways = [list(ways_of(part, exponent, bits)) for part, exponent in zip(parts, gradient.exponents, strict=True)]
        for chosen in itertools.product(*ways):
            head = bytes([bits, *(exponent + EXPONENT_OFFSET for _, exponent in chosen)])
            written = head + b"".join(np.array(values, dtype=f"<i{bits // 8}").tobytes() for values, _ in chosen)
            if written != own:
                yield written


def ways_of(values: list[int], exponent: int, bits: int) -> Iterator[tuple[list[int], int]]:
    """The same numbers at every exponent that a byte can say and at which they are whole and in range; of zeros, three."""
    for shift in range(-16, 17) if any(values) else (-1, 0, 1):
        scaled = [Fraction(value) * Fraction(2) ** shift for value in values]
        is_whole = all(value.denominator == 1 and -(2 ** (bits - 1)) <= value < 2 ** (bits - 1) for value in scaled)
        if is_whole and 0 <= exponent - shift + EXPONENT_OFFSET < 256:
            yield [int(value) for value in scaled], exponent - shift


@settings(max_examples=150, deadline=None)
@given(first=gradients(), second=gradients())
def test_products_norms_and_distances_are_those_of_fractions(first: QuantisedGradient, second: QuantisedGradient) -> None:
    assert inner(first, second) == exact_inner(first, second)
    assert first.squared_norm == exact_inner(first, first)
    squares = [(one - other) ** 2 for one, other in zip(exact(first), exact(second), strict=True)]
    assert squared_distance(first, second) == sum(squares)


@settings(max_examples=40, deadline=None)
@given(first=gradients(), others=st.lists(gradients(), max_size=4))
def test_a_row_of_products_is_the_products_one_by_one(first: QuantisedGradient, others: list[QuantisedGradient]) -> None:
    assert inner_products(first, others) == tuple(exact_inner(first, other) for other in others)


@pytest.mark.parametrize("size", [PRODUCT_CHUNK - 1, PRODUCT_CHUNK, PRODUCT_CHUNK + 1, 2 * PRODUCT_CHUNK + 3])
@pytest.mark.parametrize("exponent", [EXPONENT_MIN, EXPONENT_MAX])
def test_products_of_the_largest_values_stay_exact_over_chunks(size: int, exponent: int) -> None:
    layout = layout_of([size])
    values = np.full(size, 32_767, dtype=np.int16)
    values[::3] = -32_767
    values[-1] = 1
    gradient = decode_gradient(bytes([16, exponent + EXPONENT_OFFSET]) + values.astype("<i2").tobytes(), layout, 16)
    assert gradient.squared_norm == ((size - 1) * 32_767**2 + 1) * Fraction(4) ** exponent


def test_an_int8_and_an_int16_gradient_multiply_exactly() -> None:
    dense = np.array([0.75, -1, 0.5, 0.25, 3, 2, -1], dtype=np.float32)
    coarse, fine = quantise(dense, LAYOUT, 8), quantise(dense, LAYOUT, 16)
    assert coarse is not None
    assert fine is not None
    assert inner(coarse, fine) == coarse.squared_norm == fine.squared_norm == Fraction(0.75**2 + 1 + 0.25 + 0.0625 + 9 + 4 + 1)


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(gradient=gradients(), changes=st.lists(st.tuples(st.integers(0, 40), st.integers(0, 255)), max_size=4), cut=st.data())
def test_any_bytes_are_refused_or_are_a_canonical_gradient(
    gradient: QuantisedGradient, changes: list[tuple[int, int]], cut: st.DataObject
) -> None:
    mutated = bytearray(gradient.encoded)
    for place, byte in changes:
        mutated[place % len(mutated)] = byte
    mutated = mutated[: cut.draw(st.one_of(st.just(len(mutated)), st.integers(0, len(mutated))))]
    try:
        decoded = decode_gradient(bytes(mutated), LAYOUT, gradient.encoded[0])
    except MalformedGradientError:
        return
    again = quantise(decoded.dense(), LAYOUT, mutated[0])
    assert decoded.encoded == bytes(mutated) == (again.encoded if again else None)


def head_of(*scales: int, bits: int = 16) -> bytes:
    return bytes([bits, *(scale + EXPONENT_OFFSET for scale in scales)])


def body_of(*values: int) -> bytes:
    return np.array(values, dtype="<i2").tobytes()


@pytest.mark.parametrize(
    ("encoded", "message"),
    [
        (b"", "bits per value is 0, allowed 16"),
        (b"\x20" + bytes(16), "bits per value is 32, allowed 16"),
        (head_of(0, 0) + bytes(13), "gradient of 16 bytes, expected 17"),
        (head_of(0, 0) + bytes(15), "gradient of 18 bytes, expected 17"),
        (head_of(0, 0, bits=8) + bytes(7), "bits per value is 8, allowed 16"),
        (head_of(0, 64) + body_of(*[32_767] * 7), "exponent of bias is 64, allowed -100 to 63: beyond, it is not finite"),
        (head_of(-101, 0) + body_of(*[32_767] * 7), "exponent of weight is -101, allowed -100 to 63: beyond, it is not finite"),
        (
            head_of(0, 0) + body_of(*[-32_768] + [32_767] * 6),
            "a value of weight is -32768, allowed -32767 to 32767",
        ),
        (
            head_of(0, 0) + body_of(*[16_384] * 4 + [16_383] * 3),
            "the values of bias use half of their range at most: not canonical",
        ),
    ],
)
def test_a_malformed_gradient_is_told_by_what_is_wrong_with_it(encoded: bytes, message: str) -> None:
    with pytest.raises(MalformedGradientError) as caught:
        decode_gradient(encoded, LAYOUT, 16)
    assert str(caught.value) == message


def test_a_gradient_travels_in_two_bytes_a_parameter_or_one() -> None:
    layout = (ParameterBlock("weight", (1_000,), 1_000),)
    dense: Float32Array = np.linspace(-1, 1, 1_000, dtype=np.float32)
    lengths = [len(quantised.encoded) for bits in (16, 8) if (quantised := quantise(dense, layout, bits)) is not None]
    assert lengths == [2_002, 1_002]
