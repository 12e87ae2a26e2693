"""Sealed frames: they open once, in order, unchanged.

The handshake machine: both sides prove themselves, and every way to fail has its name.
"""

from dataclasses import replace

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from consensus.types import Digest, NetworkId
from node.net.handshake import (
    SEAL_BYTES,
    Established,
    Failed,
    Failure,
    Handshake,
    HandshakeProgress,
    Introduction,
    Role,
    Seal,
    agree_on_keys,
    public_nonce,
)
from node.net.wire import PROTOCOL_VERSION, Frame, GetAddresses, Hello, Proof, Rules, UnsealedError
from tests.node.net.example_peers import NETWORK, RULES, identity_of

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


ALICE, BOB, MALLORY = identity_of(1), identity_of(2), identity_of(3)
AS_ALICE = Introduction(ALICE.peer, ALICE.sign, NETWORK, RULES, 7_600, "alice")
AS_BOB = Introduction(BOB.peer, BOB.sign, NETWORK, RULES, 7_601, "bob")
OTHER_NETWORK = NetworkId(b"o" * 32)


def converse(dialer: Handshake, listener: Handshake) -> tuple[HandshakeProgress, HandshakeProgress, list[Frame]]:
    """Carry all frames across until both are silent; the last progress of each side, and what was said."""
    said: list[Frame] = []
    at_dialer, at_listener = dialer.start(), HandshakeProgress()
    waiting: list[tuple[Role, Frame]] = [(Role.LISTENER, frame) for frame in at_dialer.frames]
    while waiting:
        to, frame = waiting.pop(0)
        said.append(frame)
        if to is Role.LISTENER:
            at_listener = listener.receive(frame)
            waiting += [(Role.DIALER, answer) for answer in at_listener.frames]
        elif at_dialer.outcome is None:
            at_dialer = dialer.receive(frame)
            answers = at_dialer.outcome.answer if isinstance(at_dialer.outcome, Established) else at_dialer.frames
            waiting += [(Role.LISTENER, answer) for answer in answers]
    return at_dialer, at_listener, said


def pair(
    dialer: Introduction = AS_ALICE, listener: Introduction = AS_BOB, dialer_secret: bytes = b"1" * 32
) -> tuple[Handshake, Handshake]:
    return Handshake(Role.DIALER, dialer, dialer_secret), Handshake(Role.LISTENER, listener, b"2" * 32)


@given(SECRETS, SECRETS)
def test_honest_peers_know_each_other_and_share_keys(dialer_secret: bytes, listener_secret: bytes) -> None:
    dialer = Handshake(Role.DIALER, AS_ALICE, dialer_secret)
    listener = Handshake(Role.LISTENER, AS_BOB, listener_secret)
    at_dialer, at_listener, said = converse(dialer, listener)
    assert isinstance(at_dialer.outcome, Established)
    assert isinstance(at_listener.outcome, Established)
    assert (at_dialer.outcome.peer, at_listener.outcome.peer) == (BOB.peer, ALICE.peer)
    assert at_dialer.outcome.keys == at_listener.outcome.keys
    assert at_listener.outcome.hello.listening_port == 7_600
    assert [type(frame) for frame in said] == [Hello, Hello, Proof, Proof]


def test_a_replayed_dialer_proves_nothing() -> None:
    *_, said = converse(*pair())
    hello, proof = said[0], said[3]
    listener = Handshake(Role.LISTENER, AS_BOB, b"fresh secret of another handshake"[:32])
    listener.receive(hello)
    assert listener.receive(proof).outcome == Failed(
        Failure.WRONG_SIGNATURE, f"did not prove that it holds the key {ALICE.peer[:8].hex()}", is_offence=True
    )


def test_a_replayed_listener_proves_nothing() -> None:
    *_, said = converse(*pair())
    dialer = Handshake(Role.DIALER, AS_ALICE, b"3" * 32)
    dialer.start()
    dialer.receive(said[1])
    assert dialer.receive(said[2]).outcome == Failed(
        Failure.WRONG_SIGNATURE, f"did not prove that it holds the key {BOB.peer[:8].hex()}", is_offence=True
    )


def test_no_two_sides_roles_networks_or_connections_sign_the_same() -> None:
    signed: list[Digest] = []

    def recording(introduction: Introduction) -> Introduction:
        def sign(digest: Digest) -> bytes:
            signed.append(digest)
            return introduction.sign(digest)

        return replace(introduction, sign=sign)

    for network_id in (NETWORK, OTHER_NETWORK):
        for secret in (b"1" * 32, b"3" * 32):
            ann, ben = (recording(replace(each, network_id=network_id)) for each in (AS_ALICE, AS_BOB))
            converse(*pair(ann, ben, secret))
    assert len(signed) == len(set(signed)) == 8


def test_a_borrowed_key_is_a_wrong_signature() -> None:
    dialer, listener = pair(dialer=replace(AS_ALICE, sign=MALLORY.sign))
    _, at_listener, _ = converse(dialer, listener)
    assert at_listener.outcome == Failed(
        Failure.WRONG_SIGNATURE, f"did not prove that it holds the key {ALICE.peer[:8].hex()}", is_offence=True
    )


