"""Measurements that differ: from peer to peer, or from call to call.

Shards: disjoint, together everything, of the sizes asked for.
"""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from learning.task import Int64Array, TaskError
from learning.task_check import check_task
from learning.tasks.heterogeneous import NoisyTask, ShardedTask, StochasticTask
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
    """Draws what it is told to: many indices, as of large data, or few, as of episodes."""

    def __init__(self, batch: list[int]) -> None:
        super().__init__()
        self._batch = batch

    def draw_batch(self, seed: bytes) -> Int64Array:
        return np.array(self._batch, dtype=np.int64)


class EpisodicTask(SphereTask):
    """Draws another sample for each seed."""

    def draw_batch(self, seed: bytes) -> Int64Array:
        return np.array([int.from_bytes(seed[:4], "little")], dtype=np.int64)


@given(shares=st.lists(st.integers(1, 9), min_size=1, max_size=8).map(tuple), seed=st.binary(min_size=32, max_size=32))
def test_shards_are_disjoint_and_together_the_whole_batch(shares: tuple[int, ...], seed: bytes) -> None:
    whole = WideTask(list(range(2_000)))
    shards = [ShardedTask(whole, shard, shares).draw_batch(seed) for shard in range(len(shares))]
    assert sorted(np.concatenate(shards)) == list(range(2_000))


def test_shards_have_the_sizes_of_their_shares() -> None:
    whole = WideTask(list(range(20_000)))
    sizes = [len(ShardedTask(whole, shard, (6, 2, 1, 1)).draw_batch(bytes(32))) for shard in range(4)]
    assert sizes == pytest.approx([12_000, 4_000, 2_000, 2_000], rel=0.05)


def test_a_sample_stays_in_its_shard_and_the_order_is_the_tasks() -> None:
    forwards = ShardedTask(WideTask([5, 9, 13, 2, 77, 40]), 1, (1, 1)).draw_batch(bytes(32))
    backwards = ShardedTask(WideTask([40, 77, 2, 13, 9, 5]), 1, (1, 1)).draw_batch(bytes(32))
    assert 0 < len(forwards) < 6
    assert list(forwards) == list(backwards[::-1])


def test_where_a_batch_holds_nothing_of_ours_the_next_one_is_taken() -> None:
    tasks = [ShardedTask(EpisodicTask(), shard, (1, 1, 1, 1)) for shard in range(4)]
    batches = [task.draw_batch(bytes(32)) for task in tasks]
    assert len({int(batch[0]) for batch in batches}) == 4
    assert [list(task.draw_batch(bytes(32))) for task in tasks] == [list(batch) for batch in batches]


def test_a_shard_without_samples_is_a_fault_with_its_reason() -> None:
    tasks = [ShardedTask(WideTask([3]), shard, (1, 1)) for shard in range(2)]
    with pytest.raises(TaskError, match="no sample of our shard in 64 batches"):
        [task.draw_batch(bytes(32)) for task in tasks]


def test_the_network_sees_the_whole_task() -> None:
    checked = check_task(ShardedTask(SphereTask(), 0, (3, 1)))
    assert (checked.name, checked.data_digest, checked.layout) == ("sphere", bytes(range(32)), SphereTask().layout)


@pytest.mark.parametrize(
    ("shard", "shares", "message"),
    [
        (2, (1, 1), r"shard is 2, allowed 0\.\.1"),
        (-1, (1, 1), r"shard is -1, allowed 0\.\.1"),
        (0, (1, 0), r"shares are \(1, 0\), allowed 1 or more each"),
        (0, (10_000, 1), r"shares are \(10000, 1\), allowed 1 or more each, in sum 10000 or less"),
    ],
)
def test_shards_out_of_range_are_named(shard: int, shares: tuple[int, ...], message: str) -> None:
    with pytest.raises(TaskError, match=message):
        ShardedTask(SphereTask(), shard, shares)
