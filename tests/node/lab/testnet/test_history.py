from pathlib import Path
from xml.etree import ElementTree

import pytest

from node.common.errors import NodeError
from node.common.goal import MetricGoal
from node.lab.testnet.history import POINTS_MAX, GoalHistory, Point


def learned(*values: float) -> GoalHistory:
    history = GoalHistory(MetricGoal("test_accuracy", 0.9))
    for height, value in enumerate(values):
        history.note(Point(0.5 * height, height, {"fitness": value - 1, "test_accuracy": value}))
    return history


def test_only_what_is_higher_is_noted() -> None:
    history = learned(0.1, 0.9)
    history.note(Point(9.0, 1, {"fitness": 5.0}))
    assert [point.height for point in history.points] == [0, 1]
    assert history.sparklines == ("fitness ▁█", "test_accuracy ▁█")


def test_a_figure_that_nobody_tells_has_no_curve() -> None:
    history = GoalHistory(MetricGoal("test_accuracy", 0.9))
    history.note(Point(0.0, 0, {"fitness": -2.0}))
    history.note(Point(0.5, 1, {"fitness": -1.0}))
    assert history.sparklines == ("fitness ▁█",)
    assert not history.can_be_drawn


def test_of_a_very_long_run_every_other_point_is_kept() -> None:
    history = learned(*range(POINTS_MAX + 1))
    assert len(history.points) == POINTS_MAX // 2 + 1
    assert history.points[-1].height == POINTS_MAX


def test_the_plot_is_over_time_and_over_generations(tmp_path: Path) -> None:
    file = tmp_path / "run.svg"
    learned(0.1, 0.6, 0.9).plot(file, "digits by evolution over total-order: 4 peers")
    texts = {element.text for element in ElementTree.parse(file).iter("{http://www.w3.org/2000/svg}text")}
    assert {"over time", "over generations", "test accuracy", "seconds since the start"} <= texts
    assert {"digits by evolution over total-order: 4 peers", "goal: 90.0 % or more", "0 %", "20 %", "100 %"} <= texts


def test_a_plot_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    with pytest.raises(NodeError, match="cannot write the plot"):
        learned(0.1, 0.9).plot(tmp_path / "none" / "run.svg", "digits")
