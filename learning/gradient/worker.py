"""What a worker does: the gradient of its own samples on the newest model it knows, one at a time, until it is in the order.

Local, inexact: its result is a claim.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from learning.aggregation.quantised import payload_digest, quantise
from learning.gradient.ledger import AggregationState, GradientSubmission, encode_submission
from learning.learner import ContributionFound, SearchProgress
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


FRUITLESS_MAX = 8
"""Minibatches tried on one model that give nothing to submit: a gradient that is not finite then waits for the next model."""


class GradientSubmitter:
    """Remembers what we have submitted until it has come, or is lost. Nothing here needs to survive a restart."""

    def __init__(self, worker: Computing, author: bytes, staleness_max: int) -> None:
        self._worker = worker
        self._author = author
        self._patience = max(1, staleness_max // 2)
        """In versions of the model: what has not come by then would soon be too old, so it counts as lost."""
        self._in_flight: dict[bytes, int] = {}
        self._fruitless = (b"", 0)
        self._computed = 0

    def is_due(self, ledger: AggregationState) -> bool:
        """Whether to compute on the newest model: nothing of ours is on its way, and none on this model was accepted."""
        model, tries = self._fruitless
        is_given_up = model == ledger.digest and tries >= FRUITLESS_MAX
        return not self._in_flight and not is_given_up and dict(ledger.bases).get(self._author, -1) < ledger.version

    def compute(self, ledger: AggregationState, base: bytes) -> tuple[ContributionFound | SearchProgress, ...]:
        """What to submit for the newest model; `base`: the step that has led to it. Several only by a fault."""
        self._computed += 1
        found = tuple(self._contribution(ledger, base, encoded) for encoded in self._worker.compute(ledger.parameters))
        self._in_flight.update((answer.payload, ledger.version) for answer in found)
        model, tries = self._fruitless
        if not found:
            self._fruitless = (ledger.digest, tries + 1 if model == ledger.digest else 1)
        return (*found, SearchProgress(self._computed))

    def on_delivered(self, payload: bytes) -> None:
        """This submission was delivered, or refused; if it is ours, it is no longer on its way."""
        self._in_flight.pop(payload, None)

    def keep(self, payloads: frozenset[bytes]) -> None:
        """Of what is on its way, only these still are."""
        self._in_flight = {payload: version for payload, version in self._in_flight.items() if payload in payloads}

    def on_model_moved(self, version: int) -> None:
        """Give up on what should have come long ago."""
        self._in_flight = {payload: of for payload, of in self._in_flight.items() if version < of + self._patience}

    @staticmethod
    def _contribution(ledger: AggregationState, base: bytes, encoded: bytes) -> ContributionFound:
        submission = GradientSubmission(ledger.version, ledger.digest, payload_digest(encoded), len(encoded))
        return ContributionFound(base, encode_submission(submission), (encoded,), (submission.payload,))
