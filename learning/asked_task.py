"""A task is code of a user: every call into one is made here, and whatever is wrong with an answer becomes a TaskFaultError."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from learning.exact import FITNESS_MAX, MICRO
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

FITNESS_RANGE = FITNESS_MAX / MICRO
"""Beyond, plus or minus, micro-units do not reach."""

ONE_FITNESS = f"a finite float within {FITNESS_RANGE:.3g} of 0, or minus infinity for the worst"

MESSAGE_LENGTH_MAX = 300
"""Of what a user's exception says: a line, and not the whole of an array."""


GRADIENT_MEMBERS = ("sample_labels", "minibatch", "gradient")
"""Of `learning.task.DifferentiableTask`, beside those of a `Task`."""


class FaultKind(StrEnum):
    """In which way a call into a task has gone wrong."""

    RAISED = "raised"
    LATE = "late"
    """It has not come back in the time that is allowed."""
    ENDED = "ended"
    """Its process has ended."""
    FORM = "form"
    """A wrong type, length or shape."""
    VALUE = "value"
    """NaN, plus infinity, or out of range."""


@dataclass(frozen=True, slots=True)
class TaskFault:
    """One call that went wrong. `found`: what came back, to follow the method's name; `expected`: what is allowed."""

    method: str
    kind: FaultKind
    found: str
    expected: str


class TaskFaultError(TaskError):
    """The message names the task, the method, what came back and what is allowed."""

    def __init__(self, task: str, fault: TaskFault) -> None:
        super().__init__(f"task {task!r}: {fault.method} {fault.found}, expected {fault.expected}")
        self.task = task
        self.fault = fault


