"""A user's gradient that misbehaves is named, with the method and what was expected."""

from collections.abc import Callable

import numpy as np
import pytest

from learning.task import Float32Array, Int64Array, Minibatch, TaskError, differentiable
from learning.tasks.digits import digits_cnn, digits_mlp
from learning.tasks.gradient_check import check_gradient
from tests.learning.sphere import SphereTask

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


def test_sound_gradients_pass() -> None:
    for task in (digits_mlp(), digits_cnn(), OwnTask()):
        check_gradient(differentiable(task))


@pytest.mark.parametrize(
    ("task", "message"),
    [
        (NoLabels(), "sample_labels is float32 of shape (64,), expected a non-empty int64 vector, one per training sample"),
        (ListOfLabels(), "sample_labels is list, expected a non-empty int64 vector, one per training sample"),
        (HalfMinibatch(), "minibatch of 8 rows is Minibatch, expected a Minibatch of as many inputs and labels"),
        (DoublePrecision(), "gradient is float64 of shape (20,), expected a float32 vector of 20, one per parameter"),
        (WrongLength(), "gradient is float32 of shape (19,), expected a float32 vector of 20, one per parameter"),
        (NotANumber(), "gradient of a first model has a value that is not finite"),
        (Flat(), "gradient of a first model is zero everywhere, so nothing could be learned"),
        (Raising(), "trying its gradient raised ZeroDivisionError: by zero"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_faulty_gradient_is_named(task: OwnTask, message: str) -> None:
    with pytest.raises(TaskError) as raised:
        check_gradient(differentiable(task))
    assert str(raised.value) == f"task 'sphere': {message}"
