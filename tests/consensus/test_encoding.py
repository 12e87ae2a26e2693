""""""

from contextlib import suppress

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from consensus.encoding import (
    Codec,
    DigestBytes,
    Domain,
    MalformedBytesError,
    Natural,
    digest_of,
    encode,
    fitting,
    is_signed_by,
)
from consensus.types import NetworkId, PeerId
from tests.consensus.proof_of_work.forge import person


class Sample(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    digest: DigestBytes
    number: Natural


CODEC: Codec[Sample] = Codec(Sample)
SAMPLE = Sample(b"d" * 32, 5)


@given(st.binary(min_size=32, max_size=32), st.integers(min_value=0, max_value=2**63 - 1))
def test_what_is_encoded_decodes_to_itself(digest: bytes, number: int) -> None:
    assert CODEC.decode(encode(Sample(digest, number))) == Sample(digest, number)


@given(st.binary(max_size=80))
def test_any_bytes_are_either_canonical_or_malformed(data: bytes) -> None:
    with suppress(MalformedBytesError):
        assert encode(CODEC.decode(data)) == data


@pytest.mark.parametrize(
    "data",
    [
        b"",
        encode(SAMPLE)[:-1],
        encode(SAMPLE) + b"\x00",
        encode(SAMPLE)[:-1] + b"\xcc\x05",
        msgspec.msgpack.encode([b"d" * 31, 5]),
        msgspec.msgpack.encode([b"d" * 32, -5]),
        msgspec.msgpack.encode([b"d" * 32, 5.0]),
        msgspec.msgpack.encode([b"d" * 32, 5, 6]),
        msgspec.msgpack.encode({"digest": b"d" * 32, "number": 5}),
        b"\x91" * 100_000,
    ],
)
def test_bytes_that_are_not_canonical_are_malformed(data: bytes) -> None:
    with pytest.raises(MalformedBytesError):
        CODEC.decode(data)


@pytest.mark.parametrize(("room", "count"), [(0, 1), (2, 2), (3, 3), (9, 4)])
def test_as_many_as_fit_are_taken_and_one_at_least(room: int, count: int) -> None:
    size = len(encode(SAMPLE))
    assert fitting(iter([SAMPLE] * 4), room * size + size - 1) == (SAMPLE,) * count
    assert fitting(iter(()), size) == ()


def test_what_does_not_fit_is_the_last_that_is_read() -> None:
    values = iter([SAMPLE] * 9)
    fitting(values, 2 * len(encode(SAMPLE)))
    assert len(list(values)) == 6


ALICE, BOB = person("alice"), person("bob")
HERE, ELSEWHERE = NetworkId(b"h" * 32), NetworkId(b"e" * 32)
DIGEST = digest_of(Domain.HEADER, HERE, b"content")


def test_a_signature_holds_for_its_signer_digest_network_and_domain_alone() -> None:
    signature = ALICE.sign(DIGEST)
    assert is_signed_by(ALICE.id, DIGEST, signature)
    assert not is_signed_by(BOB.id, DIGEST, signature)
    others = (
        digest_of(Domain.HEADER, HERE, b"other"),
        digest_of(Domain.HEADER, ELSEWHERE, b"content"),
        digest_of(Domain.CONTRIBUTION, HERE, b"content"),
    )
    assert [is_signed_by(ALICE.id, other, signature) for other in others] == [False, False, False]


def test_every_domain_has_its_own_digest() -> None:
    assert len({digest_of(domain, HERE, b"content") for domain in Domain}) == len(Domain)


@pytest.mark.parametrize("key", [b"", b"x", b"\xff" * 32])
def test_a_malformed_key_signs_nothing(key: bytes) -> None:
    assert not is_signed_by(PeerId(key), DIGEST, ALICE.sign(DIGEST))


@pytest.mark.parametrize("signature", [b"", bytes(63), bytes(64), bytes(65)])
def test_a_malformed_signature_is_none(signature: bytes) -> None:
    assert not is_signed_by(ALICE.id, DIGEST, signature)
