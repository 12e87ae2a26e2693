"""The tasks of the comparison of strategies: digits with a part held back for validation, and what members see of a task."""

import hashlib
from collections.abc import Mapping
from functools import lru_cache

import numpy as np
from torch import nn

from learning.exact import permutation
from learning.task import DifferentiableTask, Float32Array, Float64Array, Int64Array, Task
from learning.tasks.data_sets import wines
from learning.tasks.digits import digits_samples, perceptron
from learning.tasks.loading import load_task
from learning.tasks.supervised import Samples, SupervisedTask

DIGITS_WIDTHS = {"digits": (64, 64, 10), "digits-large": (64, 256, 256, 10), "digits-million": (64, 968, 968, 10)}

TRAIN_SAMPLES = 1_150
"""Of the 1,437 digits that train elsewhere, whose order is random; the other 287 validate."""

WINE_TRAIN_SAMPLES = 140
"""Of 178."""


@lru_cache(maxsize=1)
def studied_task(name: str) -> Task:
    """By the name in a cell. Raises TaskError, e.g. where the user has no such files."""
    if name in DIGITS_WIDTHS:
        return ValidatedDigits(name)
    return wine() if name == "wine" else load_task(name)


def wine() -> SupervisedTask:
    """Tell three wines apart by 13 measurements (UCI, Forina, 1991): a model of 275 parameters."""
    inputs, labels = wines()
    order = permutation(b"kubrat/wine-split/1", len(labels))
    inputs = ((inputs - inputs.mean(0)) / inputs.std(0)).astype(np.float32)[order]
    labels = labels[order]
    train = Samples(inputs[:WINE_TRAIN_SAMPLES], labels[:WINE_TRAIN_SAMPLES])
    test = Samples(inputs[WINE_TRAIN_SAMPLES:], labels[WINE_TRAIN_SAMPLES:])
    model = nn.Sequential(nn.Linear(13, 16), nn.Tanh(), nn.Linear(16, 3))
    return SupervisedTask("wine", model, "cross_entropy", train, test)


class ValidatedDigits:
    """Digits with a fifth of the training samples held back: goals are judged on those. Implements `learning.task.Task`."""

    def __init__(self, name: str) -> None:
        samples, test = digits_samples()
        train = Samples(samples.inputs[:TRAIN_SAMPLES], samples.labels[:TRAIN_SAMPLES])
        held_back = Samples(samples.inputs[TRAIN_SAMPLES:], samples.labels[TRAIN_SAMPLES:])
        widths = DIGITS_WIDTHS[name]
        self.trained = SupervisedTask(name, perceptron(widths), "cross_entropy", train, held_back)
        self._tested = SupervisedTask(name, perceptron(widths), "cross_entropy", held_back, test)
        self.name, self.layout, self.data_digest = name, self.trained.layout, self.trained.data_digest

    def draw_batch(self, seed: bytes) -> Int64Array:
        """Of the samples that train."""
        return self.trained.draw_batch(seed)

    def scores(self, candidates: Float32Array, batch: Int64Array) -> Float64Array:
        """On the samples that train."""
        return self.trained.scores(candidates, batch)

    def fitness(self, parameters: Float32Array, batch: Int64Array) -> float:
        """On the samples that train."""
        return self.trained.fitness(parameters, batch)

    def metrics(self, parameters: Float32Array) -> Mapping[str, float]:
        """The test accuracy is told, and decides nothing."""
        validated = self.trained.metrics(parameters)
        return {
            "validation_accuracy": validated["test_accuracy"],
            "validation_loss": validated["test_loss"],
            "test_accuracy": self._tested.metrics(parameters)["test_accuracy"],
        }


def labels_of(task: Task) -> Int64Array:
    """The classes of the training samples, for shards."""
    trained = task.trained if isinstance(task, ValidatedDigits) else task
    assert isinstance(trained, DifferentiableTask), f"{task.name} has no samples to share out"
    return trained.sample_labels


class MeasuredOnce:
    """A task that measures nothing twice, however many members ask; counts what they ask for. Implements `Task`."""

    def __init__(self, task: Task) -> None:
        self.name, self.layout, self.data_digest = task.name, task.layout, task.data_digest
        self.sample_evaluations = 0
        """Models measured times samples, or episodes: the work of a network in which each member measures for itself."""
        self._task = task
        self._scores: dict[bytes, Float64Array] = {}
        self._fitness: dict[bytes, float] = {}
        self._metrics: dict[bytes, Mapping[str, float]] = {}

    def forget(self) -> None:
        """What was measured: nobody asks for it once a commit is read."""
        self._scores.clear()
        self._fitness.clear()
        self._metrics.clear()

    def draw_batch(self, seed: bytes) -> Int64Array:
        """The task's own."""
        return self._task.draw_batch(seed)

    def scores(self, candidates: Float32Array, batch: Int64Array) -> Float64Array:
        """The task's own."""
        self.sample_evaluations += len(candidates) * len(batch)
        key = _key(candidates, batch)
        if key not in self._scores:
            self._scores[key] = self._task.scores(candidates, batch)
        return self._scores[key]

    def fitness(self, parameters: Float32Array, batch: Int64Array) -> float:
        """The task's own."""
        self.sample_evaluations += len(batch)
        key = _key(parameters, batch)
        if key not in self._fitness:
            self._fitness[key] = self._task.fitness(parameters, batch)
        return self._fitness[key]

    def metrics(self, parameters: Float32Array) -> Mapping[str, float]:
        """The task's own; not counted."""
        key = _key(parameters)
        if key not in self._metrics:
            self._metrics[key] = self._task.metrics(parameters)
        return self._metrics[key]


def _key(*arrays: Float32Array | Int64Array) -> bytes:
    hasher = hashlib.blake2b(digest_size=16)
    for array in arrays:
        hasher.update(np.ascontiguousarray(array).data)
    return hasher.digest()
