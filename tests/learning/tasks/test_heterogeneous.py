"""Measurements that differ: from peer to peer, or from call to call.

A shard: its member's samples and no others.
"""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from learning.exact import permutation
from learning.task import Int64Array, TaskError
from learning.task_check import check_task
from learning.tasks.heterogeneous import NoisyTask, ShardedTask, StochasticTask
from learning.tasks.shards import parse_shards, rows_for
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


class WideTask(SphereTask):
    """Draws what it is told to."""

    def __init__(self, batch: list[int]) -> None:
        super().__init__()
        self._batch = batch

    def draw_batch(self, seed: bytes) -> Int64Array:
        return np.array(self._batch, dtype=np.int64)


def sharded(batch: list[int], rows: list[int]) -> list[int]:
    task = ShardedTask(WideTask(batch), np.array(rows, dtype=np.int64))
    return [int(row) for row in task.draw_batch(bytes(32))]


@given(members=st.integers(1, 9), text=st.sampled_from(["iid", "dirichlet:0.5"]), seed=st.binary(min_size=32, max_size=32))
def test_of_a_batch_of_all_samples_each_member_has_its_shard_in_the_batch_s_order(members: int, text: str, seed: bytes) -> None:
    batch = permutation(seed, 200)
    labels = np.arange(200, dtype=np.int64) % 7
    shards = [rows_for(labels, parse_shards(text), members, number, seed) for number in range(members)]
    drawn = [ShardedTask(WideTask(list(batch)), rows).draw_batch(seed) for rows in shards]
    assert [sorted(own) for own in drawn] == [list(rows) for rows in shards]
    assert all((np.diff(np.argsort(batch)[own]) > 0).all() for own in drawn)


def test_of_large_data_a_member_draws_as_many_samples_as_the_batch_has() -> None:
    drawn = sharded([5, 9, 13, 2, 77, 40], [1, 2, 3, 4, 9, 50, 51, 52])
    assert (drawn[:2], len(set(drawn)), set(drawn) <= {1, 2, 3, 4, 9, 50, 51, 52}) == ([9, 2], 6, True)
    assert sharded([5, 9, 13, 2, 77, 40], [1, 2, 3, 4, 9, 50, 51, 52]) == drawn


def test_a_member_with_fewer_samples_than_a_batch_draws_all_of_them() -> None:
    assert sharded([5, 9, 13, 2, 77, 40], [2, 8])[0] == 2
    assert sorted(sharded([5, 9, 13, 2, 77, 40], [2, 8])) == [2, 8]
    assert sorted(sharded([5, 9], [7, 8])) == [7, 8]


def test_the_network_sees_the_whole_task() -> None:
    checked = check_task(ShardedTask(SphereTask(), np.arange(3)))
    assert (checked.name, checked.data_digest, checked.layout) == ("sphere", bytes(range(32)), SphereTask().layout)
    assert checked.metrics(POINT) == SphereTask().metrics(POINT)
