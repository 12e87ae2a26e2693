"""Candidates and claims as bytes: one value, one encoding; anything else says what is wrong."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from learning.evolution.payload import Candidate, Claim, decode_candidate, decode_claim, encode_candidate, encode_claim
from learning.evolution.recipe import INDEX_MAX, Recipe, in_canonical_order
from learning.exact import FITNESS_LOWEST, FITNESS_MAX
from learning.model_consensus.slate import MalformedPayloadError

fitnesses = st.integers(min_value=FITNESS_LOWEST, max_value=FITNESS_MAX)
recipes = st.lists(st.integers(0, INDEX_MAX - 1), min_size=1, max_size=32, unique=True).map(
    lambda items: Recipe(in_canonical_order(tuple(items)))
)


@given(recipe=recipes, fitness=fitnesses)
def test_a_candidate_comes_back(recipe: Recipe, fitness: int) -> None:
    candidate = Candidate(recipe, fitness)
    assert decode_candidate(encode_candidate(candidate), 32) == candidate


@given(child=fitnesses, parent=fitnesses)
def test_a_claim_comes_back(child: int, parent: int) -> None:
    assert decode_claim(encode_claim(Claim(child, parent))) == Claim(child, parent)


@given(data=st.binary(max_size=60))
def test_whatever_decodes_encodes_to_the_same_bytes(data: bytes) -> None:
    try:
        candidate = decode_candidate(data, 8)
    except MalformedPayloadError:
        return
    assert encode_candidate(candidate) == data


@given(length=st.integers(0, 6), indices=st.lists(st.integers(0, 9), max_size=6), version=st.sampled_from((1, 1, 1, 2)))
def test_nearly_right_candidates_decode_only_when_they_are_right(length: int, indices: list[int], version: int) -> None:
    data = struct.pack(f"<BqB{len(indices)}I", version, -5, length, *indices)
    is_right = version == 1 and len(indices) == length and 1 <= length <= 4 and len(set(indices)) == length
    try:
        assert (decode_candidate(data, 4), is_right) == (Candidate(Recipe(tuple(indices)), -5), True)
    except MalformedPayloadError:
        assert not is_right


def test_the_bytes_are_those_of_the_first_release() -> None:
    assert encode_candidate(Candidate(Recipe((1, 2**31)), -2)).hex() == "01feffffffffffffff020100000000000080"
    assert encode_claim(Claim(1, -1)).hex() == "010100000000000000ffffffffffffffff"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\x01" * 9, "candidate of 9 bytes, allowed 14 or more"),
        (struct.pack("<BqBI", 2, 0, 1, 0), "candidate version is 2, allowed 1..1"),
        (struct.pack("<BqBI", 1, FITNESS_MAX + 1, 1, 0), "claimed_fitness is 1152921504606846977, allowed"),
        (struct.pack("<BqB", 1, 0, 0), "recipe length is 0, allowed 1..4"),
        (struct.pack("<BqB5I", 1, 0, 5, *range(5)), "recipe length is 5, allowed 1..4"),
        (struct.pack("<BqB2I", 1, 0, 1, 3, 4), "candidate of 18 bytes, expected 14 for 1 indices"),
        (struct.pack("<BqB2I", 1, 0, 2, 3, 3), "index 3 twice in a recipe"),
    ],
)
def test_a_malformed_candidate_names_the_field(data: bytes, message: str) -> None:
    with pytest.raises(MalformedPayloadError, match=message):
        decode_candidate(data, 4)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "claim of 0 bytes, expected 17"),
        (struct.pack("<Bqq", 0, 0, 0), "claim version is 0, allowed 1..1"),
        (struct.pack("<Bqq", 1, 0, FITNESS_LOWEST - 1), "parent_fitness is -1152921504606846977, allowed"),
    ],
)
def test_a_malformed_claim_names_the_field(data: bytes, message: str) -> None:
    with pytest.raises(MalformedPayloadError, match=message):
        decode_claim(data)
