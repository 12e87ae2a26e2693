"""Clip factors against their definition in fractions. Neighbours and mixed trimmed means against twins in fractions."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from learning.aggregation.nearest_neighbour_mixing import (
    CHUNK_VALUES,
    WHOLE,
    ClipFactor,
    clip_factors,
    farthest,
    mixed_trimmed_mean,
)
from learning.aggregation.quantised import QuantisedGradient, quantise
from learning.aggregation.robust import ProductTable
from learning.task import ParameterBlock
from tests.learning.aggregation.test_robust import exact_values
from tests.learning.gradient.tiny import gradient_of

norms = st.one_of(st.integers(0, 40), st.integers(0, 2**420), st.integers(0, 420).map(lambda power: 2**power))


def median_of(squared_norms: list[int]) -> int:
    return sorted(squared_norms)[(len(squared_norms) - 1) // 2]


@given(st.lists(norms, min_size=1, max_size=17))
def test_a_factor_is_the_largest_of_sixteen_bits_that_makes_no_vector_longer_than_the_median_one(squared: list[int]) -> None:
    median = median_of(squared)
    for own, factor in zip(squared, clip_factors(squared), strict=True):
        if own <= median:
            assert factor == WHOLE
            continue
        exact, step = Fraction(factor.mantissa, 2**factor.shift), Fraction(1, 2**factor.shift)
        is_below_all_factors = Fraction(median, own) < Fraction(1, 2**168)
        assert exact**2 * own <= median
        assert factor.mantissa < 2**16
        assert is_below_all_factors or factor.mantissa >= 2**15
        assert is_below_all_factors or (exact + step) ** 2 * own > median


def test_the_median_of_an_even_number_is_the_lower_one() -> None:
    assert clip_factors([4, 1, 16, 1]) == [ClipFactor(2**15, 16), WHOLE, ClipFactor(2**15, 17), WHOLE]


def test_beside_a_median_of_zero_all_others_count_nothing() -> None:
    assert [factor.value for factor in clip_factors([0, 9, 0, 2**400])] == [1, 0, 1, 0]


def test_a_factor_below_the_least_that_float32_holds_safely_is_zero() -> None:
    assert clip_factors([1, 2**210, 1]) == [WHOLE, ClipFactor(0, 0), WHOLE]


small = st.lists(st.integers(-3, 3), min_size=3, max_size=3).map(gradient_of)
large = st.lists(st.floats(-(2.0**76), 2.0**76, width=32), min_size=3, max_size=3).map(gradient_of)
crowds = st.lists(st.one_of(small, large), min_size=3, max_size=9)


def clipped_by(gradients: list[QuantisedGradient]) -> tuple[list[list[int]], list[ClipFactor]]:
    products = ProductTable().of(gradients)
    return products, clip_factors([products[place][place] for place in range(len(gradients))])


def clipped_values(gradient: QuantisedGradient, factor: ClipFactor) -> list[Fraction]:
    return [Fraction(factor.mantissa, 2**factor.shift) * value for value in exact_values(gradient)]


def slow_farthest(vectors: list[list[Fraction]], count: int) -> list[tuple[int, ...]]:
    found = []
    for own, vector in enumerate(vectors):
        far = [
            (sum((x - y) ** 2 for x, y in zip(vector, other, strict=True)), place)
            for place, other in enumerate(vectors)
            if place != own
        ]
        found.append(tuple(sorted(place for _, place in sorted(far)[len(far) - count :])))
    return found


def one_each(left_out: list[tuple[int, ...]]) -> list[tuple[tuple[int, int], ...]]:
    return [tuple((position, 1) for position in positions) for positions in left_out]


def slow_mean(vectors: list[list[Fraction]], left_out: list[tuple[int, ...]], trimmed: int) -> list[Fraction]:
    mixed = []
    for positions in left_out:
        near = [vector for place, vector in enumerate(vectors) if place not in positions]
        mixed.append([sum(column, Fraction(0)) / len(near) for column in zip(*near, strict=True)])
    columns = [sorted(column)[trimmed : len(column) - trimmed] for column in zip(*mixed, strict=True)]
    return [sum(column, Fraction(0)) / len(column) for column in columns]


@given(crowds)
def test_the_farthest_are_those_of_exact_distances(gradients: list[QuantisedGradient]) -> None:
    products, factors = clipped_by(gradients)
    vectors = [clipped_values(gradient, factor) for gradient, factor in zip(gradients, factors, strict=True)]
    for count in range((len(gradients) + 2) // 3):
        assert farthest(products, factors, [1] * len(vectors), count) == one_each(slow_farthest(vectors, count))


def test_of_equal_distances_the_later_counts_as_farther() -> None:
    products, _ = clipped_by([gradient_of(values) for values in ([0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1])])
    assert farthest(products, [ClipFactor(1, 0)] * 4, [1] * 4, 1) == one_each([(3,), (3,), (3,), (2,)])
    assert farthest(products, [ClipFactor(1, 0)] * 4, [5, 1, 1, 2], 3) == [
        ((2, 1), (3, 2)),
        ((2, 1), (3, 2)),
        ((1, 1), (3, 2)),
        ((0, 1), (1, 1), (2, 1)),
    ]


@given(crowds)
def test_the_mean_is_that_of_fractions_but_for_float32_rounding(gradients: list[QuantisedGradient]) -> None:
    trimmed = (len(gradients) - 1) // 3
    _, factors = clipped_by(gradients)
    vectors = [clipped_values(gradient, factor) for gradient, factor in zip(gradients, factors, strict=True)]
    left_out = slow_farthest(vectors, trimmed)
    found = mixed_trimmed_mean(gradients, factors, [1] * len(gradients), one_each(left_out), trimmed)
    largest = float(max(abs(value) for vector in vectors for value in vector))
    expected = [float(value) for value in slow_mean(vectors, left_out, trimmed)]
    assert found.tolist() == pytest.approx(expected, rel=0, abs=1e-5 * largest + 1e-37)


def test_each_coordinate_is_computed_alone_whatever_chunk_it_lies_in() -> None:
    size = CHUNK_VALUES + 1_000
    layout = (ParameterBlock("a", (7,), 1), ParameterBlock("b", (size - 7,), 1))
    vectors = np.random.default_rng(2).standard_normal((5, size)).astype(np.float32)
    gradients = [gradient for vector in vectors if (gradient := quantise(vector, layout, 16)) is not None]
    _, factors = clipped_by(gradients)
    left_out = [(1,), (2,), (0,), (4,), (3,)]
    dense = np.stack([gradient.dense() * factor.value for gradient, factor in zip(gradients, factors, strict=True)])
    mixed = (dense.sum(axis=0) - dense[[1, 2, 0, 4, 3]]) / 4
    expected = np.sort(mixed, axis=0)[1:4].mean(axis=0)
    found = mixed_trimmed_mean(gradients, factors, [1] * 5, one_each(left_out), 1)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)


@pytest.mark.slow
@given(crowds, st.data())
def test_voices_count_like_so_many_equal_vectors(gradients: list[QuantisedGradient], data: st.DataObject) -> None:
    voices = data.draw(st.lists(st.integers(1, 5), min_size=len(gradients), max_size=len(gradients)))
    trimmed = data.draw(st.integers(0, (sum(voices) - 1) // 3))
    products = ProductTable().of(gradients)
    factors = clip_factors([products[place][place] for place in range(len(gradients))], voices)
    repeated = [place for place, count in enumerate(voices) for _ in range(count)]
    vectors = [clipped_values(gradients[place], factors[place]) for place in repeated]
    found = mixed_trimmed_mean(gradients, factors, voices, farthest(products, factors, voices, trimmed), trimmed)
    largest = float(max(abs(value) for vector in vectors for value in vector))
    expected = [float(value) for value in slow_mean(vectors, slow_farthest(vectors, trimmed), trimmed)]
    assert found.tolist() == pytest.approx(expected, rel=0, abs=1e-5 * largest + 1e-37)
