"""What a worker does: the gradient of its own samples on the newest model it knows. Local, inexact: its result is a claim."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from learning.gradient.conduct import Conduct, Submitted
from learning.gradient.quantised import quantise
from learning.task import DifferentiableTask, Float32Array, Int64Array


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


class Worker:
    """One worker. What rounding cuts off one gradient is added to the next (error feedback), so nothing is lost for long."""

    def __init__(self, task: DifferentiableTask, rows: RowSource, settings: WorkerSettings, conduct: Conduct) -> None:
        parameters = sum(block.size for block in task.layout)
        self._task = task
        self._rows = rows
        self._settings = settings
        self.conduct = conduct
        self._turn = 0
        self._momentum = np.zeros(parameters, dtype=np.float32)
        self._cut_off = np.zeros(parameters, dtype=np.float32)

    def compute(self, parameters: Float32Array) -> tuple[bytes, ...]:
        """The payloads to submit for the model `parameters`: none where the gradient is not finite, several only by a fault."""
        rows = self._rows.draw(self._turn, self._settings.minibatch_size)
        minibatch = self.conduct.minibatch(self._task.minibatch(rows))
        self._turn += 1
        gradient = self._task.gradient(parameters, minibatch)
        if not np.isfinite(gradient).all():
            return ()
        beta = np.float32(self._settings.momentum)
        is_first = self._turn == 1
        self._momentum = gradient if is_first else beta * self._momentum + (np.float32(1) - beta) * gradient
        payloads = (self._payload(submitted) for submitted in self.conduct.submissions(self._momentum + self._cut_off))
        return tuple(payload for payload in payloads if payload is not None)

    def _payload(self, submitted: Submitted) -> bytes | None:
        """None where the vector is not finite or too large to travel."""
        if isinstance(submitted, bytes):
            return submitted
        quantised = quantise(submitted, self._task.layout, self._settings.bits)
        if quantised is None:
            return None
        self._cut_off = submitted - quantised.dense()
        return quantised.encoded
