"""Rules out of range name the field."""

import msgspec
import pytest
from msgspec import structs

from learning.evolution.rules import UNLIMITED, EvolutionRules
from learning.evolution.schedule import ScheduleError

RULES = EvolutionRules(64, 1, "0.03", "0.998", "0.003", 20, 0)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("offspring", 1),
        ("recipe_length_max", 33),
        ("fitness_tolerance", -1),
        ("regression_allowed", -2),
        ("step_size", "much"),
        ("step_size_factor", "0.1234567890123"),
    ],
)
def test_a_rule_that_is_read_has_its_range(field: str, value: object) -> None:
    with pytest.raises(msgspec.ValidationError, match=rf"`\$\.{field}`"):
        msgspec.convert({field: value}, EvolutionRules)


def test_step_sizes_that_are_no_schedule_are_told() -> None:
    with pytest.raises(ScheduleError, match=r'step_size_floor is "0.04"; allowed is 0.000000000001 to 0.03'):
        structs.replace(RULES, step_size_floor="0.04")


@pytest.mark.parametrize(
    ("allowed", "child", "expected"),
    [(0, 100, True), (0, 99, False), (5, 95, True), (5, 94, False), (UNLIMITED, -(2**60), True)],
)
def test_a_child_may_lie_below_its_parent_by_what_is_allowed(allowed: int, child: int, expected: bool) -> None:
    assert structs.replace(RULES, regression_allowed=allowed).may_follow(child, 100) is expected
