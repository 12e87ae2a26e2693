"""Tasks whose measurements differ from peer to peer, or from call to call: noise, chance, private data.

For a total order: proof of work compares claims.
"""

from collections.abc import Mapping

import numpy as np

from learning.exact import permutation, raw_words, stream_key
from learning.task import Float32Array, Float64Array, Int64Array, Task, TaskError

RELATIVE_NOISE_MAX = 1.0
"""A measurement may be off by its own size, not more: beyond that it says nothing."""


class NoisyTask:
    """A task as measured by another machine: each fitness is off by a part that depends on the peer, the same every time.

    Implements `learning.task.Task`.
    """

    def __init__(self, task: Task, seed: bytes, relative_noise: float) -> None:
        """`seed` names the peer; the noise is uniform in [-relative_noise, relative_noise) times the fitness.

        Raises TaskError when `relative_noise` is out of range.
        """
        if not 0 <= relative_noise <= RELATIVE_NOISE_MAX:
            raise TaskError(f"task {task.name!r}: relative_noise is {relative_noise}, allowed 0..{RELATIVE_NOISE_MAX}")
        self.name, self.layout, self.data_digest = task.name, task.layout, task.data_digest
        self._task = task
        self._seed = seed
        self._relative_noise = relative_noise

    def draw_batch(self, seed: bytes) -> Int64Array:
        """The task's own."""
        return self._task.draw_batch(seed)

    def scores(self, candidates: Float32Array, batch: Int64Array) -> Float64Array:
        """The task's own, and this peer's noise for each of these candidates on this batch, (count, parameters) -> (count,)."""
        factors = np.array([self._factor(candidate, batch) for candidate in candidates])
        noisy: Float64Array = self._task.scores(candidates, batch) * factors
        return noisy

    def fitness(self, parameters: Float32Array, batch: Int64Array) -> float:
        """The task's own, and this peer's noise for these parameters on this batch."""
        return self._task.fitness(parameters, batch) * self._factor(parameters, batch)

    def _factor(self, parameters: Float32Array, batch: Int64Array) -> float:
        key = stream_key(b"kubrat/measurement-noise/1", self._seed, parameters.tobytes(), batch.tobytes())
        return 1.0 + self._relative_noise * (float(raw_words(key, 0, 1)[0]) / 2.0**63 - 1.0)

    def metrics(self, parameters: Float32Array) -> Mapping[str, float]:
        """The task's own."""
        return self._task.metrics(parameters)


class StochasticTask:
    """A task whose fitness is a matter of chance: every call takes another part of the batch. Implements `Task`."""

    def __init__(self, task: Task, seed: bytes, samples: int) -> None:
        """Every measurement takes `samples` of the batch, or all where there are fewer. `seed`: this peer's chance.

        Raises TaskError when `samples` is below 1.
        """
        if samples < 1:
            raise TaskError(f"task {task.name!r}: samples is {samples}, allowed 1 or more")
        self.name, self.layout, self.data_digest = task.name, task.layout, task.data_digest
        self._task = task
        self._seed = seed
        self._samples = samples
        self._calls = 0

    def draw_batch(self, seed: bytes) -> Int64Array:
        """The task's own."""
        return self._task.draw_batch(seed)

    def scores(self, candidates: Float32Array, batch: Int64Array) -> Float64Array:
        """Fast fitness of all candidates on one fresh part of the batch, (count, parameters) -> (count,)."""
        return self._task.scores(candidates, self._part_of(batch))

    def fitness(self, parameters: Float32Array, batch: Int64Array) -> float:
        """Fitness on a fresh part of the batch."""
        return self._task.fitness(parameters, self._part_of(batch))

    def metrics(self, parameters: Float32Array) -> Mapping[str, float]:
        """The task's own."""
        return self._task.metrics(parameters)

    def _part_of(self, batch: Int64Array) -> Int64Array:
        self._calls += 1
        chance = self._seed + self._calls.to_bytes(8, "little")
        part: Int64Array = batch[permutation(chance, len(batch))[: self._samples]]
        return part


class ShardedTask:
    """A task of which one member has only some training samples. Implements `learning.task.Task`.

    A candidate stays a recipe on the common model: only what a member measures differs. `data_digest` is that of the whole,
    which the network file names, and the metrics are the whole's, over its test data: people see the common model.
    """

    def __init__(self, task: Task, rows: Int64Array) -> None:
        """`rows`: the member's own, at least one, as of `learning.tasks.shards.rows_for`; batches are rows, too."""
        assert len(rows), "a member without samples"
        self.name, self.layout, self.data_digest = task.name, task.layout, task.data_digest
        self._task = task
        self._rows = rows

    def draw_batch(self, seed: bytes) -> Int64Array:
        """Our rows of the task's batch; of large data that is a part, and others of ours are added until it is as long."""
        batch = self._task.draw_batch(seed)
        drawn = batch[np.isin(batch, self._rows)]
        missing = min(len(batch), len(self._rows)) - len(drawn)
        if missing <= 0:
            return drawn
        others = np.setdiff1d(self._rows, drawn, assume_unique=True)
        return np.concatenate((drawn, others[permutation(seed, len(others))[:missing]]))

    def scores(self, candidates: Float32Array, batch: Int64Array) -> Float64Array:
        """The task's own."""
        return self._task.scores(candidates, batch)

    def fitness(self, parameters: Float32Array, batch: Int64Array) -> float:
        """The task's own."""
        return self._task.fitness(parameters, batch)

    def metrics(self, parameters: Float32Array) -> Mapping[str, float]:
        """The task's own, over its test data."""
        return self._task.metrics(parameters)
