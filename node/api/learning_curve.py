"""How the figures of the models that a peer has adopted have changed since its start."""

import math
from collections.abc import Mapping

from node.common.goal import FITNESS
from node.common.sparkline import sampled

POINTS_MAX = 512
"""Of a longer run every other one is forgotten, again and again: about 100 kB for a task with five figures."""


class LearningCurve:
    """Points at rising heights, far fewer than there were models once a run is long."""

    def __init__(self) -> None:
        self._points: list[Mapping[str, float]] = []
        self._height = -1
        self._stride, self._left_out = 1, 0

    def note(self, height: int, fitness: float, metrics: Mapping[str, float]) -> None:
        """A model that was adopted; one that is no higher than all before it, as after a reorganisation, is left out."""
        if height <= self._height:
            return
        self._height = height
        self._left_out += 1
        if self._left_out < self._stride and self._points:
            return
        self._left_out = 0
        self._points.append({FITNESS: fitness, **metrics})
        if len(self._points) > POINTS_MAX:
            del self._points[1::2]
            self._stride *= 2

    @property
    def figures(self) -> dict[str, tuple[float, ...]]:
        """Of each figure some values from the start until now, oldest first: as many as `sampled` leaves."""
        names = sorted({name for point in self._points for name in point})
        found = {name: [point[name] for point in self._points if name in point] for name in names}
        return {name: sampled([value for value in values if math.isfinite(value)]) for name, values in found.items()}
