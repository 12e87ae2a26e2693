"""What a worker does: the gradient of its own samples on the newest model it knows. Local, inexact: its result is a claim."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from learning.aggregation.quantised import quantise
from learning.task import DifferentiableTask, Float32Array, Int64Array, Minibatch


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    """How a worker computes; every peer's own affair, though the network file gives the values."""

    minibatch_size: int = 32
    momentum: float = 0.9
    """Of its own gradients: Karimireddy, He, Jaggi, "Learning from History for Byzantine Robust Optimization", ICML 2021."""
    bits: int = 16
    """Per value on the wire: 16 or 8."""


class RowSource(Protocol):
    """Where a worker's samples come from."""

    def draw(self, turn: int, size: int) -> Int64Array:
        """Rows of the training data for one minibatch, shape (size,)."""
        ...


class Computing(Protocol):
    """Whoever computes what a peer submits."""

    def compute(self, parameters: Float32Array) -> tuple[bytes, ...]:
        """The payloads to submit for the model `parameters`: none where the gradient is not finite, several only by a fault."""
        ...


class Worker:
    """One worker. What rounding cuts off one gradient is added to the next (error feedback), so nothing is lost for long."""

    def __init__(self, task: DifferentiableTask, rows: RowSource, settings: WorkerSettings) -> None:
        parameters = sum(block.size for block in task.layout)
        self._task = task
        self._rows = rows
        self._settings = settings
        self._turn = 0
        self._momentum = np.zeros(parameters, dtype=np.float32)
        self._cut_off = np.zeros(parameters, dtype=np.float32)

    def compute(self, parameters: Float32Array) -> tuple[bytes, ...]:
        """The payload to submit for the model `parameters`; none where the gradient is not finite or too large to travel."""
        gradient = self.gradient(parameters, self.draw())
        encoded = None if gradient is None else self.encode(gradient)
        return () if encoded is None else (encoded,)

    def draw(self) -> Minibatch:
        """The next samples."""
        rows = self._rows.draw(self._turn, self._settings.minibatch_size)
        self._turn += 1
        return self._task.minibatch(rows)

    def gradient(self, parameters: Float32Array, minibatch: Minibatch) -> Float32Array | None:
        """(parameters,), momentum and what was cut off before included; None where it is not finite."""
        gradient = self._task.gradient(parameters, minibatch)
        if not np.isfinite(gradient).all():
            return None
        beta = np.float32(self._settings.momentum)
        is_first = self._turn == 1
        self._momentum = gradient if is_first else beta * self._momentum + (np.float32(1) - beta) * gradient
        return self._momentum + self._cut_off

    def encode(self, vector: Float32Array) -> bytes | None:
        """As it travels; None where the vector is not finite or too large for that."""
        quantised = quantise(vector, self._task.layout, self._settings.bits)
        if quantised is None:
            return None
        self._cut_off = vector - quantised.dense()
        return quantised.encoded


MakeWorker = Callable[[DifferentiableTask, RowSource, WorkerSettings], Computing]
"""An honest one is a `Worker`."""
