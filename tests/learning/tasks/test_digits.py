"""The built-in digits are the same samples in the same split on every machine, and evolution learns to read them."""

from decimal import Decimal

import numpy as np

from learning.exact import fill_children, first_weights, permutation, round_factor, stream_key
from learning.models.candidates import candidate_rows
from learning.task_check import check_task
from learning.tasks.data_sets import handwritten_digits
from learning.tasks.digits import SPLIT_SEED, digits, digits_large


def test_the_split_is_1437_to_360_with_every_class_in_the_test() -> None:
    _, labels = handwritten_digits()
    order = permutation(SPLIT_SEED, len(labels))
    assert sorted(digits().draw_batch(b"any")) == list(range(1_437))
    assert np.bincount(labels[order[1_437:]]).tolist() == [38, 29, 35, 32, 41, 37, 38, 41, 27, 42]


def test_both_sizes_are_tasks() -> None:
    tasks = [digits(), digits_large()]
    assert [sum(block.size for block in task.layout) for task in tasks] == [4_810, 85_002]
    for task in tasks:
        check_task(task)


def test_twenty_generations_of_the_published_search_make_a_reader() -> None:
    task = digits()
    theta = first_weights(stream_key(b"test"), task.layout)
    children = candidate_rows(64, len(theta))
    for generation in range(20):
        seed = bytes([generation])
        fill_children(children, theta, stream_key(b"noise", seed), 0, round_factor(Decimal("0.03")))
        theta = children[np.argmax(task.scores(children, task.draw_batch(seed)[:256]))].copy()
    assert task.metrics(theta)["test_accuracy"] > 0.35  # a guess has 0.1
