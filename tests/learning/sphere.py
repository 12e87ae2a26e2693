"""A task without a library: minus the squared distance to a point, over "samples" that weigh the parameters differently."""

from collections.abc import Mapping

import numpy as np

from learning.exact import permutation
from learning.task import Float32Array, Float64Array, Int64Array, ParameterBlock

SAMPLES = 64


class SphereTask:
    """Fitness: minus the mean, over the batch, of the weighted squared distance to 0.25 in every parameter."""

    name = "sphere"
    data_digest = bytes(range(32))

    def __init__(self, parameters: int = 20) -> None:
        self.layout = (ParameterBlock("point", (parameters,), 4),)
        self.fitness_calls = 0
        generator = np.random.Generator(np.random.Philox(key=5))
        self._weights = generator.uniform(0.5, 1.5, (SAMPLES, parameters))

    def draw_batch(self, seed: bytes) -> Int64Array:
        return permutation(seed, SAMPLES)[:48]

    def scores(self, candidates: Float32Array, batch: Int64Array) -> Float64Array:
        weights = self._weights[batch].mean(axis=0)
        scores: Float64Array = -(np.square(candidates.astype(np.float64) - 0.25) @ weights)
        return scores

    def fitness(self, parameters: Float32Array, batch: Int64Array) -> float:
        self.fitness_calls += 1
        return float(self.scores(parameters[None, :], batch)[0])

    def metrics(self, parameters: Float32Array) -> Mapping[str, float]:
        return {"distance": float(np.linalg.norm(parameters - 0.25))}
