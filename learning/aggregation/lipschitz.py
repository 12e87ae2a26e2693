"""Kardam's empirical Lipschitz coefficient of a worker, squared and exact, and the order statistic that bounds it.

Damaskinos, El Mhamdi, Guerraoui, Patra, Taziki, "Asynchronous Byzantine Machine Learning (the case of SGD)", ICML 2018,
arXiv 1802.07928, section 3.1. A coefficient of None is infinite.
"""

from collections.abc import Iterable
from fractions import Fraction

import numpy as np

from learning.aggregation.quantised import squared_distance
from learning.aggregation.rule import ArrivedGradient, PastModels, WorkerSlot
from learning.exact import tree_sum
from learning.task import Float32Array

TURN_CHUNK = 1 << 15
"""Parameters at once: 256 KiB in float64, which stays in cache. Part of the rule: it sets the order of the sum."""


def squared_coefficient(previous: WorkerSlot | None, arrival: ArrivedGradient, past: PastModels) -> Fraction | None:
    """K_p**2 = |g - g_previous|**2 / |theta_base - theta_previous_base|**2, over p's own consecutive delivered gradients.

    Infinite without a previous one, or when its model is no longer in the window. On equal models: infinite when the vectors
    differ, and what it was before when they are the same, so that nobody passes by sending the same thing twice.
    """
    if previous is None:
        return None
    turn = _squared_turn(previous.base, arrival.base, past)
    if turn is None:
        return None
    growth = squared_distance(arrival.gradient, previous.gradient)
    if turn == 0:
        return previous.coefficient if growth == 0 else None
    return growth / turn


def _squared_turn(first: int, second: int, past: PastModels) -> Fraction | None:
    if first == second:
        return Fraction(0)
    start, end = past.model(first), past.model(second)
    return None if start is None or end is None else squared_model_distance(start, end)


def squared_model_distance(first: Float32Array, second: Float32Array) -> Fraction:
    """|first - second|**2 of two float32 models, as float64 gives it in one fixed order; 0 only where they are equal.

    Differences and squares in float64, `tree_sum` over each chunk and over the chunks. The square of the smallest difference
    of two float32 values, 2**-149, is a normal float64, and the sum of the largest stays finite.
    """
    sums = []
    for start in range(0, len(first), TURN_CHUNK):
        difference = first[start : start + TURN_CHUNK].astype(np.float64) - second[start : start + TURN_CHUNK]
        sums.append(tree_sum(difference * difference))
    return Fraction(tree_sum(np.array(sums, dtype=np.float64)))


def order_statistic(finite: Iterable[Fraction], rank: int) -> Fraction | None:
    """The rank-th smallest (from 1) of a table whose other entries are infinite; exact, never interpolated."""
    ascending = sorted(finite)
    return ascending[rank - 1] if rank <= len(ascending) else None
