"""Recipes: which are allowed, and the exact child that each makes."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from learning.evolution.recipe import (
    INDEX_MAX,
    RECIPE_LENGTH_LIMIT,
    Recipe,
    RecipeError,
    child_of,
    in_canonical_order,
    no_change,
    rank_weights,
    recipe_scale,
)
from learning.evolution.schedule import StepSizeSchedule
from learning.exact import signs, stream_key
from learning.state import ModelState

KEY = stream_key(b"test")
SIGMA = StepSizeSchedule("0.03", "0.998", "0.003").at(10)
PARENT = ModelState(np.linspace(-1, 1, 333, dtype=np.float32), 10)


@pytest.mark.parametrize("length", range(1, RECIPE_LENGTH_LIMIT + 1))
def test_weights_are_positive_and_fall_and_fit_eight_bits(length: int) -> None:
    weights = rank_weights(length)
    assert weights == tuple(sorted(weights, reverse=True))
    assert (min(weights) >= 1, sum(weights) <= 255, len(weights)) == (True, True, length)


def test_weights_of_four_follow_the_logarithm() -> None:
    shares = [math.log(4.5) - math.log(rank) for rank in (1, 2, 3, 4)]
    assert rank_weights(4) == tuple(1 + int(251 * share / sum(shares)) for share in shares) == (134, 72, 36, 11)


def test_a_single_mutation_is_the_published_child() -> None:
    child = child_of(PARENT, KEY, Recipe((77,)), SIGMA)
    expected = PARENT.parameters + SIGMA * signs(KEY, 77, 333).astype(np.float32)
    assert (child.parameters.tobytes(), child.height) == (expected.tobytes(), 11)


@settings(max_examples=30)
@given(indices=st.lists(st.integers(0, INDEX_MAX - 1), min_size=1, max_size=RECIPE_LENGTH_LIMIT, unique=True))
def test_a_child_is_the_exact_sum_rounded_once(indices: list[int]) -> None:
    indices = list(in_canonical_order(tuple(indices)))
    child = child_of(PARENT, KEY, Recipe(tuple(indices)), SIGMA)
    weights = rank_weights(len(indices))
    total = sum(weight * int(signs(KEY, index, 333)[100]) for weight, index in zip(weights, indices, strict=True))
    exact = Fraction(float(PARENT.parameters[100])) + Fraction(float(recipe_scale(len(indices), float(SIGMA)))) * total
    error = abs(Fraction(float(child.parameters[100])) - exact)
    assert error <= Fraction(float(np.spacing(np.abs(child.parameters[100])))) / 2


@pytest.mark.parametrize("length", [2, 5, 32, 64])
def test_a_longer_recipe_steps_as_far_as_one_mutation(length: int) -> None:
    step = child_of(PARENT, KEY, Recipe(tuple(range(length))), SIGMA).parameters - PARENT.parameters
    assert float(np.linalg.norm(step)) == pytest.approx(float(SIGMA) * math.sqrt(333), rel=0.15)


@pytest.mark.parametrize(
    ("indices", "message"),
    [
        ((), "recipe has 0 indices, allowed 1..64"),
        (tuple(range(65)), "recipe has 65 indices, allowed 1..64"),
        ((5, -1), "index -1 in a recipe, allowed 0..4294967295"),
        ((INDEX_MAX,), "index 4294967296 in a recipe, allowed 0..4294967295"),
        ((3, 4, 3), "index 3 twice in a recipe, allowed once"),
        ((*range(30), 31, 30), "indices of equal weight in a recipe that do not ascend"),
    ],
)
def test_what_is_no_recipe_says_why(indices: tuple[int, ...], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        Recipe(indices)


@settings(max_examples=60)
@given(data=st.data(), length=st.integers(2, 10) | st.integers(22, RECIPE_LENGTH_LIMIT))
def test_no_child_has_two_recipes_of_the_same_indices(data: st.DataObject, length: int) -> None:
    """Of two orders, as far apart as one exchange: the children are equal where the recipes are, and only there."""
    ranked = data.draw(st.permutations(range(length)))
    one, other = data.draw(st.lists(st.integers(0, length - 1), min_size=2, max_size=2, unique=True))
    exchanged = list(ranked)
    exchanged[one], exchanged[other] = ranked[other], ranked[one]
    first, second = (Recipe(in_canonical_order(tuple(order))) for order in (ranked, exchanged))
    children = [child_of(PARENT, KEY, recipe, SIGMA).parameters.tobytes() for recipe in (first, second)]
    assert (children[0] == children[1]) == (first == second)


def test_no_change_is_the_same_model_one_step_higher() -> None:
    state = no_change(PARENT)
    assert (state.parameters.tobytes(), state.height) == (PARENT.parameters.tobytes(), 11)
