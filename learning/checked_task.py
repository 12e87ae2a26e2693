"""The one way from learning into a user's task: a fault is told once and counted, and what could not be measured is the worst.

Nothing here raises for what a task does: a search, a slate, a check of somebody's claim go on with the next candidate.
"""

from collections import deque
from collections.abc import Mapping

import numpy as np

from learning.asked_task import FITNESS_RANGE, AskedTask, FaultKind, TaskFaultError
from learning.task import DifferentiableTask, Float32Array, Float64Array, Int64Array, Minibatch, Task

LATE_MAX = 2
"""So many candidates of one batch may each take all the time that one has; the rest is then given up, since requests wait."""

UNTOLD_MAX = 64
"""A line for each method and kind of fault, of which there are fewer."""


class TaskFaults:
    """What a task has done wrong: the first fault of each method and kind in words, all of them as a number."""

    def __init__(self) -> None:
        self.count = 0
        """Measurements, batches, figures and gradients that came to nothing."""
        self._known: set[tuple[str, FaultKind]] = set()
        self._untold: deque[str] = deque(maxlen=UNTOLD_MAX)

    def add(self, error: TaskFaultError, times: int = 1) -> None:
        """Count it, and note it where it is the first of its kind."""
        self.count += times
        key = (error.fault.method, error.fault.kind)
        if key not in self._known:
            self._known.add(key)
            self._untold.append(str(error))

    def take_untold(self) -> tuple[str, ...]:
        """The lines that nobody was told yet."""
        lines = tuple(self._untold)
        self._untold.clear()
        return lines


class CheckedTask:
    """A task that always answers, with the promised shapes and types. Implements `Task`.

    What could not be measured has the fitness minus infinity: the worst. Without a batch nothing can be measured.
    """

    def __init__(self, task: Task, faults: TaskFaults | None = None) -> None:
        """Raises TaskFaultError where the task cannot even tell its name, its layout or its digest."""
        self.asked = AskedTask(task)
        """For who wants to hear of a fault."""
        self.faults = faults or TaskFaults()
        self.name, self.layout, self.data_digest = self.asked.name, self.asked.layout, self.asked.data_digest
        self._rows_max: int | None = None
        """So many candidates at once; fewer where the task has failed on more and not on any one of them."""

    def draw_batch(self, seed: bytes) -> Int64Array:
        """Sample indices or episode seeds; none where the task gives none."""
        try:
            return self.asked.draw_batch(seed)
        except TaskFaultError as error:
            self.faults.add(error)
            return np.zeros(0, dtype=np.int64)

    def scores(self, candidates: Float32Array, batch: Int64Array) -> Float64Array:
        """Fast fitness, shape (count,): finite, or minus infinity. A batch with a fault in it is measured again one by one."""
        if not len(batch):
            return np.full(len(candidates), -np.inf)
        rows = self._rows_max or max(1, len(candidates))
        parts = [self._scores_at_once(candidates[first : first + rows], batch) for first in range(0, len(candidates), rows)]
        return self._within_range(np.concatenate(parts))

    def _scores_at_once(self, candidates: Float32Array, batch: Int64Array) -> Float64Array:
        try:
            return self.asked.scores(candidates, batch)
        except TaskFaultError as error:
            if len(candidates) == 1:
                self.faults.add(error)
                return np.full(1, -np.inf)
            return self._scores_one_by_one(candidates, batch, error)

    def _scores_one_by_one(self, candidates: Float32Array, batch: Int64Array, of_all: TaskFaultError) -> Float64Array:
        scores = np.full(len(candidates), -np.inf)
        faulty = late = 0
        for place in range(len(candidates)):
            try:
                scores[place] = self.asked.scores(candidates[place : place + 1], batch)[0]
            except TaskFaultError as error:
                self.faults.add(error)
                faulty += 1
                late += error.fault.kind is FaultKind.LATE
                if late == LATE_MAX:
                    self.faults.add(error, len(candidates) - 1 - place)
                    break
        if not faulty:
            self.faults.add(of_all)
        if not faulty or late:
            self._rows_max = max(1, len(candidates) // 2)
        return scores

    def _within_range(self, scores: Float64Array) -> Float64Array:
        is_wrong = ~(np.isneginf(scores) | (np.abs(scores) <= FITNESS_RANGE))  # a NaN is within no range
        if not is_wrong.any():
            return scores
        self.faults.add(self.asked.value_error("scores", float(scores[is_wrong][0])), int(is_wrong.sum()))
        return np.where(is_wrong, -np.inf, scores)

    def fitness(self, parameters: Float32Array, batch: Int64Array) -> float:
        """Canonical fitness: finite, or minus infinity."""
        fitness = self.fitness_if_measured(parameters, batch)
        return -np.inf if fitness is None else fitness

    def fitness_if_measured(self, parameters: Float32Array, batch: Int64Array) -> float | None:
        """Canonical fitness: finite, or minus infinity; None where it could not be measured."""
        if not len(batch):
            return None
        try:
            return self.asked.fitness(parameters, batch)
        except TaskFaultError as error:
            self.faults.add(error)
            return None

    def metrics(self, parameters: Float32Array) -> Mapping[str, float]:
        """Figures for people; none where the task gives none."""
        try:
            return self.asked.metrics(parameters)
        except TaskFaultError as error:
            self.faults.add(error)
            return {}


class CheckedDifferentiableTask:
    """The same for a task with a gradient. Implements `DifferentiableTask`.

    Without a minibatch there is no gradient, and a gradient that is none is all NaN, which nobody submits.
    """

    def __init__(self, checked: CheckedTask) -> None:
        self.checked = checked
        self.name, self.layout, self.data_digest = checked.name, checked.layout, checked.data_digest
        self.draw_batch, self.scores = checked.draw_batch, checked.scores
        self.fitness, self.metrics = checked.fitness, checked.metrics

    @property
    def sample_labels(self) -> Int64Array:
        """The class of each training sample, (samples,). Raises TaskFaultError: without them nobody can start."""
        return self.checked.asked.sample_labels

    def minibatch(self, rows: Int64Array) -> Minibatch:
        """The training samples at these indices; none where the task gives none."""
        try:
            return self.checked.asked.minibatch(rows)
        except TaskFaultError as error:
            self.checked.faults.add(error)
            return Minibatch(np.zeros(0, dtype=np.float32), np.zeros(0, dtype=np.int64))

    def gradient(self, parameters: Float32Array, minibatch: Minibatch) -> Float32Array:
        """(parameters,) -> (parameters,): finite, or all NaN."""
        try:
            if len(minibatch.labels):
                return self.checked.asked.gradient(parameters, minibatch)
        except TaskFaultError as error:
            self.checked.faults.add(error)
        return np.full(len(parameters), np.nan, dtype=np.float32)


def checked_task(task: Task) -> CheckedTask:
    """Every task is checked once. Raises TaskFaultError where it cannot even tell its name, its layout or its digest."""
    match task:
        case CheckedTask():
            return task
        case CheckedDifferentiableTask():
            return task.checked
        case _:
            return CheckedTask(task)


def checked_differentiable(task: DifferentiableTask) -> CheckedDifferentiableTask:
    """The same, with the gradient."""
    return task if isinstance(task, CheckedDifferentiableTask) else CheckedDifferentiableTask(checked_task(task))
