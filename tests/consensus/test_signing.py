import pytest

from consensus.signing import Domain, digest_of, is_signed_by
from consensus.types import NetworkId, PeerId
from tests.consensus.proof_of_work.forge import person

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
