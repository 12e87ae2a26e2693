"""The others are dealt out fairly, whoever comes and goes."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consensus.protocol import PeerJoined, PeerLeft
from consensus.types import PeerId
from node.lab.faults.consensus.interceptor import PEERS_MAX, Audience


def peer(number: int) -> PeerId:
    return PeerId(number.to_bytes(32, "big"))


def met(share: float, peers: int) -> Audience:
    audience = Audience(share)
    for number in range(peers):
        audience.note(PeerJoined(peer(number)))
    return audience


@given(peers=st.integers(min_value=0, max_value=60), percent=st.integers(min_value=0, max_value=100))
def test_of_any_number_of_peers_the_share_is_chosen_rounded_up(peers: int, percent: int) -> None:
    audience = met(percent / 100, peers)
    assert len(audience.connected(chosen=True)) == math.ceil(peers * percent / 100)
    assert len(audience.connected(chosen=False)) == peers - math.ceil(peers * percent / 100)


def test_who_returns_is_in_the_same_part() -> None:
    audience = met(0.5, 4)
    before = audience.connected(chosen=True)
    for number in (0, 1, 2):
        audience.note(PeerLeft(peer(number)))
    for number in (2, 1, 0):
        audience.note(PeerJoined(peer(number)))
    assert sorted(audience.connected(chosen=True)) == sorted(before)


@pytest.mark.parametrize(("share", "is_chosen"), [(0.0, False), (1.0, True)])
def test_nobody_or_everybody_may_be_chosen(share: float, is_chosen: bool) -> None:
    assert len(met(share, 5).connected(chosen=is_chosen)) == 5


def test_an_open_network_does_not_fill_its_memory() -> None:
    audience = met(1.0, PEERS_MAX + 1)
    assert (audience.is_chosen(peer(0)), audience.is_chosen(peer(1))) == (False, True)
