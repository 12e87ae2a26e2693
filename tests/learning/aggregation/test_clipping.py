"""Clip factors against their definition in fractions."""

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from learning.aggregation.clipping import WHOLE, ClipFactor, clip_factors

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
