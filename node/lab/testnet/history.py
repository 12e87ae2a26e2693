"""How the agreed model has become better: kept while a testnet runs, for a sparkline on the screen and a plot in the end."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from node.common.errors import NodeError, disk_error
from node.common.goal import FITNESS, MetricGoal
from node.common.sparkline import sparkline
from node.common.wording import goal_bound, is_share, metric_name
from node.lab.studies.plots import Level, Line, Panel, panel_plot

POINTS_MAX = 4_096
"""Of a longer run every other one is kept, again and again: more than a plot is wide in dots."""


@dataclass(frozen=True, slots=True)
class Point:
    """The agreed model at a time since the start. `figures`: its fitness and the task's metrics."""

    seconds: float
    height: int
    figures: Mapping[str, float]


def check_plot_file(file: Path) -> None:
    """Raises NodeError where nothing could be drawn into this file: before the run, not after it."""
    if file.suffix.lower() != ".svg":
        raise NodeError(f"--plot {file}: the plot is an SVG document", "name a file that ends in .svg")
    if not file.parent.is_dir():
        raise NodeError(f"--plot {file}: there is no folder {file.parent}", "make it, or name another file")
    if file.exists():
        raise NodeError(f"--plot {file}: the file exists", "name another one, or remove it")


class GoalHistory:
    """Of one testnet."""

    def __init__(self, goal: MetricGoal) -> None:
        self.points: list[Point] = []
        self._goal = goal

    def note(self, point: Point) -> None:
        """Where it is higher than all before."""
        if self.points and point.height <= self.points[-1].height:
            return
        self.points.append(point)
        if len(self.points) > POINTS_MAX:
            del self.points[1::2]

    @property
    def sparklines(self) -> tuple[str, ...]:
        """The fitness, and what is to be reached, each with its name."""
        names = dict.fromkeys((FITNESS, self._goal.metric))
        return tuple(f"{name} {spark}" for name in names if (spark := sparkline(self._values(name))))

    def _values(self, name: str) -> list[float]:
        return [point.figures[name] for point in self.points if name in point.figures]

    def plot(self, file: Path, title: str) -> None:
        """What is to be reached, over time and over the model's height. Raises NodeError where it cannot be written."""
        goal = self._goal
        name, level = metric_name(goal.metric), Level(goal.value, f"goal: {goal_bound(goal)}")
        found = [(point.seconds, float(point.height), point.figures[goal.metric]) for point in self._told()]
        over_time = Line(name, tuple((seconds, value) for seconds, _, value in found))
        over_height = Line(name, tuple((height, value) for _, height, value in found))
        panels = (
            Panel("over time", "seconds since the start", name, (over_time,), level, is_share(goal.metric)),
            Panel("over generations", "height of the agreed model", name, (over_height,), level, is_share(goal.metric)),
        )
        try:
            file.write_text(panel_plot(panels, title), encoding="utf-8")
        except OSError as error:
            raise disk_error("write the plot", file, error) from error

    def _told(self) -> list[Point]:
        return [point for point in self.points if self._goal.metric in point.figures]

    @property
    def can_be_drawn(self) -> bool:
        """Whether what is to be reached was ever told."""
        return bool(self._told())
