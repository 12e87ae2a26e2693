"""The gradient is the slope of the fitness that everybody measures, for any torch model and loss."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn

from learning.exact import first_weights, stream_key
from learning.models.trainable import trainable_model
from learning.task import DifferentiableTask, Float32Array, Minibatch, TaskError, differentiable
from learning.tasks.black_box import ScoreTask, rosenbrock
from learning.tasks.digits import convolutional, digits_mlp, perceptron
from learning.tasks.heterogeneous import ShardedTask
from learning.tasks.supervised import ModelGradient, Samples, SupervisedTask

GENERATOR = np.random.default_rng(21)
IMAGES = GENERATOR.uniform(size=(40, 64)).astype(np.float32)
CLASSES = GENERATOR.integers(0, 10, 40)
ROWS = np.array([3, 39, 7, 7, 0, 12, 25, 31])


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(64, 64)
        self.outer = nn.Linear(64, 10)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.outer(inputs + torch.sin(self.inner(inputs)))


def tied() -> nn.Module:
    layer = nn.Linear(64, 64)
    return nn.Sequential(layer, nn.Tanh(), layer, nn.Tanh(), nn.Linear(64, 10))


def normalised() -> nn.Module:
    model = nn.Sequential(nn.Linear(64, 12), nn.BatchNorm1d(12), nn.Tanh(), nn.Dropout(0.5), nn.Linear(12, 10))
    model[1].running_mean += 0.3
    return model


MODELS: dict[str, Callable[[], nn.Module]] = {
    "perceptron": lambda: perceptron((64, 32, 10)),
    "convolutional": convolutional,
    "residual": Residual,
    "tied": tied,
    "normalised": normalised,
    "without bias": lambda: nn.Linear(64, 10, bias=False),
}


def task_of(model: nn.Module) -> SupervisedTask:
    samples = Samples(IMAGES, CLASSES)
    return SupervisedTask("mine", model, "cross_entropy", samples, samples)


def first_model(task: DifferentiableTask) -> Float32Array:
    """With biases and norms that are not zero, which is where first weights start them."""
    first = first_weights(stream_key(b"test"), task.layout)
    return first + np.random.default_rng(2).normal(0, 0.05, len(first)).astype(np.float32)


def slopes(task: DifferentiableTask, parameters: Float32Array, directions: Float32Array) -> np.ndarray:
    """(loss after - loss before) / 2 along each direction, from the float64 fitness; and what the gradient says of it."""
    gradient = task.gradient(parameters, task.minibatch(ROWS)).astype(np.float64)
    found = []
    for direction in directions:
        before, after = parameters - direction, parameters + direction
        measured = task.fitness(before, ROWS) - task.fitness(after, ROWS)
        found.append((measured, (after.astype(np.float64) - before) @ gradient))
    return np.array(found)


@pytest.mark.parametrize("make", MODELS.values(), ids=MODELS)
def test_along_any_direction_the_fitness_falls_as_the_gradient_says(make: Callable[[], nn.Module]) -> None:
    task = task_of(make())
    parameters = first_model(task)
    directions = np.float32(2.0**-21) * np.sign(np.random.default_rng(5).normal(size=(20, len(parameters)))).astype(np.float32)
    measured, expected = slopes(task, parameters, directions).T
    np.testing.assert_allclose(measured, expected, rtol=2e-3, atol=1e-3 * np.abs(expected).max())
    assert np.abs(expected).min() > 0


@pytest.mark.parametrize("make", [MODELS["convolutional"], MODELS["tied"]], ids=["convolutional", "tied"])
def test_every_parameter_has_its_own_place_in_the_gradient(make: Callable[[], nn.Module]) -> None:
    task = task_of(make())
    parameters = first_model(task)
    ends = np.cumsum([block.size for block in task.layout])
    places = [place for end, block in zip(ends, task.layout, strict=True) for place in (end - block.size, end - 1)]
    directions = np.zeros((len(places), len(parameters)), dtype=np.float32)
    directions[np.arange(len(places)), places] = 2.0**-16
    measured, expected = slopes(task, parameters, directions).T
    np.testing.assert_allclose(measured, expected, rtol=2e-3, atol=1e-10)
    assert (expected != 0).sum() > len(places) // 2


def test_any_loss_per_sample_has_a_gradient() -> None:
    def absolute_cubed(outputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return (outputs[:, 0] - labels).abs().pow(3)

    samples = Samples(IMAGES.astype(np.float64), IMAGES.sum(axis=1, dtype=np.float64))
    task = SupervisedTask("sum", nn.Linear(64, 1), absolute_cubed, samples, samples)
    measured, expected = slopes(task, first_model(task), np.eye(65, dtype=np.float32) * np.float32(2.0**-12)).T
    np.testing.assert_allclose(measured, expected, rtol=2e-3)
    assert task.sample_labels.tolist() == [0] * 40


def test_many_labels_a_sample_have_a_gradient_and_no_class() -> None:
    model = nn.Sequential(nn.Linear(64, 30), nn.Unflatten(1, (3, 10)))
    samples = Samples(IMAGES, GENERATOR.integers(0, 10, (40, 3)))
    task = SupervisedTask("words", model, "cross_entropy", samples, samples)
    directions = np.float32(2.0**-13) * np.sign(GENERATOR.normal(size=(5, 1_950))).astype(np.float32)
    measured, expected = slopes(task, first_model(task), directions).T
    np.testing.assert_allclose(measured, expected, rtol=2e-3, atol=1e-6)
    assert task.sample_labels.tolist() == [0] * 40


def test_a_closed_form_is_met_exactly_where_floats_are_exact() -> None:
    def half_square(outputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return (outputs[:, 0] - labels).square() / 2

    gradient = ModelGradient(nn.Linear(2, 1), half_square)
    minibatch = Minibatch(np.array([[1, 2], [3, 4]], dtype=np.float32), np.array([0, 1], dtype=np.float32))
    found = gradient.of(np.array([2, -1, 0.5], dtype=np.float32), minibatch)  # outputs 0.5 and 2.5, errors 0.5 and 1.5
    assert (found.tolist(), found.dtype) == ([2.5, 3.5, 1.0], np.dtype(np.float32))


def test_what_is_frozen_has_no_gradient_and_what_is_unused_one_of_zeros() -> None:
    class Half(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.frozen, self.used, self.unused = nn.Linear(64, 4), nn.Linear(4, 10), nn.Linear(5, 5)
            self.frozen.requires_grad_(False)

        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            return self.used(self.frozen(inputs))

    task = task_of(Half())
    gradient = task.gradient(first_model(task), task.minibatch(ROWS))
    assert [block.size for block in task.layout] == [40, 10, 25, 5]
    assert [bool(part.any()) for part in np.split(gradient, [50])] == [True, False]


def test_a_model_whose_outputs_depend_on_nothing_has_a_gradient_of_zeros() -> None:
    class Constant(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.unused = nn.Linear(3, 2)

        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            return torch.zeros(len(inputs), 10)

    task = task_of(Constant())
    assert task.gradient(first_model(task), task.minibatch(ROWS)).tolist() == [0.0] * 8


def test_a_gradient_that_is_no_number_is_returned_as_it_is() -> None:
    task = task_of(nn.Linear(64, 10))
    parameters = first_model(task)
    parameters[5] = np.nan
    assert np.isnan(task.gradient(parameters, task.minibatch(ROWS))).any()


def test_the_model_of_the_user_and_the_parameters_stay_as_they_were() -> None:
    model = perceptron((64, 32, 10))
    before = [parameter.detach().clone() for parameter in model.parameters()]
    task = task_of(model)
    parameters = first_model(task)
    parameters.setflags(write=False)
    copy = parameters.copy()
    first, again = (task.gradient(parameters, task.minibatch(ROWS)) for _ in range(2))
    assert first.tobytes() == again.tobytes()
    assert parameters.tobytes() == copy.tobytes()
    assert all(torch.equal(old, new) for old, new in zip(before, model.parameters(), strict=True))


def test_a_minibatch_is_a_copy_of_its_rows() -> None:
    task = task_of(nn.Linear(64, 10))
    minibatch = task.minibatch(ROWS)
    assert minibatch.inputs.tobytes() == IMAGES[ROWS].tobytes()
    assert minibatch.labels.tolist() == CLASSES[ROWS].tolist()
    assert task.sample_labels.tolist() == CLASSES.tolist()
    minibatch.inputs.fill(0)
    minibatch.labels.fill(0)
    task.sample_labels.fill(0)
    assert task.minibatch(ROWS).labels.tolist() == task.sample_labels[ROWS].tolist() == CLASSES[ROWS].tolist()
    assert task.minibatch(ROWS).inputs.any()


@pytest.mark.parametrize(
    ("minibatch", "message"),
    [
        (Minibatch(IMAGES[:4, :9], CLASSES[:4]), "its loss cannot be differentiated: .*shapes cannot be multiplied"),
        (Minibatch(IMAGES[:4], CLASSES[:3]), "its loss cannot be differentiated: .*batch_size"),
        (Minibatch(IMAGES[:4], CLASSES[:4] + 90), "its loss cannot be differentiated: Target 9[0-9] is out of bounds"),
    ],
)
def test_samples_that_do_not_fit_are_named(minibatch: Minibatch, message: str) -> None:
    task = task_of(nn.Linear(64, 10))
    with pytest.raises(TaskError, match=f"task 'mine': {message}"):
        task.gradient(first_model(task), minibatch)


def test_a_loss_without_one_value_per_sample_is_named() -> None:
    gradient = ModelGradient(nn.Linear(64, 10), lambda outputs, labels: outputs)
    with pytest.raises(TaskError, match=r"loss has shape \(4, 10\), expected \(4,\): one value per sample"):
        gradient.of(np.zeros(650, dtype=np.float32), Minibatch(IMAGES[:4], CLASSES[:4]))


def test_an_operation_without_a_derivative_is_named() -> None:
    class Overwriting(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(64, 10)

        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            outputs = torch.exp(self.layer(inputs))
            outputs += 1  # autograd needs the exponential that is overwritten here
            return outputs

    task = task_of(Overwriting())
    with pytest.raises(TaskError, match=r"task 'mine': its loss cannot be differentiated: .*inplace operation"):
        task.gradient(first_model(task), task.minibatch(ROWS))


def test_a_task_without_a_gradient_says_what_to_use_instead() -> None:
    own = ScoreTask("own", trainable_model("own", nn.Linear(1, 1)).layout, lambda parameters: 0.0, bytes(32))
    for task in (rosenbrock(), own, ShardedTask(digits_mlp(), ROWS)):
        with pytest.raises(TaskError) as raised:
            differentiable(task)
        assert str(raised.value) == f"task '{task.name}' has no gradient; use learning = \"evolution\""


def test_a_supervised_task_is_its_own_differentiable_task() -> None:
    task = task_of(nn.Linear(64, 10))
    assert differentiable(task) is task


def test_steps_against_the_gradient_learn_to_read() -> None:
    task = digits_mlp()
    parameters = first_weights(stream_key(b"test"), task.layout)
    generator = np.random.default_rng(1)
    for _ in range(300):
        rows = generator.integers(0, len(task.sample_labels), 32)
        parameters = parameters - np.float32(0.3) * task.gradient(parameters, task.minibatch(rows))
    assert task.metrics(parameters)["test_accuracy"] > 0.93
