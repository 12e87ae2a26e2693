"""Kardam's filter with a quantile in place of the exact order statistic: letting a liar in is seen, and so is rounding."""

from collections.abc import Callable, Iterable
from fractions import Fraction

import numpy as np
import pytest

from learning.aggregation.kardam import Kardam
from learning.aggregation.rule import GradientOutcome
from tests.learning.aggregation.test_kardam import LEARNING_RATE, SlowKardam
from tests.learning.gradient.tiny import PARAMETERS, Network, group_of


def interpolated(method: str) -> Callable[[Iterable[Fraction], int], Fraction | None]:
    """In place of the order statistic: a quantile in floats."""

    def quantile(finite: Iterable[Fraction], rank: int) -> Fraction | None:
        table = sorted(finite)
        if rank > len(table):
            return None
        floats = np.array([float(entry) for entry in table])
        return Fraction(float(np.quantile(floats, rank / len(table), method=method)))

    return quantile


def lone_steps_of_a_steep_liar(deliveries: int = 120) -> int:
    """How often one of four, whose gradients turn faster than any honest one's, moves the model by itself."""
    net = Network(Kardam(frequency=False), group_of(4), learning_rate=0.03)
    generator = np.random.Generator(np.random.Philox(key=5))
    alone = 0
    for turn in range(deliveries):
        place = turn % 4
        honest = net.ledger.parameters + 0.1 * generator.standard_normal(PARAMETERS)
        judged = net.deliver(place, (honest if place else 100.0 * (-1) ** (turn // 4) * honest).tolist())
        alone += place == 0 and judged.outcome is GradientOutcome.APPLIED and len(judged.weights) == 1
    return alone


def first_ruling_that_differs(deliveries: int = 200) -> int | None:
    """From those of a twin that works in fractions, with every worker honest."""
    group = group_of(4)
    net = Network(Kardam(), group, staleness_max=3, learning_rate=LEARNING_RATE)
    twin = SlowKardam(Kardam(), 4, group.faulty_max, net.ledger.parameters.tolist(), 3)
    generator = np.random.Generator(np.random.Philox(key=6))
    for turn in range(deliveries):
        vector = tuple(int(value) for value in generator.integers(-4, 5, PARAMETERS))
        place, base = int(generator.integers(4)), net.ledger.version
        if net.deliver(place, vector, base).outcome != twin.deliver(place, vector, base):
            return turn
    return None


def test_the_exact_filter_lets_no_steep_liar_in_and_rules_like_its_twin() -> None:
    assert lone_steps_of_a_steep_liar() == 0
    assert first_ruling_that_differs() is None


def test_a_quantile_that_is_rounded_up_lets_one_liar_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("learning.aggregation.kardam.order_statistic", interpolated("higher"))
    assert lone_steps_of_a_steep_liar() > 10


def test_an_interpolated_quantile_rules_otherwise_than_fractions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("learning.aggregation.kardam.order_statistic", interpolated("linear"))
    assert first_ruling_that_differs() is not None
