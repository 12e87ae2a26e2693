"""Shards: every sample once, a minimum each, alike or skewed as asked.

A peer's own samples come in epochs: each once before any comes again.
"""

from decimal import Decimal
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from learning.task import Int64Array, TaskError
from learning.tasks.digits import digits_mlp
from learning.tasks.shards import (
    SHARD_SAMPLES_MIN,
    SHARDS_ALLOWED,
    OwnSamples,
    ShardKind,
    Shards,
    parse_shards,
    rows_for,
    shard_of,
)
from learning.tasks.supervised import Samples, SupervisedTask

SEED = bytes(32)
ALPHAS = st.decimals(Decimal("0.01"), Decimal(100), places=2)
SEEDS = st.binary(min_size=32, max_size=32)


def all_shards(labels: Int64Array, shards: Shards, count: int, seed: bytes = SEED) -> list[Int64Array]:
    return [rows_for(labels, shards, count, index, seed) for index in range(count)]


def class_shares(labels: Int64Array, parts: list[Int64Array]) -> np.ndarray:
    """Of each shard's samples, the share of its commonest class."""
    return np.array([np.bincount(labels[part]).max() / len(part) for part in parts])


@pytest.mark.slow
@given(
    count=st.integers(1, 20),
    more=st.integers(0, 300),
    classes=st.integers(1, 12),
    shards=st.one_of(st.just(Shards(ShardKind.IID)), ALPHAS.map(lambda alpha: Shards(ShardKind.DIRICHLET, alpha))),
    seed=SEEDS,
)
def test_shards_are_a_partition_with_a_minimum_each(count: int, more: int, classes: int, shards: Shards, seed: bytes) -> None:
    samples = count * SHARD_SAMPLES_MIN + more
    labels = np.random.default_rng(samples).integers(0, classes, samples)
    parts = all_shards(labels, shards, count, seed)
    assert sorted(np.concatenate(parts)) == list(range(samples))
    assert min(len(part) for part in parts) >= SHARD_SAMPLES_MIN
    assert all(part.dtype == np.int64 and (np.diff(part) > 0).all() for part in parts)


def test_whole_gives_everybody_everything() -> None:
    parts = all_shards(np.zeros(30, dtype=np.int64), parse_shards("whole"), 5)
    assert [part.tolist() for part in parts] == [list(range(30))] * 5


def test_iid_shards_are_equal_in_size_and_alike_in_classes() -> None:
    labels = digits_mlp().sample_labels
    parts = all_shards(labels, parse_shards("iid"), 4)
    assert [len(part) for part in parts] == [360, 359, 359, 359]
    assert class_shares(labels, parts).max() < 0.18
    assert all(len(np.unique(labels[part])) == 10 for part in parts)


@pytest.mark.parametrize(("text", "least", "most"), [("dirichlet:0.01", 0.7, 1.0), ("dirichlet:100", 0.0, 0.25)])
def test_a_small_alpha_skews_the_classes_and_a_large_one_does_not(text: str, least: float, most: float) -> None:
    labels = np.random.default_rng(7).integers(0, 10, 5_000)
    shares = [class_shares(labels, all_shards(labels, parse_shards(text), 10, bytes([seed]))).mean() for seed in range(5)]
    assert least < np.mean(shares) < most


def test_the_seed_and_nothing_else_chooses_the_parts() -> None:
    labels = digits_mlp().sample_labels
    for text in ("iid", "dirichlet:0.5"):
        first, again, other = (all_shards(labels, parse_shards(text), 7, seed) for seed in (b"a", b"a", b"b"))
        assert [part.tolist() for part in first] == [part.tolist() for part in again] != [part.tolist() for part in other]


def test_without_classes_a_dirichlet_split_is_iid() -> None:
    labels = np.zeros(100, dtype=np.int64)
    skewed, alike = (all_shards(labels, parse_shards(text), 6) for text in ("dirichlet:0.01", "iid"))
    assert [part.tolist() for part in skewed] == [part.tolist() for part in alike]


@pytest.mark.parametrize(
    ("text", "shards", "canonical"),
    [
        ("whole", Shards(ShardKind.WHOLE), "whole"),
        ("iid", Shards(ShardKind.IID), "iid"),
        ("dirichlet:0.5", Shards(ShardKind.DIRICHLET, Decimal("0.5")), "dirichlet:0.5"),
        ("dirichlet:0.010", Shards(ShardKind.DIRICHLET, Decimal("0.010")), "dirichlet:0.01"),
        ("dirichlet:100.0", Shards(ShardKind.DIRICHLET, Decimal(100)), "dirichlet:100"),
    ],
)
def test_the_text_is_read_and_written_in_one_form(text: str, shards: Shards, canonical: str) -> None:
    assert (parse_shards(text), str(parse_shards(text))) == (shards, canonical)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "IID",
        "iid ",
        "dirichlet",
        "dirichlet:",
        "dirichlet:0",
        "dirichlet:0.009",
        "dirichlet:100.1",
        "dirichlet:-1",
        "dirichlet:1e1",
        "dirichlet:nan",
        "dirichlet:0,5",
        "dirichlet:0.5\n",
        "dirichlet:٣",
    ],
)
def test_another_text_is_refused_with_what_is_allowed(text: str) -> None:
    with pytest.raises(ValueError, match="shards is ") as raised:
        parse_shards(text)
    assert str(raised.value) == f'shards is "{text}"; allowed is {SHARDS_ALLOWED}'
    assert SHARDS_ALLOWED == '"whole", "iid" or "dirichlet:ALPHA" with ALPHA 0.01 to 100'


def test_too_few_samples_and_a_shard_that_is_none_are_named() -> None:
    labels = np.zeros(79, dtype=np.int64)
    with pytest.raises(TaskError) as raised:
        rows_for(labels, parse_shards("iid"), 10, 0, SEED)
    assert str(raised.value) == (
        'shards is "iid" for 10 shards of 8 samples or more; the 79 training samples allow 9, or "whole"'
    )
    for index in (-1, 3):
        with pytest.raises(TaskError, match=rf"shard is {index}, allowed 0\.\.2"):
            rows_for(labels, parse_shards("iid"), 3, index, SEED)


def test_a_member_has_the_shard_of_its_number_and_anybody_else_that_of_its_key() -> None:
    members = tuple(bytes([number]) * 32 for number in (5, 7, 9))
    assert [shard_of(member, members, 0) for member in members] == [(0, 3), (1, 3), (2, 3)]
    assert [shard_of(member, members, 2) for member in members] == [(0, 2), (1, 2), (0, 2)]
    assert shard_of(bytes(7) + b"\x0b" + bytes(24), (), 4) == (3, 4)
    assert shard_of(b"k" * 32, (), 0) == (0, 1)


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