class AskedTask:
    """A task whose answers have the promised shapes, types and range. Every method may raise TaskFaultError, nothing else."""

    def __init__(self, task: Task) -> None:
        """Raises TaskFaultError."""
        self._task = task
        self.name = str(task.name)
        self.layout = self._checked_layout(task.layout)
        self.data_digest = task.data_digest
        if not isinstance(self.data_digest, bytes) or len(self.data_digest) != DATA_DIGEST_BYTES:
            raise self._error("data_digest", FaultKind.FORM, f"is {self.data_digest!r}", f"{DATA_DIGEST_BYTES} bytes")
        self.parameters = sum(block.size for block in self.layout)
        members = (inspect.getattr_static(task, member, None) for member in GRADIENT_MEMBERS)
        self.has_gradient = all(member is not None for member in members)
        """Whether what is asked of a `DifferentiableTask` may be asked."""

    def draw_batch(self, seed: bytes) -> Int64Array:
        """Sample indices or episode seeds: int64, one axis, at least one."""
        expected = "a non-empty int64 vector"
        batch = self._array("draw_batch", self._call("draw_batch", expected, lambda: self._task.draw_batch(seed)), expected)
        if batch.dtype != np.int64 or batch.ndim != 1 or not len(batch):
            raise self._error("draw_batch", FaultKind.FORM, f"is {_describe(batch)}", expected)
        return batch.astype(np.int64, copy=False)

    def scores(self, candidates: Float32Array, batch: Int64Array) -> Float64Array:
        """Fast fitness, shape (count,), of any value: one candidate that is out of range is not the others' fault."""
        expected = f"a float64 vector of {len(candidates)}, one per candidate"
        answer = self._call("scores", expected, lambda: self._task.scores(candidates, batch))
        scores = self._array("scores", answer, expected)
        if scores.shape != (len(candidates),) or scores.dtype.kind != "f":
            raise self._error("scores", FaultKind.FORM, f"is {_describe(scores)}", expected)
        return scores.astype(np.float64, copy=False)

    def fitness(self, parameters: Float32Array, batch: Int64Array) -> float:
        """Canonical fitness, within the range. The task gets a copy: states are read-only, and torch will not view such."""
        answer = self._call("fitness", ONE_FITNESS, lambda: self._task.fitness(parameters.copy(), batch))
        if not isinstance(answer, float | int):
            raise self._error("fitness", FaultKind.FORM, f"is {answer!r:.{MESSAGE_LENGTH_MAX}}", ONE_FITNESS)
        fitness = self._call("fitness", ONE_FITNESS, lambda: float(answer))
        if not is_in_range(fitness):
            raise self.value_error("fitness", fitness)
        return fitness

    def value_error(self, method: str, fitness: float) -> TaskFaultError:
        """What is wrong with a fitness, or a score, that is not `is_in_range`."""
        return self._error(method, FaultKind.VALUE, f"is {fitness}", ONE_FITNESS)

    def metrics(self, parameters: Float32Array) -> Mapping[str, float]:
        """Figures for people."""
        expected = "a mapping of names to floats"
        metrics = self._call("metrics", expected, lambda: self._task.metrics(parameters.copy()))
        if not isinstance(metrics, Mapping):
            raise self._error("metrics", FaultKind.FORM, f"is {metrics!r:.{MESSAGE_LENGTH_MAX}}", expected)
        return self._call("metrics", expected, lambda: {str(name): float(value) for name, value in metrics.items()})

    # --- of a task with a gradient ----------------------------------------------------------------------------------

    @property
    def sample_labels(self) -> Int64Array:
        """The class of each training sample, (samples,)."""
        expected = "a non-empty int64 vector, one per training sample"
        labels = self._call("sample_labels", expected, lambda: self._differentiable.sample_labels)
        if not isinstance(labels, np.ndarray) or labels.dtype != np.int64 or labels.ndim != 1 or not len(labels):
            raise self._error("sample_labels", FaultKind.FORM, f"is {_kind_of(labels)}", expected)
        return labels

    def minibatch(self, rows: Int64Array) -> Minibatch:
        """As many inputs and labels as rows."""
        expected = f"a Minibatch of as many inputs and labels as the {len(rows)} rows"
        minibatch = self._call("minibatch", expected, lambda: self._differentiable.minibatch(rows))
        if not isinstance(minibatch, Minibatch):
            raise self._error("minibatch", FaultKind.FORM, f"is a {_kind_of(minibatch)}", expected)
        inputs, labels = minibatch.inputs, minibatch.labels
        for part in (inputs, labels):
            if not isinstance(part, np.ndarray) or part.dtype.hasobject or not part.ndim:
                raise self._error("minibatch", FaultKind.FORM, f"has {_kind_of(part)}", expected)
        if not len(inputs) == len(labels) == len(rows):
            raise self._error("minibatch", FaultKind.FORM, f"is {len(inputs)} inputs and {len(labels)} labels", expected)
        return minibatch

    def gradient(self, parameters: Float32Array, minibatch: Minibatch) -> Float32Array:
        """(parameters,), all finite."""
        expected = f"a float32 vector of {self.parameters}, one per parameter, all finite"
        gradient = self._call("gradient", expected, lambda: self._differentiable.gradient(parameters, minibatch))
        if not isinstance(gradient, np.ndarray) or gradient.dtype != np.float32 or gradient.shape != (self.parameters,):
            raise self._error("gradient", FaultKind.FORM, f"is {_kind_of(gradient)}", expected)
        if not np.isfinite(gradient).all():
            raise self._error("gradient", FaultKind.VALUE, "has a value that is not finite", expected)
        return gradient

    @property
    def _differentiable(self) -> DifferentiableTask:
        assert self.has_gradient, f"task {self.name!r} has no gradient"
        task: DifferentiableTask = self._task  # type: ignore[assignment]  # its members are there
        return task

    # --- what is wrong ----------------------------------------------------------------------------------------------

    def _checked_layout(self, layout: Layout) -> Layout:
        if not isinstance(layout, tuple) or not all(isinstance(block, ParameterBlock) for block in layout):
            raise self._error("layout", FaultKind.FORM, f"is {layout!r}", "a tuple of ParameterBlock")
        for block in layout:
            if block.size < 1 or block.fan_in < 0:
                expected = "lengths of 1 or more and a fan_in of 0 or more"
                raise self._error("layout", FaultKind.FORM, f"is {block!r}", expected)
        parameters = sum(block.size for block in layout)
        if not 1 <= parameters <= PARAMETERS_MAX:
            raise self._error("layout", FaultKind.FORM, f"is {parameters} parameters", f"1..{PARAMETERS_MAX}")
        return layout

    def _call(self, method: str, expected: str, call: Callable[[], T]) -> T:
        try:
            return call()
        except TaskFaultError as error:  # found out already, where the task runs
            raise TaskFaultError(self.name, error.fault) from error
        except (Exception, SystemExit) as error:
            found = f"raised {type(error).__name__}: {error!s:.{MESSAGE_LENGTH_MAX}}"
            raise self._error(method, FaultKind.RAISED, found, expected) from error

    def _array(self, method: str, answer: object, expected: str) -> AnyArray:
        if not isinstance(answer, np.ndarray):
            raise self._error(method, FaultKind.FORM, f"is a {type(answer).__name__}", expected)
        return answer

    def _error(self, method: str, kind: FaultKind, found: str, expected: str) -> TaskFaultError:
        return TaskFaultError(self.name, TaskFault(method, kind, found, expected))


def is_in_range(fitness: float) -> bool:
    """Whether a fitness is finite and within reach of micro-units, or minus infinity, a task's own word for the worst."""
    return fitness == -np.inf or abs(fitness) <= FITNESS_RANGE


def _describe(array: AnyArray) -> str:
    return f"{array.dtype} of shape {array.shape}"


def _kind_of(found: object) -> str:
    return _describe(found) if isinstance(found, np.ndarray) else type(found).__name__
