import msgspec
import pytest

from consensus.contribution import (
    PAYLOAD_BYTES_MAX,
    Contribution,
    contribution_digest,
    is_authentic,
    sign_contribution,
)
from consensus.encoding import Codec, MalformedBytesError, encode
from consensus.types import NetworkId, StepId
from tests.consensus.proof_of_work.forge import NETWORK, person

ALICE = person("alice")
CONTRIBUTION = sign_contribution(NETWORK, ALICE.id, StepId(b"b" * 32), b"payload", ALICE.sign)
CODEC: Codec[Contribution] = Codec(Contribution)


def test_a_signed_contribution_is_authentic_on_its_network_alone() -> None:
    assert is_authentic(NETWORK, CONTRIBUTION)
    assert not is_authentic(NetworkId(b"m" * 32), CONTRIBUTION)


@pytest.mark.parametrize("change", [{"author": b"a" * 32}, {"base": b"c" * 32}, {"payload": b"other"}])
def test_a_changed_contribution_has_another_digest_and_is_not_authentic(change: dict[str, bytes]) -> None:
    changed = msgspec.structs.replace(CONTRIBUTION, **change)
    assert contribution_digest(NETWORK, changed) != contribution_digest(NETWORK, CONTRIBUTION)
    assert not is_authentic(NETWORK, changed)


def test_the_digest_does_not_cover_the_signature() -> None:
    unsigned = msgspec.structs.replace(CONTRIBUTION, signature=bytes(64))
    assert contribution_digest(NETWORK, unsigned) == contribution_digest(NETWORK, CONTRIBUTION)


def test_a_payload_over_the_limit_is_malformed_and_cannot_be_signed() -> None:
    large = bytes(PAYLOAD_BYTES_MAX + 1)
    with pytest.raises(MalformedBytesError):
        CODEC.decode(encode(msgspec.structs.replace(CONTRIBUTION, payload=large)))
    with pytest.raises(AssertionError, match="limit 4096"):
        sign_contribution(NETWORK, ALICE.id, StepId(b"b" * 32), large, ALICE.sign)
