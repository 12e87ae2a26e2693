"""Tasks whose measurements differ from peer to peer, or from call to call: noise, chance, private data.

For a total order: proof of work compares claims.
"""

import hashlib
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

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


BATCHES_DRAWN_MAX = 64
"""A shard of a twentieth misses eight episodes two times in three, and all of so many batches never."""

SHARES_MAX = 10_000
"""In all: a shard of less than a ten-thousandth holds no sample of the data sets at hand."""


class ShardedTask:
    """A task restricted to the samples (or episodes) of one shard. Implements `learning.task.Task`.

    A sample's shard depends on its index alone, at random as far as the data is concerned; so the shards are disjoint, need no
    list, and together hold everything. A candidate stays a recipe on the common model: only what a member measures differs.
    `data_digest` is that of the whole, which the network file names.
    """

    def __init__(self, task: Task, shard: int, shares: tuple[int, ...]) -> None:
        """`shares`: the relative sizes of all shards, e.g. (1, 1, 1, 1), or (6, 2, 1, 1); `shard`: ours, from 0.

        Raises TaskError when a share is below 1, their sum above SHARES_MAX, or there is no such shard.
        """
        if not 0 <= shard < len(shares):
            raise TaskError(f"task {task.name!r}: shard is {shard}, allowed 0..{len(shares) - 1}")
        if min(shares) < 1 or sum(shares) > SHARES_MAX:
            raise TaskError(f"task {task.name!r}: shares are {shares}, allowed 1 or more each, in sum {SHARES_MAX} or less")
        self.name, self.layout, self.data_digest = task.name, task.layout, task.data_digest
        self._task = task
        self._shares_before = sum(shares[:shard])
        self._share = shares[shard]
        self._shares = sum(shares)

    def draw_batch(self, seed: bytes) -> Int64Array:
        """Our part of the task's batch; where that is empty, of the next one that follows from the seed. Raises TaskError."""
        for _ in range(BATCHES_DRAWN_MAX):
            batch = self._task.draw_batch(seed)
            if len(own := batch[self._is_own(batch)]):
                return own
            seed = hashlib.blake2b(seed, digest_size=32).digest()
        raise TaskError(f"task {self.name!r}: no sample of our shard in {BATCHES_DRAWN_MAX} batches; is it too small?")

    def scores(self, candidates: Float32Array, batch: Int64Array) -> Float64Array:
        """The task's own."""
        return self._task.scores(candidates, batch)

    def fitness(self, parameters: Float32Array, batch: Int64Array) -> float:
        """The task's own."""
        return self._task.fitness(parameters, batch)

    def metrics(self, parameters: Float32Array) -> Mapping[str, float]:
        """The task's own, over its test data."""
        return self._task.metrics(parameters)

    def _is_own(self, batch: Int64Array) -> npt.NDArray[np.bool_]:
        ticket = _mix(batch.astype(np.uint64)) % np.uint64(self._shares)
        is_own: npt.NDArray[np.bool_] = (ticket >= self._shares_before) & (ticket < self._shares_before + self._share)
        return is_own


def _mix(values: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """SplitMix64's output function (Steele, Lea, Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014)."""
    state = values * np.uint64(0x9E3779B97F4A7C15)
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return state ^ (state >> np.uint64(31))
