"""Scored steps on handwritten digits: they learn fast, and f liars who lie in their scores, too, do not stop it."""

import numpy as np
import pytest
import torch

from learning.tasks.digits import digits_mlp
from learning.tasks.shards import parse_shards
from learning.tasks.supervised import SupervisedTask
from node.lab.faults.catalogue import Situation, make_conduct, parse_fault
from node.lab.faults.gradient.conduct import Conduct
from node.lab.studies.scored_arena import ScoredTrace, member_id, run_scored

GENERATIONS = 32
SEED = 2


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def task() -> SupervisedTask:
    return digits_mlp()


def run(
    task: SupervisedTask,
    members: int,
    liars: int,
    fault: str = "sign-flip",
    *,
    generations: int = GENERATIONS,
    lies_from: int = 0,
) -> ScoredTrace:
    """With the last ones lying."""
    ids = [member_id(number, SEED) for number in range(members)]
    numbers = range(members - liars, members)
    colluders = frozenset(ids[number] for number in numbers)
    conducts: dict[int, Conduct] = {
        number: make_conduct(parse_fault(fault), Situation(ids[number], colluders, task.layout, 10, number))
        for number in numbers
    }
    return run_scored(task, members, conducts, generations, SEED, parse_shards("iid"), lies_from=lies_from)


@pytest.mark.parametrize(("members", "liars"), [(4, 0), (4, 1), (7, 0), (7, 2)])
def test_digits_are_learned_with_and_without_f_sign_flippers(task: SupervisedTask, members: int, liars: int) -> None:
    trace = run(task, members, liars)
    generations = trace.generations_to(0.9)
    assert generations is not None
    assert generations <= 24
    assert trace.deliveries_to(0.9) == generations * members
    assert trace.last_accuracy > 0.9


@pytest.mark.parametrize("fault", ["label-flip", "alie", "ipm:epsilon=5", "random", "flood", "nan", "silent"])
def test_f_liars_of_any_kind_do_not_keep_the_others_from_learning(task: SupervisedTask, fault: str) -> None:
    assert run(task, 4, 1, fault).last_accuracy > 0.9


def test_equal_runs_are_equal() -> None:
    first, second = (run(digits_mlp(), 4, 1, generations=4) for _ in range(2))
    np.testing.assert_array_equal(first.parameters, second.parameters)
    assert (first.accuracy, first.deliveries, first.winners) == (second.accuracy, second.deliveries, second.winners)


def test_liars_are_honest_until_they_begin_to_lie(task: SupervisedTask) -> None:
    honest, late, early = (run(task, 4, 1, "random", generations=3, lies_from=at) for at in (100, 8, 0))
    assert late.accuracy[:3] == honest.accuracy[:3] != early.accuracy[:3]
    assert late.accuracy[3] != honest.accuracy[3]


def test_a_goal_that_was_never_reached_is_none(task: SupervisedTask) -> None:
    trace = run(task, 4, 0, generations=1)
    assert (trace.generations_to(0.99), trace.deliveries_to(0.99)) == (None, None)
    assert (len(trace.accuracy), trace.deliveries, trace.winners.total()) == (2, [0, 4], 1)
