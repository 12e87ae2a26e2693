"""A task is code of a user: here every answer of it is checked, and every fault becomes a TaskError that names it."""

from collections.abc import Callable, Mapping
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from learning.exact import first_weights, micro_units, stream_key
from learning.task import (
    DifferentiableTask,
    Float32Array,
    Float64Array,
    Int64Array,
    Layout,
    Minibatch,
    ParameterBlock,
    Task,
    TaskError,
)

T = TypeVar("T")
AnyArray = npt.NDArray[np.generic]

DATA_DIGEST_BYTES = 32

PARAMETERS_MAX = 2**31
"""8 GiB of float32: beyond what one process can search with, far below where a noise counter would overflow."""

TRIAL_CANDIDATES = 2
"""Enough to tell a task that mixes up candidates and samples."""


class CheckedTask:
    """A task whose answers have the promised shapes and types. Implements `Task`; every method may raise TaskError.

    A NaN or an infinity is an answer: of one bad candidate among others it is no fault of the task.
    """

    def __init__(self, task: Task) -> None:
        self._task = task
        self.name = str(task.name)
        self.layout = self._checked_layout(task.layout)
        self.data_digest = task.data_digest
        if not isinstance(self.data_digest, bytes) or len(self.data_digest) != DATA_DIGEST_BYTES:
            raise self._fault("data_digest", f"{self.data_digest!r}", f"{DATA_DIGEST_BYTES} bytes")

    def draw_batch(self, seed: bytes) -> Int64Array:
        """Sample indices or episode seeds: int64, one axis, at least one."""
        batch = self._array("draw_batch", self._guard("draw_batch", lambda: self._task.draw_batch(seed)))
        if batch.dtype != np.int64 or batch.ndim != 1 or not len(batch):
            raise self._fault("draw_batch", _describe(batch), "a non-empty int64 vector")
        return batch.astype(np.int64, copy=False)

    def scores(self, candidates: Float32Array, batch: Int64Array) -> Float64Array:
        """Fast fitness, shape (count,); the candidates may be overwritten after the call."""
        scores = self._array("scores", self._guard("scores", lambda: self._task.scores(candidates, batch)))
        if scores.shape != (len(candidates),) or scores.dtype.kind != "f":
            raise self._fault("scores", _describe(scores), f"a float64 vector of {len(candidates)}, one per candidate")
        return scores.astype(np.float64, copy=False)

    def fitness(self, parameters: Float32Array, batch: Int64Array) -> float:
        """Canonical fitness. The task gets a copy: states are read-only, and torch will not view what it cannot write."""
        fitness = self._guard("fitness", lambda: self._task.fitness(parameters.copy(), batch))
        if not isinstance(fitness, float | int):
            raise self._fault("fitness", repr(fitness), "a float")
        return float(fitness)

    def metrics(self, parameters: Float32Array) -> Mapping[str, float]:
        """Figures for people."""
        metrics = self._guard("metrics", lambda: self._task.metrics(parameters.copy()))
        if not isinstance(metrics, Mapping):
            raise self._fault("metrics", repr(metrics), "a mapping of names to floats")
        return self._guard("metrics", lambda: {str(name): float(value) for name, value in metrics.items()})

    def _checked_layout(self, layout: Layout) -> Layout:
        if not isinstance(layout, tuple) or not all(isinstance(block, ParameterBlock) for block in layout):
            raise self._fault("layout", repr(layout), "a tuple of ParameterBlock")
        for block in layout:
            if block.size < 1 or block.fan_in < 0:
                raise self._fault("layout", repr(block), "lengths of 1 or more and a fan_in of 0 or more")
        parameters = sum(block.size for block in layout)
        if not 1 <= parameters <= PARAMETERS_MAX:
            raise self._fault("layout", f"{parameters} parameters", f"1..{PARAMETERS_MAX}")
        return layout

    def _guard(self, method: str, call: Callable[[], T]) -> T:
        try:
            return call()
        except Exception as error:
            raise TaskError(f"task {self.name!r}: {method} raised {type(error).__name__}: {error}") from error

    def _array(self, method: str, answer: object) -> AnyArray:
        if not isinstance(answer, np.ndarray):
            raise self._fault(method, repr(type(answer)), "a numpy array")
        return answer

    def _fault(self, method: str, found: str, wanted: str) -> TaskError:
        return TaskError(f"task {self.name!r}: {method} is {found}, expected {wanted}")


