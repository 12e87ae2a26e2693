"""A peer's own samples come in epochs: each once before any comes again."""

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from learning.task import Int64Array
from learning.tasks.own_samples import OwnSamples
from learning.tasks.supervised import Samples, SupervisedTask

INPUTS = np.arange(400, dtype=np.float32).reshape(100, 4)
DATA = Samples(INPUTS, np.arange(100) % 3)
TASK = SupervisedTask("mine", nn.Linear(4, 3), "cross_entropy", DATA, DATA)


def some_rows(count: int) -> Int64Array:
    return np.arange(count, dtype=np.int64) * 2 + 1


@given(count=st.integers(1, 50), size=st.integers(1, 40), seed=st.binary(max_size=32))
def test_each_epoch_of_minibatches_holds_every_row_once(count: int, size: int, seed: bytes) -> None:
    samples = OwnSamples(TASK, some_rows(count), seed)
    drawn = [samples.draw(turn, size) for turn in range(-(-3 * count // size))]
    assert {len(rows) for rows in drawn} == {size}
    together = np.concatenate(drawn)
    epochs = [sorted(together[start : start + count]) for start in (0, count, 2 * count)]
    assert epochs == [list(some_rows(count))] * 3


def test_epochs_differ_from_each_other_and_from_another_peers() -> None:
    mine, others = OwnSamples(TASK, some_rows(40), b"mine"), OwnSamples(TASK, some_rows(40), b"other")
    epochs = [mine.draw(turn, 40).tolist() for turn in range(3)] + [others.draw(0, 40).tolist()]
    assert all(first != second for first, second in pairwise(sorted(epochs)))


@given(turns=st.lists(st.integers(0, 200), max_size=20), size=st.integers(1, 40))
def test_a_turn_gives_its_rows_whatever_was_drawn_before(turns: list[int], size: int) -> None:
    used = OwnSamples(TASK, some_rows(17), b"seed")
    for turn in turns:
        assert used.draw(turn, size).tolist() == OwnSamples(TASK, some_rows(17), b"seed").draw(turn, size).tolist()


def test_a_minibatch_holds_the_samples_of_the_rows_drawn() -> None:
    samples = OwnSamples(TASK, some_rows(30), b"seed")
    minibatch, rows = samples.minibatch(4, 8), samples.draw(4, 8)
    assert minibatch.inputs.tolist() == INPUTS[rows].tolist()
    assert minibatch.labels.tolist() == (rows % 3).tolist()
