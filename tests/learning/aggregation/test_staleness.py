"""The weights of stale gradients against fractions, and what no ambient setting may change."""

from decimal import Decimal, localcontext
from fractions import Fraction

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from learning.aggregation.staleness import Dampening, dampening_weight

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
