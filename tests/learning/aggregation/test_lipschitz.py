"""The Lipschitz coefficient against fractions, with its written rules for what has no quotient."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from learning.aggregation.lipschitz import TURN_CHUNK, order_statistic, squared_coefficient, squared_model_distance
from learning.aggregation.rule import ArrivedGradient, WorkerSlot
from learning.task import Float32Array
from tests.learning.gradient.tiny import gradient_of, vector_of, worker

ALICE = worker(0)
OLD, NEW = (1.0, 2.0, 3.0), (1.0, 0.0, 4.0)
values = st.floats(width=32, allow_nan=False, allow_infinity=False)
small = st.integers(-50, 50)


class Models:
    """The window, from version 1 on: implements `PastModels`."""

    def __init__(self, *models: tuple[float, ...]) -> None:
        self._models = {version: vector_of(model) for version, model in enumerate(models, start=1)}

    def model(self, version: int) -> Float32Array | None:
        return self._models.get(version)


def coefficient(
    previous: tuple[int, tuple[float, ...]] | None,
    present: tuple[int, tuple[float, ...]],
    *models: tuple[float, ...],
    known: Fraction | None = None,
) -> Fraction | None:
    """Of a worker's (base, vector) after another."""
    slot = None if previous is None else WorkerSlot(ALICE, previous[0], gradient_of(previous[1]), coefficient=known)
    return squared_coefficient(slot, ArrivedGradient(ALICE, present[0], 9, gradient_of(present[1])), Models(*models))


@settings(max_examples=80, deadline=None)
@given(*[st.tuples(small, small, small) for _ in range(4)])
def test_it_is_the_growth_of_the_gradient_over_that_of_the_model_squared(
    first: tuple[int, ...], second: tuple[int, ...], start: tuple[int, ...], end: tuple[int, ...]
) -> None:
    growth = sum((one - other) ** 2 for one, other in zip(first, second, strict=True))
    turn = sum((one - other) ** 2 for one, other in zip(start, end, strict=True))
    expected = Fraction(growth, turn) if turn else (Fraction(7) if growth == 0 else None)
    assert coefficient((1, first), (2, second), start, end, known=Fraction(7)) == expected


def test_a_first_gradient_has_none() -> None:
    assert coefficient(None, (1, OLD), NEW) is None


def test_a_previous_gradient_on_a_forgotten_model_counts_as_none() -> None:
    assert coefficient((0, OLD), (1, NEW), NEW) is None


@pytest.mark.parametrize("bases", [(1, 1), (1, 2)])
def test_on_equal_models_another_vector_has_none_and_the_same_keeps_what_it_had(bases: tuple[int, int]) -> None:
    first, second = bases
    assert coefficient((first, OLD), (second, NEW), OLD, OLD, known=Fraction(3)) is None
    assert coefficient((first, OLD), (second, OLD), OLD, OLD, known=Fraction(3)) == 3
    assert coefficient((first, OLD), (second, OLD), OLD, OLD) is None


def test_the_same_vector_on_another_model_has_the_coefficient_0() -> None:
    assert coefficient((1, OLD), (2, OLD), OLD, NEW) == 0


@pytest.mark.slow
@settings(max_examples=200, deadline=None)
@given(pairs=st.lists(st.tuples(values, values), min_size=1, max_size=9))
def test_a_distance_of_models_is_the_exact_one_but_for_rounding_and_0_only_for_equal_ones(
    pairs: list[tuple[float, float]],
) -> None:
    first, second = (np.array(column, dtype=np.float32) for column in zip(*pairs, strict=True))
    distance = squared_model_distance(first, second)
    exact = sum((Fraction(float(a)) - Fraction(float(b))) ** 2 for a, b in zip(first, second, strict=True))
    assert abs(distance - exact) <= exact * Fraction(20, 2**53)
    assert (distance == 0) == np.array_equal(first, second)


def test_the_smallest_and_the_largest_distances_are_numbers() -> None:
    largest = np.full(3, np.finfo(np.float32).max)
    least = np.array([0, 0, 1e-45], dtype=np.float32)
    assert squared_model_distance(least, np.zeros(3, dtype=np.float32)) == Fraction(1, 2**298)
    assert squared_model_distance(largest, -largest) > 2**256


def test_a_distance_adds_up_by_halves_in_each_chunk_and_over_the_chunks() -> None:
    size = 2 * TURN_CHUNK + 3
    first = np.random.Generator(np.random.Philox(key=3)).standard_normal(size, dtype=np.float32)
    squares = [float(value) ** 2 for value in first]

    def halved(parts: list[float]) -> float:
        padded = parts + [0.0] * ((1 << (len(parts) - 1).bit_length()) - len(parts))
        while len(padded) > 1:
            half = len(padded) // 2
            padded = [one + other for one, other in zip(padded[:half], padded[half:], strict=True)]
        return padded[0]

    expected = halved([halved(squares[start : start + TURN_CHUNK]) for start in range(0, size, TURN_CHUNK)])
    assert squared_model_distance(first, np.zeros(size, dtype=np.float32)) == Fraction(expected)


@given(table=st.lists(st.one_of(st.none(), st.fractions(0, 9)), min_size=1, max_size=20), data=st.data())
def test_the_order_statistic_is_that_entry_of_the_whole_sorted_table(table: list[Fraction | None], data: st.DataObject) -> None:
    rank = data.draw(st.integers(1, len(table)))
    whole = sorted(math.inf if entry is None else entry for entry in table)
    found = order_statistic((entry for entry in table if entry is not None), rank)
    assert (math.inf if found is None else found) == whole[rank - 1]
