"""A differentiable task without a library, and where its gradients lie: half the squared distance to the samples."""

from collections.abc import Mapping
from functools import partial

import numpy as np

from learning.aggregation.quantised import quantise
from learning.exact import permutation
from learning.gradient.ledger import GradientSubmission, encode_submission
from learning.gradient.rules import GradientRules
from learning.gradient.worker import MakeWorker, Worker
from learning.learner import AuthoredPayload
from learning.task import Float32Array, Float64Array, Int64Array, Minibatch, ParameterBlock
from node.lab.faults.gradient.conduct import Conduct
from node.lab.faults.gradient.lying_learner import LyingWorker
from tests.learning.following.line_world import Shelf, attached, signed

SAMPLES = 64
CENTRE = 0.25


class QuadraticTask:
    """Fitness: minus the mean, over the batch, of half the squared distance to each sample, all close to 0.25."""

    name = "quadratic"
    data_digest = bytes(range(32))

    def __init__(self) -> None:
        self.layout = (ParameterBlock("weight", (4, 3), 4), ParameterBlock("bias", (3,), 0))
        generator = np.random.Generator(np.random.Philox(key=7))
        self._samples = generator.normal(CENTRE, 0.1, (SAMPLES, 15)).astype(np.float32)

    @property
    def sample_labels(self) -> Int64Array:
        return np.zeros(SAMPLES, dtype=np.int64)

    def draw_batch(self, seed: bytes) -> Int64Array:
        return permutation(seed, SAMPLES)

    def scores(self, candidates: Float32Array, batch: Int64Array) -> Float64Array:
        return np.array([self.fitness(candidate, batch) for candidate in candidates])

    def fitness(self, parameters: Float32Array, batch: Int64Array) -> float:
        return -float(np.square(self._samples[batch].astype(np.float64) - parameters).sum(axis=1).mean()) / 2

    def metrics(self, parameters: Float32Array) -> Mapping[str, float]:
        return {"distance": float(np.linalg.norm(parameters - self._samples.mean(axis=0)))}

    def minibatch(self, rows: Int64Array) -> Minibatch:
        return Minibatch(self._samples[rows], np.zeros(len(rows), dtype=np.int64))

    def gradient(self, parameters: Float32Array, minibatch: Minibatch) -> Float32Array:
        gradient: Float32Array = (parameters - minibatch.inputs.astype(np.float32)).mean(axis=0)
        return gradient


LAYOUT = QuadraticTask().layout


def rules(rule: str = "mean", **changes: object) -> GradientRules:
    values: dict[str, object] = {
        "rule": rule,
        "learning_rate": "0.1",
        "momentum": "0.5",
        "minibatch_size": 4,
        "bits": 16,
        "staleness_max": 6,
        "workers_window": 7,
        "shards": "whole",
        "shard_count": 0,
    }
    return GradientRules(**(values | changes))


def worker_with(conduct: Conduct | None) -> MakeWorker:
    return Worker if conduct is None else partial(LyingWorker, conduct=conduct)


def encoded_gradient(value: float) -> bytes:
    gradient = quantise(np.full(15, value, dtype=np.float32), LAYOUT, 16)
    assert gradient is not None
    return gradient.encoded


def submitted(  # noqa: PLR0917 - each is another thing
    author: bytes, base: int, base_digest: bytes, encoded: bytes, shelf: Shelf, step: bytes = b"s" * 32
) -> AuthoredPayload:
    """An honest submission of these bytes, as it comes out of the order."""
    digest, length = shelf.put(encoded)
    payload = encode_submission(GradientSubmission(base, base_digest, digest, length))
    return attached(signed(author, step, payload), (digest, length))
