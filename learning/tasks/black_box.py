"""Search for the best point of a function that cannot be differentiated, or of which nothing is known."""

import hashlib
from collections.abc import Callable, Mapping

import numpy as np

from learning.task import Float32Array, Float64Array, Int64Array, Layout, ParameterBlock, TaskError

PointFunction = Callable[[Float64Array], Float64Array]
"""Points (count, dimension) -> values (count,), lower is better."""

ROSENBROCK_DIMENSION = 10


class BlackBoxTask:
    """Minimise a function of many points at once. Implements `learning.task.Task`; there is nothing to sample."""

    def __init__(self, name: str, dimension: int, function: PointFunction, *, start_radius: int = 0, version: int = 1) -> None:
        """`start_radius` 1 starts at a random point of [-1, 1)^dimension, 0 at the origin. `version`: raise it when
        `function` changes, so that peers with another one are refused.

        Raises TaskError when `dimension` is below 1 or `start_radius` neither 0 nor 1.
        """
        if dimension < 1 or start_radius not in {0, 1}:
            raise TaskError(f"task {name!r}: dimension {dimension}, start_radius {start_radius}; allowed: 1 or more, 0 or 1")
        self.name = name
        self.layout: Layout = (ParameterBlock("point", (dimension,), start_radius),)
        self.data_digest = description_digest("black-box", name, str(dimension), str(start_radius), str(version))
        self._function = function

    def draw_batch(self, seed: bytes) -> Int64Array:  # noqa: ARG002  # part of the contract
        """One sample, the function itself."""
        return np.zeros(1, dtype=np.int64)

    def scores(self, candidates: Float32Array, batch: Int64Array) -> Float64Array:  # noqa: ARG002
        """Minus the function's value, (count, dimension) -> (count,). Raises TaskError on a wrong shape."""
        values = np.asarray(self._function(candidates.astype(np.float64)), dtype=np.float64)
        if values.shape != (len(candidates),):
            raise TaskError(f"task {self.name!r}: function gave shape {values.shape}, expected ({len(candidates)},)")
        return -values

    def fitness(self, parameters: Float32Array, batch: Int64Array) -> float:
        """Minus the function's value."""
        return float(self.scores(parameters[None], batch)[0])

    def metrics(self, parameters: Float32Array) -> Mapping[str, float]:
        """`value` of the function."""
        return {"value": -self.fitness(parameters, self.draw_batch(b""))}


class ScoreTask:
    """A user's own score of one candidate at a time: the last resort, for models that are not torch's. Implements `Task`."""

    def __init__(self, name: str, layout: Layout, score: Callable[[Float32Array], float], data_digest: bytes) -> None:
        """`score`: parameters (size of the layout,) -> fitness, higher is better. `data_digest`: 32 bytes over all it reads."""
        self.name = name
        self.layout = layout
        self.data_digest = data_digest
        self._score = score

    def draw_batch(self, seed: bytes) -> Int64Array:  # noqa: ARG002
        """One sample: the score decides by itself what it looks at."""
        return np.zeros(1, dtype=np.int64)

    def scores(self, candidates: Float32Array, batch: Int64Array) -> Float64Array:
        """The score of each row, (count, parameters) -> (count,)."""
        return np.array([self.fitness(candidate, batch) for candidate in candidates], dtype=np.float64)

    def fitness(self, parameters: Float32Array, batch: Int64Array) -> float:  # noqa: ARG002
        """The score."""
        return float(self._score(parameters))

    def metrics(self, parameters: Float32Array) -> Mapping[str, float]:
        """`score`."""
        return {"score": float(self._score(parameters))}


def rosenbrock() -> BlackBoxTask:
    """Rosenbrock's valley (Computer Journal 3, 1960) in ten dimensions: least, 0, at (1, ..., 1)."""
    return BlackBoxTask("rosenbrock", ROSENBROCK_DIMENSION, rosenbrock_value, start_radius=1)


def rosenbrock_value(points: Float64Array) -> Float64Array:
    """sum over i of 100 (x_{i+1} - x_i^2)^2 + (1 - x_i)^2, (count, dimension) -> (count,)."""
    here, after = points[:, :-1], points[:, 1:]
    slope = after - here * here
    distance = 1.0 - here
    value: Float64Array = (100.0 * slope * slope + distance * distance).sum(axis=1)
    return value


def description_digest(*parts: str) -> bytes:
    """BLAKE2b-256 of a task that has no data but its description; 32 bytes."""
    return hashlib.blake2b("\n".join(("kubrat/task/1", *parts)).encode(), digest_size=32).digest()
