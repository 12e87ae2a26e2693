"""Fitness as all peers measure it: on the canonical path, on the batch that the parent step selects, in micro-units.

Section 4 of docs/protocol.md.
"""

import hashlib
from collections import OrderedDict

from learning.checked_task import CheckedTask
from learning.exact import FITNESS_LOWEST, micro_units
from learning.following.line import Head
from learning.state import ModelState
from learning.task import Int64Array
from learning.task_check import start_fitness

FITNESS_KEPT = 4_096
"""Under 1 MB. A candidate comes back within a block or two, as an offer and as a step."""

BATCHES_KEPT = 16
"""Those of the head, its parent and a few rival branches; a batch is drawn again in well under a millisecond."""


class Measurement:
    """Measures models of one task, each once."""

    def __init__(self, task: CheckedTask, network_id: bytes) -> None:
        self._task = task
        self._network_id = network_id
        self._fitness: OrderedDict[tuple[bytes, bytes], int | None] = OrderedDict()
        """None: it could not be measured."""
        self._batches: OrderedDict[bytes, Int64Array] = OrderedDict()

    def batch(self, base: bytes) -> Int64Array:
        """The scoring batch of the generation that starts from step `base`. Nobody can choose it."""
        if base not in self._batches:
            self._batches[base] = self._task.draw_batch(_batch_seed(self._network_id, base))
            if len(self._batches) > BATCHES_KEPT:
                self._batches.popitem(last=False)
        return self._batches[base]

    def check_start(self, head: Head) -> None:
        """Measure the model that the learner starts from. Raises TaskError where the task cannot even measure a first model."""
        fitness = start_fitness(self._task, head.model, _batch_seed(self._network_id, head.step))
        self._fitness[head.step, head.digest] = None if fitness is None else micro_units(fitness)

    def fitness(self, base: bytes, model: ModelState, digest: bytes) -> int:
        """Micro-units of `model`, whose state digest is `digest`, on the batch of `base`; the lowest where it has none."""
        fitness = self.fitness_if_measured(base, model, digest)
        return FITNESS_LOWEST if fitness is None else fitness

    def fitness_if_measured(self, base: bytes, model: ModelState, digest: bytes) -> int | None:
        """The same; None where it could not be measured."""
        key = (base, digest)
        if key not in self._fitness:
            fitness = self._task.fitness_if_measured(model.parameters, self.batch(base))
            self._fitness[key] = None if fitness is None else micro_units(fitness)
            if len(self._fitness) > FITNESS_KEPT:
                self._fitness.popitem(last=False)
        return self._fitness[key]


def _batch_seed(network_id: bytes, base: bytes) -> bytes:
    tag = b"kubrat/batch/1"
    return hashlib.blake2b(bytes([len(tag)]) + tag + network_id + base, digest_size=32).digest()
