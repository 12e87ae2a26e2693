"""Tasks that take microseconds, for simulations: a model learns them in some dozen steps, and no library is loaded."""

import hashlib
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

import numpy as np

from learning.exact import MICRO, permutation
from learning.task import Float32Array, Float64Array, Int64Array, Layout, Minibatch, ParameterBlock, Task

SAMPLES = 64
"""Of either task's "data"; a scoring batch of the sphere takes three quarters of them."""

BATCHES_REMEMBERED = 64
"""Those of the newest steps, on all branches."""

FITNESS_REMEMBERED = 8_192
"""Under 2 MB: what a crowd offers on top of some dozen steps."""

TASKS_REMEMBERED = 64
"""One for each processor of a large network."""

GOAL = 0.25
"""Where the best model lies, in every parameter."""


class ToyTask(StrEnum):
    """The names that a scenario may give."""

    SPHERE = "sphere"
    """Evolution only."""
    QUADRATIC = "quadratic"
    """Evolution or gradients."""


@dataclass(frozen=True, slots=True)
class Processor:
    """Adds up to `apart` micro-units to what it measures, as rounding does: always the same to one model."""

    seed: int = 0
    apart: int = 0

    def error(self, parameters: Float32Array) -> float:
        """What it adds to the fitness of this model."""
        return zlib.crc32(parameters.tobytes(), self.seed) % (self.apart + 1) / MICRO if self.apart else 0.0


EXACT = Processor()


@lru_cache(TASKS_REMEMBERED)
def toy_task(name: ToyTask, processor: Processor = EXACT) -> Task:
    """The task of that name, as this processor measures it.

    Its answers are pure functions and some are remembered: peers that share it measure one candidate once.
    """
    return SphereTask(processor=processor) if name is ToyTask.SPHERE else QuadraticTask(processor)


class SphereTask:
    """Minus the squared distance to a point, over "samples" that weigh the parameters differently."""

    name = "sphere"

    def __init__(self, parameters: int = 20, processor: Processor = EXACT) -> None:
        self._processor = processor
        self.layout: Layout = (ParameterBlock("point", (parameters,), 4),)
        generator = np.random.Generator(np.random.Philox(key=5))
        self._weights = generator.uniform(0.5, 1.5, (SAMPLES, parameters))
        self.data_digest = hashlib.blake2b(self._weights.tobytes(), digest_size=32).digest()
        self._batch_of = lru_cache(BATCHES_REMEMBERED)(self._draw)
        self._weights_of = lru_cache(BATCHES_REMEMBERED)(self._mean_weights)
        self._fitness_of = lru_cache(FITNESS_REMEMBERED)(self._measure)

    def draw_batch(self, seed: bytes) -> Int64Array:
        """Three quarters of the samples."""
        return self._batch_of(seed)

    def scores(self, candidates: Float32Array, batch: Int64Array) -> Float64Array:
        """Of many candidates at once."""
        weights = self._weights_of(batch.tobytes())
        errors = np.array([self._processor.error(candidate) for candidate in candidates])
        scores: Float64Array = errors - np.square(candidates.astype(np.float64) - GOAL) @ weights
        return scores

    def fitness(self, parameters: Float32Array, batch: Int64Array) -> float:
        """Of one."""
        return self._fitness_of(parameters.tobytes(), batch.tobytes())

    @staticmethod
    def _draw(seed: bytes) -> Int64Array:
        batch = permutation(seed, SAMPLES)[: SAMPLES * 3 // 4]
        batch.setflags(write=False)
        return batch

    def _mean_weights(self, batch: bytes) -> Float64Array:
        weights: Float64Array = self._weights[np.frombuffer(batch, dtype=np.int64)].mean(axis=0)
        return weights

    def _measure(self, parameters: bytes, batch: bytes) -> float:
        candidates = np.frombuffer(parameters, dtype=np.float32)[None, :]
        return float(self.scores(candidates, np.frombuffer(batch, dtype=np.int64))[0])

    def metrics(self, parameters: Float32Array) -> Mapping[str, float]:
        """The distance to the goal."""
        return {"distance": float(np.linalg.norm(parameters - GOAL))}


class QuadraticTask:
    """Minus half the mean squared distance to samples that all lie near the goal; it has a gradient."""

    name = "quadratic"

    def __init__(self, processor: Processor = EXACT) -> None:
        self._processor = processor
        self.layout: Layout = (ParameterBlock("weight", (4, 3), 4), ParameterBlock("bias", (3,), 0))
        generator = np.random.Generator(np.random.Philox(key=7))
        self._samples = generator.normal(GOAL, 0.1, (SAMPLES, 15)).astype(np.float32)
        self._exact = self._samples.astype(np.float64)
        self.data_digest = hashlib.blake2b(self._samples.tobytes(), digest_size=32).digest()

    @property
    def sample_labels(self) -> Int64Array:
        """All of one class: labels mean nothing here."""
        return np.zeros(SAMPLES, dtype=np.int64)

    def draw_batch(self, seed: bytes) -> Int64Array:
        """All samples."""
        return permutation(seed, SAMPLES)

    def scores(self, candidates: Float32Array, batch: Int64Array) -> Float64Array:
        """Of many candidates, one after the other."""
        return np.array([self.fitness(candidate, batch) for candidate in candidates])

    def fitness(self, parameters: Float32Array, batch: Int64Array) -> float:
        """Of one."""
        distance = float(np.square(self._exact[batch] - parameters).sum(axis=1).mean())
        return self._processor.error(parameters) - distance / 2

    def metrics(self, parameters: Float32Array) -> Mapping[str, float]:
        """The distance to the samples' mean."""
        return {"distance": float(np.linalg.norm(parameters - self._samples.mean(axis=0)))}

    def minibatch(self, rows: Int64Array) -> Minibatch:
        """Samples and their labels."""
        return Minibatch(self._samples[rows], np.zeros(len(rows), dtype=np.int64))

    def gradient(self, parameters: Float32Array, minibatch: Minibatch) -> Float32Array:
        """Of half the squared distance: the difference."""
        gradient: Float32Array = (parameters - minibatch.inputs.astype(np.float32)).mean(axis=0)
        return gradient
