"""Quorum arithmetic: safety rests on it."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consensus.total_order.committee import Committee, CommitteeError
from consensus.types import PeerId


def committee_of_size(size: int) -> Committee:
    return Committee(tuple(PeerId(index.to_bytes(32, "big")) for index in range(size)))


@pytest.mark.parametrize("size", range(1, 201))
def test_two_quorums_share_an_honest_member_and_the_honest_are_a_quorum(size: int) -> None:
    committee = committee_of_size(size)
    assert 2 * committee.quorum - size > committee.faulty_max
    assert size - committee.faulty_max >= committee.quorum
    assert committee.validity > committee.faulty_max
    assert 3 * committee.faulty_max < size <= 3 * committee.faulty_max + 3


@given(st.integers(min_value=1, max_value=200), st.data())
def test_any_two_sets_of_quorum_size_have_more_than_f_members_in_common(size: int, data: st.DataObject) -> None:
    committee = committee_of_size(size)
    members = st.permutations(range(size)).map(lambda order: sum(1 << member for member in order[: committee.quorum]))
    one, other = data.draw(members), data.draw(members)
    assert committee.is_quorum(one)
    assert (one & other).bit_count() > committee.faulty_max


def test_a_quorum_of_five_six_and_eight_is_not_two_thirds_of_the_faulty() -> None:
    facts = [(committee_of_size(size).faulty_max, committee_of_size(size).quorum) for size in (1, 2, 3, 4, 5, 6, 7, 8)]
    assert facts == [(0, 1), (0, 2), (0, 3), (1, 3), (1, 4), (1, 5), (2, 5), (2, 6)]


def test_everybody_leads_in_turn() -> None:
    assert [committee_of_size(4).leader_of(number) for number in range(1, 6)] == [1, 2, 3, 0, 1]


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ((), "members: 0 keys, allowed: 1 to 200"),
        (tuple(index.to_bytes(32, "big") for index in range(201)), "members: 201 keys, allowed: 1 to 200"),
        ((bytes(32), bytes(31)), "member 1: a key of 31 bytes, allowed: 32"),
        ((bytes(32), b"x" * 32, bytes(32)), f"members 0 and 2 have the same key {bytes(32).hex()}"),
    ],
)
def test_a_list_of_members_that_cannot_be_used_says_why(members: tuple[bytes, ...], message: str) -> None:
    with pytest.raises(CommitteeError, match=re.escape(message)):
        Committee(tuple(PeerId(member) for member in members))
