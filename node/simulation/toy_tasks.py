"""Tasks that take microseconds, for simulations: a model learns them in some dozen steps, and no library is loaded."""

import hashlib
from collections.abc import Mapping
from enum import StrEnum

import numpy as np

from learning.exact import permutation
from learning.task import Float32Array, Float64Array, Int64Array, Layout, Minibatch, ParameterBlock, Task

SAMPLES = 64
"""Of either task's "data"; a scoring batch of the sphere takes three quarters of them."""

GOAL = 0.25
"""Where the best model lies, in every parameter."""


class ToyTask(StrEnum):
    """The names that a scenario may give."""

    SPHERE = "sphere"
    """Evolution only."""
    QUADRATIC = "quadratic"
    """Evolution or gradients."""


def toy_task(name: ToyTask) -> Task:
    """A new task of that name."""
    return SphereTask() if name is ToyTask.SPHERE else QuadraticTask()


class SphereTask:
    """Minus the squared distance to a point, over "samples" that weigh the parameters differently."""

    name = "sphere"

    def __init__(self, parameters: int = 20) -> None:
        self.layout: Layout = (ParameterBlock("point", (parameters,), 4),)
        generator = np.random.Generator(np.random.Philox(key=5))
        self._weights = generator.uniform(0.5, 1.5, (SAMPLES, parameters))
        self.data_digest = hashlib.blake2b(self._weights.tobytes(), digest_size=32).digest()

    def draw_batch(self, seed: bytes) -> Int64Array:
        """Three quarters of the samples."""
        return permutation(seed, SAMPLES)[: SAMPLES * 3 // 4]

    def scores(self, candidates: Float32Array, batch: Int64Array) -> Float64Array:
        """Of many candidates at once."""
        weights = self._weights[batch].mean(axis=0)
        scores: Float64Array = -(np.square(candidates.astype(np.float64) - GOAL) @ weights)
        return scores

    def fitness(self, parameters: Float32Array, batch: Int64Array) -> float:
        """Of one."""
        return float(self.scores(parameters[None, :], batch)[0])

    def metrics(self, parameters: Float32Array) -> Mapping[str, float]:
        """The distance to the goal."""
        return {"distance": float(np.linalg.norm(parameters - GOAL))}


class QuadraticTask:
    """Minus half the mean squared distance to samples that all lie near the goal; it has a gradient."""

    name = "quadratic"

    def __init__(self) -> None:
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
        return -float(np.square(self._exact[batch] - parameters).sum(axis=1).mean()) / 2

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
