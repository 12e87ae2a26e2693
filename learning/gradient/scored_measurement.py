"""How good a model is on a member's own samples, always the same ones: what its scores say. Others cannot repeat it."""

import hashlib
from typing import Protocol

from learning.exact import micro_units, permutation
from learning.gradient.worker import RowSource
from learning.task import Float32Array, Int64Array
from learning.task_check import CheckedTask

SAMPLES_MAX = 512
"""The standard error of a mean loss over so many is a twentieth of one sample's spread, and two models that are measured on
the same ones differ by far less than that."""

SAMPLES_TAG = b"kubrat/scored-samples/1"


class OwnRows(RowSource, Protocol):
    """A peer's own samples: to draw minibatches from, and to measure on."""

    @property
    def rows(self) -> Int64Array:
        """All of them, (samples,), at least one."""
        ...


class OwnMeasurement:
    """Measures models of one task on up to SAMPLES_MAX of a peer's own rows, chosen once and for all."""

    def __init__(self, task: CheckedTask, own: OwnRows, network_id: bytes, author: bytes) -> None:
        self._task = task
        seed = hashlib.blake2b(SAMPLES_TAG + network_id + author, digest_size=32).digest()
        self._batch: Int64Array = own.rows[permutation(seed, len(own.rows))[:SAMPLES_MAX]]

    def fitness(self, parameters: Float32Array) -> int:
        """Micro-units, on the canonical path. Raises TaskError."""
        return micro_units(self._task.fitness(parameters, self._batch))
