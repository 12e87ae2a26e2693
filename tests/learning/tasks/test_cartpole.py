"""CartPole: the fast lockstep play and gymnasium's real environment give the same returns."""

import numpy as np
import pytest

from learning.exact import fill_children, first_weights, stream_key
from learning.task import Float32Array
from learning.task_check import check_task

pytest.importorskip("gymnasium")
from learning.tasks.cartpole import EPISODES, CartPoleTask, Policies


def random_policies(count: int) -> Float32Array:
    return np.random.default_rng(4).normal(size=(count, 226)).astype(np.float32)


def test_lockstep_and_the_real_environment_agree_and_repeat() -> None:
    task = CartPoleTask()
    policies = random_policies(40)
    batch = task.draw_batch(b"seed")
    scores = task.scores(policies, batch)
    assert scores.tolist() == [task.fitness(policy, batch) for policy in policies]
    assert scores.tolist() == CartPoleTask().scores(policies, batch).tolist()
    assert len(set(scores)) > 5


def test_more_candidates_than_are_played_at_once_keep_their_order() -> None:
    task = CartPoleTask()
    policies = random_policies(300)
    batch = task.draw_batch(b"seed")
    assert task.scores(policies, batch)[[0, 150, 299]].tolist() == task.scores(policies[[0, 150, 299]], batch).tolist()


def test_episodes_are_seeded_by_the_batch() -> None:
    task = CartPoleTask()
    first, again, other = (task.draw_batch(seed) for seed in (b"a", b"a", b"b"))
    assert first.tolist() == again.tolist() != other.tolist()
    assert (len(first), first.dtype, first.min() >= 0) == (EPISODES, np.int64, True)
    policy = random_policies(1)[0]
    single = [task.fitness(policy, first[index : index + 1]) for index in range(EPISODES)]
    assert task.fitness(policy, first) == np.mean(single)


def test_the_policy_is_the_network_of_the_layout() -> None:
    task = CartPoleTask()
    policy = random_policies(1)[0].astype(np.float64)
    hidden_weight, hidden_bias, output_weight, output_bias = np.split(policy, [128, 160, 224])
    observations = np.random.default_rng(1).normal(size=(4, 50))
    hidden = np.tanh(hidden_weight.reshape(32, 4) @ observations + hidden_bias[:, None])
    outputs = output_weight.reshape(2, 32) @ hidden + output_bias[:, None]
    copies = Policies.of(np.tile(policy.astype(np.float32), (50, 1)))
    assert copies.actions(observations).tolist() == outputs.argmax(axis=0).tolist()
    assert [block.size for block in task.layout] == [128, 32, 64, 2]


def test_a_few_generations_balance_the_pole() -> None:
    task = CartPoleTask()
    check_task(task)
    theta = first_weights(stream_key(b"test"), task.layout)
    children = np.empty((32, 226), dtype=np.float32)
    for generation in range(6):
        fill_children(children, theta, stream_key(b"noise", bytes([generation])), 0, np.float32(0.125))
        theta = children[np.argmax(task.scores(children, task.draw_batch(bytes([generation]))))].copy()
    assert task.metrics(theta)["mean_return"] > 300  # a pole that nobody balances falls within ten steps
