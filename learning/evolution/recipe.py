"""A recipe: which mutations of one author make a child, and the exact child that it makes.

child = theta + c * sigma * sum(w_i s_i), with integer rank weights w_i and c = 1/sqrt(sum w_i**2), so that its step has the
length of one mutation. A single mutation is the published (1,λ) child, theta + sigma * s (arXiv 2304.13540).

Section 3 of docs/protocol.md.
"""

from dataclasses import dataclass
from decimal import ROUND_FLOOR, Decimal
from functools import cache, lru_cache

import numpy as np

from learning.evolution.schedule import DECIMAL
from learning.exact import SUM_MAX, StreamKey, recombine, round_factor
from learning.state import ModelState

INDEX_MAX = 2**32
"""Indices lie below: 4 bytes each on the wire, and 36 hours of search at 33,000 candidates a second for one parent."""

RECIPE_LENGTH_LIMIT = 64
"""No network may allow more: beyond 64 of 256 nothing was gained when measured, and each costs every peer a noise vector."""


SCALES_KEPT = 1_024
"""By (length, sigma): the steps that a reorganisation could ask for again, each with a step size of its own."""


class RecipeError(ValueError):
    """Not a recipe: empty, too long, an index twice, out of range or out of order. The message names the field."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """Distinct mutation indices of one author, best first; those of equal weight ascend. Raises RecipeError.

    Indices of equal weight may change places without changing the child: in one order only, a child has one recipe.
    """

    indices: tuple[int, ...]

    def __post_init__(self) -> None:
        if not 1 <= len(self.indices) <= RECIPE_LENGTH_LIMIT:
            raise RecipeError(f"recipe has {len(self.indices)} indices, allowed 1..{RECIPE_LENGTH_LIMIT}")
        for index in self.indices:
            if not 0 <= index < INDEX_MAX:
                raise RecipeError(f"index {index} in a recipe, allowed 0..{INDEX_MAX - 1}")
        if len(set(self.indices)) != len(self.indices):
            raise RecipeError(f"index {first_repeated(self.indices)} twice in a recipe, allowed once")
        if self.indices != in_canonical_order(self.indices):
            raise RecipeError("indices of equal weight in a recipe that do not ascend")


def first_repeated(indices: tuple[int, ...]) -> int:
    """The first index that has come before."""
    return next(index for place, index in enumerate(indices) if index in indices[:place])


@cache
def rank_weights(length: int) -> tuple[int, ...]:
    """Integer weights by rank, best first, each at least 1, in sum at most 255; (1,) for a single mutation.

    Proportional to ln(length + 1/2) - ln(rank), as in CMA-ES (Hansen, "The CMA evolution strategy: a tutorial", eq. 49 with
    mu = length), before rounding down.
    """
    assert 1 <= length <= RECIPE_LENGTH_LIMIT, f"recipe length {length}"
    if length == 1:
        return (1,)
    top = DECIMAL.ln(DECIMAL.add(Decimal(length), Decimal("0.5")))
    shares = [DECIMAL.subtract(top, DECIMAL.ln(Decimal(rank))) for rank in range(1, length + 1)]
    total = Decimal(0)
    for share in shares:
        total = DECIMAL.add(total, share)
    return tuple(1 + _floor_of_share(share, total, SUM_MAX - length) for share in shares)


def in_canonical_order(ranked: tuple[int, ...]) -> tuple[int, ...]:
    """The indices, best first, those of equal weight ascending."""
    pairs = zip(rank_weights(len(ranked)), ranked, strict=True)
    return tuple(index for _, index in sorted((-weight, index) for weight, index in pairs))


def _floor_of_share(share: Decimal, total: Decimal, whole: int) -> int:
    return int(DECIMAL.divide(DECIMAL.multiply(share, Decimal(whole)), total).to_integral_value(ROUND_FLOOR))


@lru_cache(maxsize=SCALES_KEPT)
def recipe_scale(length: int, sigma: float) -> np.float32:
    """c * sigma to 16 significant bits; `sigma` itself for a single mutation."""
    squares = sum(weight * weight for weight in rank_weights(length))
    return round_factor(DECIMAL.divide(DECIMAL.create_decimal(sigma), DECIMAL.sqrt(Decimal(squares))))


def child_of(parent: ModelState, key: StreamKey, recipe: Recipe, sigma: np.float32) -> ModelState:
    """The state that the recipe makes out of `parent`, one step higher. `key`: its author's noise on this parent."""
    length = len(recipe.indices)
    scale = recipe_scale(length, float(sigma))
    child = recombine(parent.parameters, key, recipe.indices, rank_weights(length), scale)
    return ModelState(child, parent.height + 1)


def no_change(parent: ModelState) -> ModelState:
    """The state of a step without a recipe: the same model, one step higher."""
    return ModelState(parent.parameters, parent.height + 1)
