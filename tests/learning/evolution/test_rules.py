"""Rules out of range name the field."""

from dataclasses import replace

import pytest

from learning.evolution.rules import UNLIMITED, EvolutionRules

RULES = EvolutionRules(64, 1, "0.03", "0.998", "0.003", 20, 0)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("offspring", 0, "offspring is 0, allowed 1..1048576"),
        ("recipe_length_max", 65, "recipe_length_max is 65, allowed 1..64"),
        ("fitness_tolerance", -1, "fitness_tolerance is -1, allowed 0.."),
        ("regression_allowed", -2, "regression_allowed is -2, allowed -1.."),
        ("step_size", "much", "step_size is 'much'"),
    ],
)
def test_a_rule_out_of_range_names_the_field(field: str, value: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(RULES, **{field: value})  # type: ignore[arg-type]  # the field is the parameter of the test


@pytest.mark.parametrize(
    ("allowed", "child", "expected"),
    [(0, 100, True), (0, 99, False), (5, 95, True), (5, 94, False), (UNLIMITED, -(2**60), True)],
)
def test_a_child_may_lie_below_its_parent_by_what_is_allowed(allowed: int, child: int, expected: bool) -> None:
    assert replace(RULES, regression_allowed=allowed).may_follow(child, 100) is expected
