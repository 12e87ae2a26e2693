"""The weights of stale gradients against fractions, and what no ambient setting may change.

The rule that needs scores: known by name, and by gradients alone it moves nothing.
The two rules that defend against nobody: each gradient is a step.
"""

from decimal import Decimal, localcontext
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from learning.aggregation.catalogue import RULES, needs_scores, rule_named
from learning.aggregation.rule import AggregationRule, GradientOutcome
from learning.aggregation.single_steps import Dampened, Dampening, Mean, Scored, dampening_weight
from tests.learning.gradient.tiny import Network, group_of

alphas = st.decimals(min_value=Decimal("0.0001"), max_value=Decimal(100), places=4).map(lambda alpha: f"{alpha:f}")
stalenesses = st.integers(min_value=0, max_value=10_000)


def nearest_of_16_bits(exact: Fraction) -> float:
    """The value of at most 16 significant bits that is nearest, half to even."""
    exponent = 0
    while exact * Fraction(2) ** exponent < 2**15:
        exponent += 1
    return float(round(exact * 2**exponent) / Fraction(2) ** exponent)


def exponential(exact: Fraction) -> Fraction:
    """exp(-exact) by its power series at a small argument, then by squaring; good to far more than 16 bits."""
    halvings = 0
    while exact > Fraction(1, 4):
        exact, halvings = exact / 2, halvings + 1
    total, term = Fraction(1), Fraction(1)
    for order in range(1, 40):
        term = -term * exact / order
        total += term
    scale = 2**400
    total = Fraction(round(total * scale), scale)
    for _ in range(halvings):
        total = Fraction(round(total * total * scale), scale)
    return total


@given(alpha=alphas, staleness=stalenesses)
def test_without_dampening_every_gradient_weighs_one(alpha: str, staleness: int) -> None:
    assert dampening_weight(Dampening.NONE, alpha, staleness) == np.float32(1)


@given(alpha=alphas, staleness=stalenesses)
def test_inverse_is_one_over_one_plus_staleness_rounded_once(alpha: str, staleness: int) -> None:
    assert dampening_weight(Dampening.INVERSE, alpha, staleness) == nearest_of_16_bits(Fraction(1, 1 + staleness))


@settings(max_examples=60, deadline=None)
@given(alpha=alphas, staleness=stalenesses)
def test_exponential_is_rounded_once_and_0_below_what_a_model_could_tell(alpha: str, staleness: int) -> None:
    exact = exponential(min(Fraction(alpha) * staleness, Fraction(200)))
    expected = nearest_of_16_bits(exact) if exact >= Fraction(1, 2**100) else 0.0
    assert float(dampening_weight(Dampening.EXPONENTIAL, alpha, staleness)) == expected


def test_nobodys_decimal_context_changes_a_weight() -> None:
    usual = [dampening_weight.__wrapped__(kind, "0.2", 7) for kind in Dampening]
    with localcontext() as context:
        context.prec = 2
        assert [dampening_weight.__wrapped__(kind, "0.2", 7) for kind in Dampening] == usual


def test_scored_alone_needs_scores() -> None:
    assert [name for name in RULES if needs_scores(name)] == ["scored"]
    assert rule_named("scored") == Scored()


def test_gradients_alone_move_nothing() -> None:
    network = Network(Scored(), group_of(4))
    outcomes = [network.deliver(place, [1, 2, 3]).outcome for place in range(4)]
    assert (outcomes, network.ledger.version) == ([GradientOutcome.COLLECTED] * 4, 0)


@pytest.mark.parametrize(
    ("rule", "weight"),
    [
        (Mean(), 1.0),
        (Dampened(Dampening.NONE), 1.0),
        (Dampened(), 0.25),
        (Dampened(Dampening.EXPONENTIAL, "0.2"), 35967 / 65536),
    ],
)
def test_a_gradient_three_versions_old_moves_the_model_by_its_weight(rule: AggregationRule, weight: float) -> None:
    net = Network(rule, group_of(4), learning_rate=1.0)
    late = net.delivered(net.group.workers[0], (4.0, -4.0, 0.0))
    for _ in range(3):
        net.deliver(1, (0.0, 0.0, 0.0))
    before = net.ledger.parameters.copy()
    judged = net.advance(late)
    assert (judged.outcome, judged.staleness, judged.weights) == (GradientOutcome.APPLIED, 3, ((net.group.workers[0], weight),))
    assert (before - net.ledger.parameters).tolist() == [4 * weight, -4 * weight, 0.0]
