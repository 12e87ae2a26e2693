"""A user's task that misbehaves is named, with the method and what was expected.

A user's gradient that misbehaves is named, with the method and what was expected.
"""

from collections.abc import Callable, Mapping

import numpy as np
import pytest

from learning.checked_task import checked_differentiable
from learning.task import Float32Array, Float64Array, Int64Array, Minibatch, ParameterBlock, TaskError, differentiable
from learning.task_check import check_gradient, check_repeatable, check_task
from learning.tasks.digits import digits_cnn, digits_mlp
from tests.learning.sphere import SphereTask


class RaisingTask(SphereTask):
    def scores(self, candidates: Float32Array, batch: Int64Array) -> Float64Array:
        raise ZeroDivisionError("by zero")


class WrongShapeTask(SphereTask):
    def scores(self, candidates: Float32Array, batch: Int64Array) -> Float64Array:
        return super().scores(candidates, batch)[:, None]


class NotANumberTask(SphereTask):
    def fitness(self, parameters: Float32Array, batch: Int64Array) -> float:
        return float("nan")


class WrongBatchTask(SphereTask):
    def draw_batch(self, seed: bytes) -> Int64Array:
        return np.zeros(0, dtype=np.int64)


class TextMetricsTask(SphereTask):
    def metrics(self, parameters: Float32Array) -> Mapping[str, float]:
        return {"accuracy": "high"}  # type: ignore[dict-item]  # the fault under test


class EmptyBlockTask(SphereTask):
    def __init__(self) -> None:
        super().__init__()
        self.layout = (ParameterBlock("nothing", (0, 3), 1),)


class ShortDigestTask(SphereTask):
    data_digest = b"short"


@pytest.mark.parametrize(
    ("task", "message"),
    [
        (RaisingTask(), "task 'sphere': scores raised ZeroDivisionError: by zero"),
        (WrongShapeTask(), r"task 'sphere': scores is float64 of shape \(2, 1\), expected a float64 vector of 2"),
        (NotANumberTask(), "task 'sphere': fitness is nan, expected a finite float within 1.15e\\+12 of 0"),
        (WrongBatchTask(), r"task 'sphere': draw_batch is int64 of shape \(0,\), expected a non-empty int64 vector"),
        (TextMetricsTask(), "task 'sphere': metrics raised ValueError"),
        (EmptyBlockTask(), "task 'sphere': layout is ParameterBlock.*expected lengths of 1 or more"),
        (ShortDigestTask(), "task 'sphere': data_digest is b'short', expected 32 bytes"),
    ],
)
def test_a_faulty_task_is_named(task: SphereTask, message: str) -> None:
    with pytest.raises(TaskError, match=message):
        check_task(task)


def test_a_sound_task_passes() -> None:
    assert check_task(SphereTask()).name == "sphere"


class Jittery(SphereTask):
    """Measures anew each time, a tenth off."""

    def fitness(self, parameters: Float32Array, batch: Int64Array) -> float:
        return super().fitness(parameters, batch) * (1 + 0.1 * (self.fitness_calls % 2))


def test_a_task_whose_measurements_differ_is_refused_where_others_measure_it_too() -> None:
    task = check_task(Jittery())
    batch = task.draw_batch(bytes(32))
    with pytest.raises(TaskError, match=r"two measurements of one model differ by \d+ micro-units, allowed is .* \(10\)"):
        check_repeatable(task, np.ones(20, dtype=np.float32), batch, 10)
    check_repeatable(check_task(SphereTask()), np.ones(20, dtype=np.float32), batch, 0)


Answer = Callable[[], object]


class OwnTask(SphereTask):
    """A task of somebody's own with a gradient, without torch."""

    @property
    def sample_labels(self) -> Int64Array:
        return np.zeros(64, dtype=np.int64)

    def minibatch(self, rows: Int64Array) -> Minibatch:
        return Minibatch(self._weights[rows], np.zeros(len(rows)))

    def gradient(self, parameters: Float32Array, minibatch: Minibatch) -> Float32Array:
        slope = 2 * (parameters - 0.25) * minibatch.inputs.mean(axis=0)
        return slope.astype(np.float32)


class NoLabels(OwnTask):
    sample_labels = np.zeros(64, dtype=np.float32)


class ListOfLabels(OwnTask):
    sample_labels = [0, 1, 2]


class HalfMinibatch(OwnTask):
    def minibatch(self, rows: Int64Array) -> Minibatch:
        return Minibatch(self._weights[rows], np.zeros(len(rows) - 1))


class DoublePrecision(OwnTask):
    def gradient(self, parameters: Float32Array, minibatch: Minibatch) -> Float32Array:
        return super().gradient(parameters, minibatch).astype(np.float64)


class WrongLength(OwnTask):
    def gradient(self, parameters: Float32Array, minibatch: Minibatch) -> Float32Array:
        return super().gradient(parameters, minibatch)[1:]


class NotANumber(OwnTask):
    def gradient(self, parameters: Float32Array, minibatch: Minibatch) -> Float32Array:
        return super().gradient(parameters, minibatch) * np.float32(np.nan)


class Flat(OwnTask):
    def gradient(self, parameters: Float32Array, minibatch: Minibatch) -> Float32Array:
        return np.zeros_like(parameters)


class Raising(OwnTask):
    def gradient(self, parameters: Float32Array, minibatch: Minibatch) -> Float32Array:
        raise ZeroDivisionError("by zero")


MINIBATCH = "a Minibatch of as many inputs and labels as the 8 rows"
GRADIENT = "a float32 vector of 20, one per parameter, all finite"


def test_sound_gradients_pass() -> None:
    for task in (digits_mlp(), digits_cnn(), OwnTask()):
        check_gradient(checked_differentiable(differentiable(task)))


@pytest.mark.parametrize(
    ("task", "message"),
    [
        (NoLabels(), "sample_labels is float32 of shape (64,), expected a non-empty int64 vector, one per training sample"),
        (ListOfLabels(), "sample_labels is list, expected a non-empty int64 vector, one per training sample"),
        (
            HalfMinibatch(),
            "minibatch is 8 inputs and 7 labels, expected a Minibatch of as many inputs and labels as the 8 rows",
        ),
        (DoublePrecision(), f"gradient is float64 of shape (20,), expected {GRADIENT}"),
        (WrongLength(), f"gradient is float32 of shape (19,), expected {GRADIENT}"),
        (NotANumber(), f"gradient has a value that is not finite, expected {GRADIENT}"),
        (Flat(), "gradient of a first model is zero everywhere, so nothing could be learned"),
        (Raising(), f"gradient raised ZeroDivisionError: by zero, expected {GRADIENT}"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_faulty_gradient_is_named(task: OwnTask, message: str) -> None:
    with pytest.raises(TaskError) as raised:
        check_gradient(checked_differentiable(differentiable(task)))
    assert str(raised.value) == f"task 'sphere': {message}"
