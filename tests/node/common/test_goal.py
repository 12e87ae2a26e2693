import math

import pytest

from node.common.goal import MetricGoal, parse_goal


@pytest.mark.parametrize(
    ("text", "goal"),
    [
        ("fitness>=-20", MetricGoal("fitness", -20.0)),
        ("test_loss <= 0.3", MetricGoal("test_loss", 0.3, is_lowest_best=True)),
        (" mean_return>=4.75e2 ", MetricGoal("mean_return", 475.0)),
    ],
)
def test_a_goal_is_read_as_people_write_it(text: str, goal: MetricGoal) -> None:
    assert parse_goal(text) == goal == parse_goal(str(goal))


@pytest.mark.parametrize("text", ["", "fitness", "fitness>1", "fitness=>1", ">=1", "fitness>=high", "fitness>=nan", "a-b>=1"])
def test_what_is_no_goal_is_told_with_what_is_allowed(text: str) -> None:
    with pytest.raises(ValueError, match="allowed is METRIC>=VALUE or METRIC<=VALUE"):
        parse_goal(text)


def test_a_goal_is_reached_on_its_side_alone() -> None:
    least, most = MetricGoal("fitness", 1.0), MetricGoal("test_loss", 0.3, is_lowest_best=True)
    assert [least.is_reached({"fitness": value}) for value in (0.9, 1.0, math.nan)] == [False, True, False]
    assert [most.is_reached({"test_loss": value}) for value in (0.3, 0.4, math.nan)] == [True, False, False]
    assert not least.is_reached({})