def test_a_nonce_of_low_order_is_refused() -> None:
    _, listener = pair()
    listener.receive(Hello(PROTOCOL_VERSION, NETWORK, ALICE.peer, bytes(32), 0, ""))
    outcome = listener.receive(Proof(b"s" * 64)).outcome
    assert isinstance(outcome, Failed)
    assert outcome.failure is Failure.WRONG_SIGNATURE


@given(st.integers(0, 5), st.integers(0, 31), st.integers(1, 255))
def test_a_changed_hello_never_leads_to_a_connection(field: int, position: int, flip: int) -> None:
    dialer, listener = pair()
    (hello,) = dialer.start().frames
    assert isinstance(hello, Hello)
    name = ("version", "network_id", "key", "nonce", "listening_port", "user_agent")[field]
    value = getattr(hello, name)
    if isinstance(value, bytes):
        value = value[:position] + bytes([value[position] ^ flip]) + value[position + 1 :]
    changed = msgspec.structs.replace(hello, **{name: value + flip if isinstance(value, int) else value if field != 5 else "x"})
    answer = listener.receive(changed)
    if isinstance(answer.outcome, Failed) or len(answer.frames) < 2 or isinstance(answer.frames[1], Rules):
        return
    dialer.receive(answer.frames[0])
    outcome = dialer.receive(answer.frames[1]).outcome
    assert isinstance(outcome, Failed)
    assert outcome.failure is Failure.WRONG_SIGNATURE


def test_another_network_is_told_by_the_fields_that_differ_on_both_sides() -> None:
    there = (("name", "digits"), ("proof_of_work.block_interval_ms", "1000"), ("finality", "9"))
    dialer, listener = pair(listener=replace(AS_BOB, network_id=OTHER_NETWORK, rules=there))
    at_dialer, at_listener, said = converse(dialer, listener)
    assert at_dialer.outcome == Failed(
        Failure.OTHER_NETWORK,
        "runs another network: finality is missing here, 9 there; proof_of_work.block_interval_ms is 500 here, 1000 there",
        is_offence=False,
    )
    assert at_listener.outcome == Failed(
        Failure.OTHER_NETWORK,
        "runs another network: finality is 9 here, missing there; proof_of_work.block_interval_ms is 1000 here, 500 there",
        is_offence=False,
    )
    assert Proof not in {type(frame) for frame in said}


def test_another_network_that_hangs_up_without_its_rules_is_told_by_its_id() -> None:
    dialer, listener = pair(listener=replace(AS_BOB, network_id=OTHER_NETWORK))
    (hello,) = dialer.start().frames
    listener.receive(hello)
    detail = f"runs another network: its id begins with {NETWORK[:8].hex()}, ours with {OTHER_NETWORK[:8].hex()}"
    assert listener.on_close() == Failed(Failure.OTHER_NETWORK, detail, is_offence=False)
    assert dialer.on_close() is None


def test_another_network_with_equal_rules_says_so() -> None:
    dialer, listener = pair(listener=replace(AS_BOB, network_id=OTHER_NETWORK))
    at_dialer, *_ = converse(dialer, listener)
    assert at_dialer.outcome == Failed(
        Failure.OTHER_NETWORK, "runs another network: its rules read the same, but its network id differs", is_offence=False
    )


def test_another_protocol_version_is_told_with_both_numbers() -> None:
    _, listener = pair()
    progress = listener.receive(Hello(PROTOCOL_VERSION + 1, NETWORK, ALICE.peer, b"n" * 32, 0, ""))
    detail = f"speaks protocol version {PROTOCOL_VERSION + 1}, this peer speaks {PROTOCOL_VERSION}"
    assert progress.outcome == Failed(Failure.OTHER_VERSION, detail, is_offence=False)
    assert [type(frame) for frame in progress.frames] == [Hello]


def test_a_peer_recognises_its_own_key_on_both_sides() -> None:
    at_dialer, at_listener, _ = converse(*pair(listener=AS_ALICE))
    detail = "has our own key: it is this peer itself, or another process that uses a copy of the key"
    own_key = Failed(Failure.OWN_KEY, detail, is_offence=False)
    assert (at_dialer.outcome, at_listener.outcome) == (own_key, own_key)


def test_our_own_hello_said_by_another_proves_nothing() -> None:
    dialer, _ = pair()
    (hello,) = dialer.start().frames
    assert dialer.receive(hello).outcome is None
    assert dialer.receive(Proof(bytes(64))).outcome == Failed(
        Failure.WRONG_SIGNATURE, f"did not prove that it holds the key {ALICE.peer[:8].hex()}", is_offence=True
    )
    _, listener = pair(listener=AS_ALICE)
    assert listener.receive(hello).outcome is None
    assert isinstance(listener.receive(Proof(bytes(64))).outcome, Failed)


def test_a_frame_out_of_turn_is_an_offence() -> None:
    _, listener = pair()
    assert listener.receive(GetAddresses()).outcome == Failed(
        Failure.UNEXPECTED_FRAME, "sent GetAddresses in the handshake, where Hello was due", is_offence=True
    )


@pytest.mark.slow
@given(st.text(max_size=400), st.text(max_size=400))
def test_any_rules_of_our_own_can_be_told(field: str, value: str) -> None:
    dialer, listener = pair(
        dialer=replace(AS_ALICE, rules=((field, value),)), listener=replace(AS_BOB, network_id=OTHER_NETWORK)
    )
    *_, said = converse(dialer, listener)
    assert [type(frame) for frame in said] == [Hello, Hello, Rules, Rules]
