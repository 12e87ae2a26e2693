"""A supervised task is its data, its model and its loss, and nothing else."""

import numpy as np
import pytest
import torch
from torch import nn

from learning.exact import first_weights, stream_key
from learning.task import ParameterBlock, TaskError
from learning.task_check import check_task
from learning.tasks.supervised import BATCH_SAMPLES_MAX, BATCHES_KEPT_MAX, Samples, SupervisedTask

GENERATOR = np.random.default_rng(8)
INPUTS = GENERATOR.normal(size=(50, 4)).astype(np.float32)
LABELS = GENERATOR.integers(0, 3, 50)
TRAIN, TEST = Samples(INPUTS[:40], LABELS[:40]), Samples(INPUTS[40:], LABELS[40:])

FLOAT32_TOLERANCE = 3e-7
"""Of batched scores in float32 against one candidate's fitness in float64: some units in the last place, on any processor."""


def small_model() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3))


def task_of(train: Samples = TRAIN, test: Samples = TEST) -> SupervisedTask:
    return SupervisedTask("mine", small_model(), "cross_entropy", train, test)


def test_a_task_passes_the_check_and_starts_from_its_layout() -> None:
    task = task_of()
    check_task(task)
    assert task.layout == (
        ParameterBlock("0.weight", (6, 4), 4),
        ParameterBlock("0.bias", (6,), 0),
        ParameterBlock("2.weight", (3, 6), 6),
        ParameterBlock("2.bias", (3,), 0),
    )


def test_a_small_training_set_is_drawn_whole_in_an_order_of_the_seed() -> None:
    task = task_of()
    first, again, other = (task.draw_batch(seed) for seed in (b"a", b"a", b"b"))
    assert first.dtype == np.int64
    assert sorted(first) == list(range(40))
    assert list(first) == list(again) != list(other)


def test_a_large_training_set_is_sampled_without_repetition() -> None:
    many = Samples(np.zeros((BATCH_SAMPLES_MAX + 500, 4), dtype=np.float32), np.zeros(BATCH_SAMPLES_MAX + 500, dtype=np.int64))
    batch = task_of(many).draw_batch(b"seed")
    assert len(set(batch)) == len(batch) == BATCH_SAMPLES_MAX
    assert batch.max() >= BATCH_SAMPLES_MAX > batch.min() >= 0


def test_fitness_depends_on_the_samples_of_the_batch_alone() -> None:
    task = task_of()
    parameters = first_weights(stream_key(b"test"), task.layout)
    single = [task.fitness(parameters, np.array([index])) for index in range(40)]
    batch = task.draw_batch(b"x")
    assert task.fitness(parameters, batch) == pytest.approx(np.mean(single), rel=1e-12)
    assert task.fitness(parameters, batch[:5]) == pytest.approx(np.mean([single[index] for index in batch[:5]]), rel=1e-12)
    scores = task.scores(np.stack([parameters, parameters]), batch[:5])
    np.testing.assert_allclose(scores, task.fitness(parameters, batch[:5]), rtol=FLOAT32_TOLERANCE)


def test_metrics_are_the_loss_and_the_share_of_right_answers_on_the_test_set() -> None:
    task = task_of()
    parameters = np.zeros(51, dtype=np.float32)
    parameters[-2] = 1.0  # the bias of class 1: it is always the answer
    share = float((TEST.labels == 1).mean())
    expected_loss = np.log(2 + np.e) - share
    assert task.metrics(parameters) == pytest.approx({"test_accuracy": share, "test_loss": expected_loss})


def test_prepared_batches_are_bounded_and_the_latest_are_kept() -> None:
    task = task_of()
    parameters = first_weights(stream_key(b"test"), task.layout)
    for number in range(30):
        task.fitness(parameters, task.draw_batch(bytes([number])))
    latest = [(True, task.draw_batch(bytes([number])).tobytes()) for number in range(30 - BATCHES_KEPT_MAX, 30)]
    assert list(task._prepared) == latest  # a batch that was forgotten is prepared again, and nobody sees it


def changed(labels: np.ndarray) -> np.ndarray:
    other = labels.copy()
    other[3] = (other[3] + 1) % 3
    return other


def test_every_part_of_the_task_is_in_its_digest() -> None:
    def wider() -> nn.Module:
        return nn.Sequential(nn.Linear(4, 7), nn.Tanh(), nn.Linear(7, 3))

    def leaky(slope: float) -> nn.Module:
        return nn.Sequential(nn.Linear(4, 6), nn.LeakyReLU(slope), nn.Linear(6, 3))

    def per_sample(outputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return outputs[:, 0] - labels

    tasks = [
        task_of(),
        task_of(Samples(TRAIN.inputs, changed(TRAIN.labels))),
        task_of(Samples(np.nextafter(TRAIN.inputs, np.float32(9)), TRAIN.labels)),
        task_of(test=Samples(TEST.inputs, changed(TEST.labels))),
        task_of(Samples(INPUTS[:41], LABELS[:41]), Samples(INPUTS[41:], LABELS[41:])),
        SupervisedTask("mine", wider(), "cross_entropy", TRAIN, TEST),
        SupervisedTask("mine", leaky(0.1), "cross_entropy", TRAIN, TEST),
        SupervisedTask("mine", leaky(0.2), "cross_entropy", TRAIN, TEST),
        SupervisedTask("mine", small_model(), per_sample, TRAIN, TEST),
    ]
    assert len({task.data_digest for task in tasks}) == len(tasks)
    assert task_of().data_digest == tasks[0].data_digest
    assert len(tasks[0].data_digest) == 32


def test_a_regression_has_no_accuracy() -> None:
    def squared_error(outputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return (outputs[:, 0] - labels).square()

    targets = INPUTS.sum(axis=1)
    task = SupervisedTask("sum", nn.Linear(4, 1), squared_error, Samples(INPUTS, targets), Samples(INPUTS, targets))
    check_task(task)
    perfect = np.array([1, 1, 1, 1, 0], dtype=np.float32)
    assert task.metrics(perfect) == pytest.approx({"test_loss": 0.0}, abs=1e-10)


@pytest.mark.parametrize(
    ("train", "message"),
    [
        (Samples(INPUTS[:3], LABELS[:4]), r"train has 3 inputs and 4 labels, expected as many of both"),
        (Samples(INPUTS[:0], LABELS[:0]), r"train has 0 inputs and 0 labels, expected .* at least one"),
        (Samples(INPUTS[:, :3], LABELS), r"the model does not run on its data: "),
        (Samples(INPUTS, LABELS + 1), r"train labels are torch.int64 1..3, expected integers 0..2, one per output"),
        (Samples(INPUTS, LABELS.astype(np.float32)), r"train labels are torch.float32 0.0..2.0, expected integers 0..2"),
    ],
)
def test_data_that_does_not_fit_is_named(train: Samples, message: str) -> None:
    with pytest.raises(TaskError, match=f"task 'mine': {message}"):
        task_of(train)


def test_an_input_that_is_no_number_is_found_by_the_check() -> None:
    inputs = TRAIN.inputs.copy()
    inputs[7, 2] = np.nan
    with pytest.raises(TaskError, match="task 'mine': scores of a first model is -inf, expected a finite number"):
        check_task(task_of(Samples(inputs, TRAIN.labels)))