def _describe(array: AnyArray) -> str:
    return f"{array.dtype} of shape {array.shape}"


def check_task(task: Task) -> CheckedTask:
    """Try everything that a learner will ask of the task, once, on a first model.

    Raises TaskError naming the task and the fault: a method raises, or answers with a wrong type or shape, or with NaN.
    """
    checked = CheckedTask(task)
    parameters = first_weights(stream_key(b"kubrat/task-check/1"), checked.layout)
    batch = checked.draw_batch(bytes(32))
    scores = checked.scores(np.tile(parameters, (TRIAL_CANDIDATES, 1)), batch)
    fitness = checked.fitness(parameters, batch)
    checked.metrics(parameters)
    for method, value in (("scores", float(scores[0])), ("fitness", fitness)):
        if not np.isfinite(value):
            raise TaskError(f"task {checked.name!r}: {method} of a first model is {value}, expected a finite number")
    return checked


def check_repeatable(task: CheckedTask, parameters: Float32Array, batch: Int64Array, tolerance: int) -> None:
    """Two measurements of one model must agree within the network's tolerance, in micro-units: others will measure it, too.

    Raises TaskError: with such a task honest peers would accuse each other of lying.
    """
    first, second = (micro_units(task.fitness(parameters, batch)) for _ in range(2))
    if abs(first - second) > tolerance:
        raise TaskError(
            f"task {task.name!r}: two measurements of one model differ by {abs(first - second)} micro-units, "
            f'allowed is evolution.fitness_tolerance ({tolerance}); a stochastic task needs consensus = "total-order"'
        )


TRIAL_SAMPLES = 8
"""What the smallest shard has."""


def check_gradient(task: DifferentiableTask) -> None:
    """Try what a worker will ask of the task, on a first model. The rest of it: `learning.task_check`.

    Raises TaskError naming the task and the fault: a method raises, or answers with a wrong type or shape; the gradient is not
    finite, or zero everywhere.
    """
    try:
        labels = task.sample_labels
        rows = np.arange(min(TRIAL_SAMPLES, len(labels)), dtype=np.int64)
        minibatch = task.minibatch(rows)
        parameters = first_weights(stream_key(b"kubrat/task-check/1"), task.layout)
        gradient = task.gradient(parameters, minibatch)
    except TaskError:
        raise
    except Exception as error:
        raise TaskError(f"task {task.name!r}: trying its gradient raised {type(error).__name__}: {error}") from error
    for fault in (_label_fault(labels), _minibatch_fault(minibatch, len(rows)), _gradient_fault(gradient, len(parameters))):
        if fault is not None:
            raise TaskError(f"task {task.name!r}: {fault}")


def _label_fault(labels: Int64Array) -> str | None:
    if not isinstance(labels, np.ndarray) or labels.dtype != np.int64 or labels.ndim != 1 or not len(labels):
        return f"sample_labels is {_kind_of(labels)}, expected a non-empty int64 vector, one per training sample"
    return None


def _minibatch_fault(minibatch: Minibatch, samples: int) -> str | None:
    if not isinstance(minibatch, Minibatch) or not len(minibatch.inputs) == len(minibatch.labels) == samples:
        return f"minibatch of {samples} rows is {_kind_of(minibatch)}, expected a Minibatch of as many inputs and labels"
    return None


def _gradient_fault(gradient: Float32Array, parameters: int) -> str | None:
    if not isinstance(gradient, np.ndarray) or gradient.dtype != np.float32 or gradient.shape != (parameters,):
        return f"gradient is {_kind_of(gradient)}, expected a float32 vector of {parameters}, one per parameter"
    if not np.isfinite(gradient).all():
        return "gradient of a first model has a value that is not finite"
    if not gradient.any():
        return "gradient of a first model is zero everywhere, so nothing could be learned"
    return None


def _kind_of(found: object) -> str:
    return f"{found.dtype} of shape {found.shape}" if isinstance(found, np.ndarray) else type(found).__name__
