"""What a learner's work costs: a clock that moves on with it, and a task that says how much there is of it."""

from collections.abc import Mapping
from dataclasses import dataclass

from learning.task import Float32Array, Float64Array, Int64Array, Task


@dataclass(slots=True)
class WorkClock:
    """The clock of one learner's process, which computes on a core of its own. Whoever has it work sets it to true time."""

    now_us: float = 0.0

    def __call__(self) -> float:
        """Seconds: what the learner measures durations with."""
        return self.now_us / 1_000_000

    def charge(self, cost_us: float) -> None:
        """It has worked so long."""
        self.now_us += cost_us


@dataclass(frozen=True, slots=True)
class WorkPrices:
    """Of a learner that has a core of its own, in microseconds."""

    sample_us: float
    """To measure one candidate on one sample, many together; noise and child included."""
    canonical_us: float
    """The same of one model alone, on the canonical path."""
    metrics_us: float
    """Of one model."""


class PricedTask:
    """A task whose work takes its time. Implements `learning.task.Task`."""

    def __init__(self, task: Task, prices: WorkPrices, clock: WorkClock) -> None:
        self.name, self.layout, self.data_digest = task.name, task.layout, task.data_digest
        self._task = task
        self._prices = prices
        self._clock = clock

    def draw_batch(self, seed: bytes) -> Int64Array:
        """The task's own."""
        return self._task.draw_batch(seed)

    def scores(self, candidates: Float32Array, batch: Int64Array) -> Float64Array:
        """The task's own."""
        self._clock.charge(self._prices.sample_us * len(candidates) * len(batch))
        return self._task.scores(candidates, batch)

    def fitness(self, parameters: Float32Array, batch: Int64Array) -> float:
        """The task's own."""
        self._clock.charge(self._prices.canonical_us * len(batch))
        return self._task.fitness(parameters, batch)

    def metrics(self, parameters: Float32Array) -> Mapping[str, float]:
        """The task's own."""
        self._clock.charge(self._prices.metrics_us)
        return self._task.metrics(parameters)
