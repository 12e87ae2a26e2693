"""Sealed frames: they open once, in order, unchanged."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consensus.types import Digest
from node.net.encryption import SEAL_BYTES, Seal, agree_on_keys, public_nonce
from node.net.wire import UnsealedError

KEY = b"k" * 32
SECRETS = st.binary(min_size=32, max_size=32)


@given(SECRETS, SECRETS, st.binary(min_size=32, max_size=32))
def test_both_sides_agree_on_two_different_keys(ours: bytes, theirs: bytes, transcript: bytes) -> None:
    here = agree_on_keys(ours, public_nonce(theirs), Digest(transcript))
    there = agree_on_keys(theirs, public_nonce(ours), Digest(transcript))
    assert here is not None
    assert here == there
    assert here.dialer_to_listener != here.listener_to_dialer


def test_another_transcript_gives_other_keys() -> None:
    nonce = public_nonce(b"t" * 32)
    assert agree_on_keys(b"o" * 32, nonce, Digest(b"1" * 32)) != agree_on_keys(b"o" * 32, nonce, Digest(b"2" * 32))


def test_a_nonce_of_low_order_gives_no_keys() -> None:
    assert agree_on_keys(b"o" * 32, bytes(32), Digest(b"1" * 32)) is None


@given(st.lists(st.binary(max_size=100), max_size=8))
def test_sealed_frames_open_in_order(frames: list[bytes]) -> None:
    sender, receiver = Seal(KEY), Seal(KEY)
    sealed = [sender.close(frame) for frame in frames]
    assert [len(data) for data in sealed] == [len(frame) + SEAL_BYTES for frame in frames]
    assert [receiver.open(data) for data in sealed] == frames


def test_a_frame_repeated_reordered_or_changed_does_not_open() -> None:
    sender = Seal(KEY)
    first, second = sender.close(b"first"), sender.close(b"second")
    receiver = Seal(KEY)
    assert receiver.open(first) == b"first"
    with pytest.raises(UnsealedError, match=r"^frame of 21 bytes: its seal is broken$"):
        receiver.open(first)
    with pytest.raises(UnsealedError):
        Seal(KEY).open(second)
    with pytest.raises(UnsealedError):
        Seal(KEY).open(bytes([first[0] ^ 1]) + first[1:])
