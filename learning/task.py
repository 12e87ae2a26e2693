"""The contract of a task: what is to be learned, and how good a candidate is at it. No torch is imported here."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

Float32Array = npt.NDArray[np.float32]
Float64Array = npt.NDArray[np.float64]
Int64Array = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class ParameterBlock:
    """One tensor of the model, as a slice of the flat parameter vector.

    `fan_in` sets the first weights: uniform in [-1/sqrt(fan_in), 1/sqrt(fan_in)); 0 means that all of the block starts at
    `constant`. Where `given` is there, the block starts with these values instead: float32, as many as the block's size.
    """

    name: str
    shape: tuple[int, ...]
    fan_in: int
    constant: float = 0.0
    given: Float32Array | None = field(default=None, compare=False, repr=False)

    @property
    def size(self) -> int:
        """Number of parameters in the block."""
        size = 1
        for length in self.shape:
            size *= length
        return size


Layout = tuple[ParameterBlock, ...]
"""The blocks in the order in which they lie in the flat parameter vector."""


def without_values(layout: Layout) -> Layout:
    """The same tensors, for who needs their names and shapes alone: what is given may be large."""
    return tuple(replace(block, given=None) for block in layout)


class TaskError(Exception):
    """The task cannot be used: it raises, or answers with a wrong shape or type. The message names the task and the fault.

    `fix`: what a person can do, where it is known here.
    """

    def __init__(self, message: str, fix: str | None = None) -> None:
        super().__init__(message)
        self.fix = fix


class Task(Protocol):
    """What is to be learned. A task is loaded in the worker process, and must be deterministic but for rounding.

    Fitness: float64, higher is better (minus the loss). A batch is an int64 array of sample indices (or episode seeds) in
    random order, so that any prefix of it is a fair, smaller batch.
    """

    @property
    def name(self) -> str:
        """How the network file calls it: "digits", "cartpole", "module:attribute"."""
        ...

    @property
    def layout(self) -> Layout:
        """The model's tensors."""
        ...

    @property
    def data_digest(self) -> bytes:
        """BLAKE2b-256 of everything the fitness depends on but the parameters (data, split, constants); 32 bytes."""
        ...

    def draw_batch(self, seed: bytes) -> Int64Array:
        """The scoring batch that `seed` (32 bytes, from the parent step) selects; the same on every peer."""
        ...

    def scores(self, candidates: Float32Array, batch: Int64Array) -> Float64Array:
        """Fast fitness of many candidates, shape (count, parameters) -> (count,); may be inexact.

        For search, and for what members of a total order tell one another, where the median decides.
        """
        ...

    def fitness(self, parameters: Float32Array, batch: Int64Array) -> float:
        """Fitness of one parameter vector on the canonical float64 path. Claims and checks use this one."""
        ...

    def metrics(self, parameters: Float32Array) -> Mapping[str, float]:
        """Figures for people, e.g. {"test_accuracy": 0.93}; never used in a decision."""
        ...


@runtime_checkable
class FramedTask(Protocol):
    """A task whose model has more tensors, or more names for them, than its layout."""

    def frame(self) -> bytes | None:
        """What an export needs besides (`learning.models.frame`), or None."""
        ...


def frame_of(task: Task) -> bytes | None:
    """None where the layout says it all."""
    return task.frame() if isinstance(task, FramedTask) else None


@dataclass(frozen=True, slots=True)
class Minibatch:
    """Inputs (samples, ...) and labels (samples, ...) out of the training data; copies, so that the holder may change them."""

    inputs: npt.NDArray[np.generic]
    labels: npt.NDArray[np.generic]


@runtime_checkable
class DifferentiableTask(Task, Protocol):
    """A task with a gradient: what learning = "gradient" needs beside the rest."""

    @property
    def sample_labels(self) -> Int64Array:
        """The class of each training sample, (samples,); all zeros where labels are no classes, as in a regression."""
        ...

    def minibatch(self, rows: Int64Array) -> Minibatch:
        """The training samples at these indices, in this order."""
        ...

    def gradient(self, parameters: Float32Array, minibatch: Minibatch) -> Float32Array:
        """Of the mean loss over the minibatch, so a step against it is uphill in fitness; (parameters,) -> (parameters,).

        Local work that no other peer repeats: it may be inexact. NaN and infinities are answers, for the caller to drop.
        """
        ...


def differentiable(task: Task) -> DifferentiableTask:
    """The same task, known to have a gradient. Raises TaskError when it has none."""
    if not isinstance(task, DifferentiableTask):
        raise TaskError(f'task {task.name!r} has no gradient; use learning = "evolution"')
    return task
