"""Measurements that differ: from peer to peer, or from call to call."""

from itertools import pairwise

import numpy as np
import pytest

from learning.task import TaskError
from learning.task_check import check_task
from learning.tasks.noisy import NoisyTask, StochasticTask
from tests.learning.sphere import SphereTask

POINT = np.zeros(20, dtype=np.float32)


def test_noise_is_within_its_bounds_and_spread_over_them() -> None:
    sphere = SphereTask()
    batch = sphere.draw_batch(bytes(32))
    exact = sphere.fitness(POINT, batch)
    measured = [NoisyTask(sphere, bytes([peer]), 1e-3).fitness(POINT, batch) for peer in range(200)]
    deviations = np.array(measured) / exact - 1
    assert (np.abs(deviations).max() <= 1e-3, abs(deviations.mean()) < 1e-4) == (True, True)
    assert 0.4e-3 < deviations.std() < 0.75e-3  # 1e-3 / sqrt(3)


def test_a_peer_measures_the_same_again_and_another_model_with_other_noise() -> None:
    task = NoisyTask(SphereTask(), b"peer", 1e-3)
    batch = task.draw_batch(bytes(32))
    assert task.fitness(POINT, batch) == task.fitness(POINT.copy(), batch)
    shares = [task.fitness(point, batch) / SphereTask().fitness(point, batch) for point in (POINT, POINT + 1)]
    assert shares[0] != shares[1]


def test_without_noise_nothing_changes() -> None:
    task = NoisyTask(SphereTask(), b"peer", 0)
    batch = task.draw_batch(bytes(32))
    assert task.fitness(POINT, batch) == SphereTask().fitness(POINT, batch)


def test_a_stochastic_fitness_differs_from_call_to_call_around_the_same_mean() -> None:
    task = StochasticTask(SphereTask(), b"peer", 12)
    batch = task.draw_batch(bytes(32))
    measured = [task.fitness(POINT, batch) for _ in range(300)]
    assert all(one != other for one, other in pairwise(measured))
    assert np.mean(measured) == pytest.approx(SphereTask().fitness(POINT, batch), rel=0.01)


def test_a_stochastic_fitness_over_all_samples_is_exact() -> None:
    task = StochasticTask(SphereTask(), b"peer", 1_000)
    batch = task.draw_batch(bytes(32))
    assert task.fitness(POINT, batch) == pytest.approx(SphereTask().fitness(POINT, batch), rel=1e-12)


def test_the_network_sees_the_task_itself() -> None:
    for task in (NoisyTask(SphereTask(), b"peer", 1e-3), StochasticTask(SphereTask(), b"peer", 3)):
        checked = check_task(task)
        assert (checked.name, checked.data_digest, checked.layout) == ("sphere", bytes(range(32)), SphereTask().layout)


def test_settings_out_of_range_are_named() -> None:
    with pytest.raises(TaskError, match=r"task 'sphere': relative_noise is 1\.5, allowed 0\.\.1"):
        NoisyTask(SphereTask(), b"peer", 1.5)
    with pytest.raises(TaskError, match="task 'sphere': samples is 0, allowed 1 or more"):
        StochasticTask(SphereTask(), b"peer", 0)
