"""Submissions as bytes: one value, one encoding; anything else says what is wrong."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from learning.evolution.mutation_submission import decode_submission, encode_submission
from learning.evolution.payload import Candidate
from learning.evolution.recipe import Recipe
from learning.exact import FITNESS_LOWEST, FITNESS_MAX
from learning.model_consensus.slate import MEMBERS_MAX, MalformedPayloadError, Scores

PAYLOAD_BYTES_MAX = 4_096
"""Of `consensus.steps`, which the rooms of learning do not import."""

SLATE = bytes(range(32))
fitnesses = st.integers(min_value=FITNESS_LOWEST, max_value=FITNESS_MAX)


@given(values=st.lists(fitnesses, min_size=1, max_size=5).map(tuple))
def test_scores_come_back(values: tuple[int, ...]) -> None:
    assert decode_submission(encode_submission(Scores(SLATE, values)), 1, 4) == Scores(SLATE, values)


@given(fitness=fitnesses, index=st.integers(0, 2**32 - 1))
def test_a_candidate_comes_back(fitness: int, index: int) -> None:
    candidate = Candidate(Recipe((index,)), fitness)
    assert decode_submission(encode_submission(candidate), 1, 4) == candidate


@given(
    data=st.binary(max_size=90) | st.binary(min_size=51, max_size=51).map(lambda tail: b"\x02\x01" + SLATE + b"\x02\x00" + tail)
)
def test_whatever_decodes_encodes_to_the_same_bytes(data: bytes) -> None:
    try:
        submission = decode_submission(data, 8, 4)
    except MalformedPayloadError:
        return
    assert encode_submission(submission) == data


@given(
    values=st.lists(st.integers(-(2**63), 2**63 - 1), max_size=6), count=st.integers(0, 6), version=st.sampled_from((1, 1, 2))
)
def test_nearly_right_scores_decode_only_when_they_are_right(values: list[int], count: int, version: int) -> None:
    data = b"\x02" + struct.pack(f"<B32sH{len(values)}q", version, SLATE, count, *values)
    in_range = all(FITNESS_LOWEST <= value <= FITNESS_MAX for value in values)
    is_right = version == 1 and len(values) == count and 1 <= count <= 4 and in_range
    try:
        assert (decode_submission(data, 1, 3), is_right) == (Scores(SLATE, tuple(values)), True)
    except MalformedPayloadError:
        assert not is_right


def test_the_bytes_are_those_of_the_first_release() -> None:
    assert encode_submission(Scores(SLATE, (1, -2))).hex() == "0201" + SLATE.hex() + "0200" + "0100000000000000feffffffffffffff"
    assert encode_submission(Candidate(Recipe((3,)), -2)).hex() == "0101feffffffffffffff0103000000"


def test_the_scores_of_the_largest_network_fit_a_payload() -> None:
    scores = Scores(SLATE, (FITNESS_MAX,) * (MEMBERS_MAX + 1))
    assert len(encode_submission(scores)) == 4_044 <= PAYLOAD_BYTES_MAX


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "kind of submission is missing, allowed 01"),
        (b"\x03abc", "kind of submission is 03, allowed 01"),
        (b"\x01", "candidate of 0 bytes, allowed 14 or more"),
        (b"\x02" + bytes(34), "scores of 34 bytes, allowed 43 or more"),
        (b"\x02" + struct.pack("<B32sH", 2, SLATE, 1), "scores version is 2, allowed 1"),
        (b"\x02" + struct.pack("<B32sH", 1, SLATE, 0), "scores hold 0 values, allowed 1..5"),
        (b"\x02" + struct.pack("<B32sH6q", 1, SLATE, 6, *range(6)), "scores hold 6 values, allowed 1..5"),
        (b"\x02" + struct.pack("<B32sH3q", 1, SLATE, 2, *range(3)), "scores of 59 bytes, expected 51 for 2 values"),
        (b"\x02" + struct.pack("<B32sHq", 1, SLATE, 1, FITNESS_MAX + 1), "score is 1152921504606846977, allowed"),
    ],
)
def test_a_malformed_submission_names_the_field(data: bytes, message: str) -> None:
    with pytest.raises(MalformedPayloadError, match=message):
        decode_submission(data, 1, 4)
