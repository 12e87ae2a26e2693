"""Submissions as bytes: one value, one encoding; anything else says what is wrong."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from learning.exact import FITNESS_LOWEST, FITNESS_MAX
from learning.gradient.scored_submission import decode_scored, encode_scored
from learning.gradient.submission import GRADIENT_BYTES_MAX, VERSION_MAX, GradientSubmission
from learning.model_consensus.scores import MalformedPayloadError, Scores

digests = st.binary(min_size=32, max_size=32)
submissions = st.builds(
    GradientSubmission,
    base=st.integers(0, VERSION_MAX),
    base_digest=digests,
    payload=digests,
    length=st.integers(1, GRADIENT_BYTES_MAX),
)
rows = st.builds(
    Scores, slate=digests, values=st.lists(st.integers(FITNESS_LOWEST, FITNESS_MAX), min_size=1, max_size=9).map(tuple)
)


@given(submission=submissions | rows)
def test_a_submission_comes_back(submission: GradientSubmission | Scores) -> None:
    assert decode_scored(encode_scored(submission), 9) == submission


@given(data=st.binary(max_size=100) | submissions.map(encode_scored).flatmap(lambda data: st.binary().map(lambda t: data + t)))
def test_whatever_decodes_encodes_to_the_same_bytes(data: bytes) -> None:
    try:
        submission = decode_scored(data, 9)
    except MalformedPayloadError:
        return
    assert encode_scored(submission) == data


def test_the_bytes_are_those_of_the_first_release() -> None:
    assert encode_scored(Scores(b"s" * 32, (1, -2))).hex() == "0201" + "73" * 32 + "0200" + "01" + "00" * 7 + "fe" + "ff" * 7
    submission = GradientSubmission(5, b"b" * 32, b"p" * 32, 300)
    assert encode_scored(submission).hex() == "039405c420" + "62" * 32 + "c420" + "70" * 32 + "cd012c"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "kind of submission is missing, allowed 02"),
        (b"\x01abc", "kind of submission is 01, allowed 02"),
        (b"\x03abc", "3 bytes that name no gradient"),
        (encode_scored(GradientSubmission(5, b"b" * 32, b"p" * 32, 300)) + b"x", "74 bytes that name no gradient"),
        (b"\x02" + bytes(34), "scores of 34 bytes, allowed 43 or more"),
        (encode_scored(Scores(b"s" * 32, (0,) * 10)), "scores hold 10 values, allowed 1..9"),
    ],
)
def test_a_malformed_submission_names_what_is_wrong(data: bytes, message: str) -> None:
    with pytest.raises(MalformedPayloadError, match=message):
        decode_scored(data, 9)
