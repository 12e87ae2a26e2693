"""Ranked lists: their bytes, what is refused, and the direction that they stand for."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from learning.evolution.ranked_list import (
    LIST_INDEX_MAX,
    LIST_LENGTH_MAX,
    RankedList,
    centred_weights,
    decode_list,
    direction_sum,
    encode_list,
    list_length,
    squared_norm,
)
from learning.exact import noise_key, signs
from learning.model_consensus.slate import MalformedPayloadError

KEY = noise_key(b"n" * 32, b"p" * 32, b"a" * 32)

lists = st.lists(st.integers(0, LIST_INDEX_MAX - 1), min_size=1, max_size=LIST_LENGTH_MAX, unique=True)


@given(lists)
def test_a_list_has_one_form(indices: list[int]) -> None:
    ranked = RankedList(tuple(indices))
    data = encode_list(ranked)
    assert len(data) == 2 + 2 * len(indices)
    assert decode_list(data, len(indices)) == ranked


@given(data=st.binary(max_size=140), length=st.integers(1, LIST_LENGTH_MAX))
def test_any_bytes_are_a_list_of_one_form_or_are_refused(data: bytes, length: int) -> None:
    try:
        ranked = decode_list(data, length)
    except MalformedPayloadError:
        return
    assert encode_list(ranked) == data
    assert len(ranked.indices) == length


@pytest.mark.parametrize(
    ("indices", "message"),
    [
        ((), "ranked list has 0 indices, allowed 1..64"),
        (tuple(range(65)), "ranked list has 65 indices, allowed 1..64"),
        ((0, LIST_INDEX_MAX), r"index 65536 in a ranked list, allowed 0..65535"),
        ((-1,), r"index -1 in a ranked list, allowed 0..65535"),
        ((4, 5, 4), "index 4 twice in a ranked list, allowed once"),
    ],
)
def test_what_is_no_ranked_list_is_refused(indices: tuple[int, ...], message: str) -> None:
    with pytest.raises(MalformedPayloadError, match=message):
        RankedList(indices)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "ranked list of 0 bytes, expected 6 for 2 indices"),
        (encode_list(RankedList((1, 2, 3))), "ranked list of 8 bytes, expected 6 for 2 indices"),
        (b"\x02" + encode_list(RankedList((1, 2)))[1:], "version of a ranked list is 2, allowed 1"),
        (b"\x01\x03" + bytes([1, 0, 2, 0]), "ranked list of 3 indices, expected 2"),
        (b"\x01\x02" + bytes([1, 0, 1, 0]), "index 1 twice"),
    ],
)
def test_bytes_of_another_form_or_length_are_refused(data: bytes, message: str) -> None:
    with pytest.raises(MalformedPayloadError, match=message):
        decode_list(data, 2)


def test_a_list_holds_as_many_as_are_ranked_up_to_a_limit() -> None:
    assert [list_length(offspring) for offspring in (1, 7, 64, 65, 2**20)] == [1, 7, 64, 64, 64]


@pytest.mark.parametrize("length", [2, 3, 16, 63, 64])
def test_weights_are_centred_and_fall_by_two(length: int) -> None:
    weights = centred_weights(length)
    assert sum(weights) == 0
    assert len(weights) == length
    assert {before - after for before, after in pairwise(weights)} == {2}
    assert squared_norm(length) == length * (length**2 - 1) // 3


def test_a_single_mutation_is_its_own_direction() -> None:
    assert np.array_equal(direction_sum(RankedList((9,)), KEY, 300), signs(KEY, 9, 300))


@given(lists, st.integers(1, 600))
def test_a_direction_is_the_sum_of_weighted_signs(indices: list[int], parameters: int) -> None:
    expected = np.zeros(parameters, dtype=np.int64)
    for weight, index in zip(centred_weights(len(indices)), indices, strict=True):
        expected += weight * signs(KEY, index, parameters).astype(np.int64)
    assert np.array_equal(direction_sum(RankedList(tuple(indices)), KEY, parameters), expected)


def test_a_reversed_list_points_the_other_way() -> None:
    ranked = RankedList(tuple(range(64)))
    back = RankedList(ranked.indices[::-1])
    assert np.array_equal(direction_sum(back, KEY, 500), -direction_sum(ranked, KEY, 500))
