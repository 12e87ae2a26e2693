"""Inner products against python integers, and the table that remembers them."""

from fractions import Fraction

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from learning.aggregation.inner_products import CHUNK_VALUES, UNIT_EXPONENT, ProductTable, inner_units
from learning.aggregation.quantised import QuantisedGradient, inner, quantise
from learning.task import ParameterBlock
from tests.learning.gradient.tiny import gradient_of

numbers = st.floats(-(2.0**66), 2.0**66, width=32)
gradients = st.lists(numbers, min_size=3, max_size=3).map(gradient_of)


def exact_values(gradient: QuantisedGradient) -> list[Fraction]:
    values, found, first = gradient.values.tolist(), [], 0
    for size, exponent in zip(gradient.sizes, gradient.exponents, strict=True):
        found += [value * Fraction(2) ** exponent for value in values[first : first + size]]
        first += size
    return found


def slow_inner(first: QuantisedGradient, second: QuantisedGradient) -> Fraction:
    return sum((x * y for x, y in zip(exact_values(first), exact_values(second), strict=True)), Fraction(0))


@given(gradients, st.lists(gradients, min_size=1, max_size=5))
def test_products_are_those_of_python_integers(own: QuantisedGradient, others: list[QuantisedGradient]) -> None:
    found = [product * Fraction(2) ** UNIT_EXPONENT for product in inner_units(own, others)]
    assert found == [slow_inner(own, other) for other in others]


def test_products_of_several_chunks_and_both_widths_are_exact() -> None:
    layout = (ParameterBlock("a", (2 * CHUNK_VALUES + 5,), 1), ParameterBlock("b", (3,), 1))
    generator = np.random.default_rng(1)
    vectors = generator.standard_normal((3, 2 * CHUNK_VALUES + 8)).astype(np.float32)
    own, wide, narrow = (quantise(vector, layout, bits) for vector, bits in zip(vectors, (16, 16, 8), strict=True))
    assert own is not None
    assert wide is not None
    assert narrow is not None
    found = [product * Fraction(2) ** UNIT_EXPONENT for product in inner_units(own, [wide, narrow, own])]
    assert found == [inner(own, wide), inner(own, narrow), inner(own, own)]


@settings(max_examples=50)
@given(st.lists(gradients, min_size=4, max_size=8, unique_by=lambda gradient: gradient.digest), st.data())
def test_the_table_answers_as_a_new_one_whatever_was_asked_before_and_keeps_no_more_than_was_asked_last(
    known: list[QuantisedGradient], data: st.DataObject
) -> None:
    table = ProductTable()
    for _ in range(3):
        asked = data.draw(st.lists(st.sampled_from(known), min_size=1, max_size=5, unique_by=lambda gradient: gradient.digest))
        assert table.of(asked) == ProductTable().of(asked)
        assert {digest: len(row) for digest, row in table.rows.items()} == {gradient.digest: len(asked) for gradient in asked}
