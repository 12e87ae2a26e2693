""""""

import msgspec
import pytest

from consensus.encoding import Codec, MalformedBytesError, encode
from consensus.steps import (
    ATTACHMENT_BYTES_MAX,
    ATTACHMENTS_MAX,
    PAYLOAD_BYTES_MAX,
    Attachment,
    Contribution,
    contribution_digest,
    is_authentic,
    sign_contribution,
)
from consensus.types import NetworkId, StepId
from tests.consensus.proof_of_work.forge import NETWORK, person

ALICE = person("alice")
BASE = StepId(b"b" * 32)
GRADIENT = Attachment(b"g" * 32, 100_000)
CONTRIBUTION = sign_contribution(NETWORK, ALICE.id, BASE, b"payload", ALICE.sign, attachments=(GRADIENT,))
CODEC: Codec[Contribution] = Codec(Contribution)


def test_a_signed_contribution_is_authentic_on_its_network_alone() -> None:
    assert is_authentic(NETWORK, CONTRIBUTION)
    assert not is_authentic(NetworkId(b"m" * 32), CONTRIBUTION)


@pytest.mark.parametrize(
    "change",
    [
        {"author": b"a" * 32},
        {"base": b"c" * 32},
        {"payload": b"other"},
        {"attachments": ()},
        {"attachments": (GRADIENT, GRADIENT)},
        {"attachments": (Attachment(b"h" * 32, 100_000),)},
        {"attachments": (Attachment(b"g" * 32, 100_001),)},
        {"attachments": (), "payload": GRADIENT.digest + (100_000).to_bytes(8, "big") + b"payload"},
    ],
)
def test_a_changed_contribution_has_another_digest_and_is_not_authentic(change: dict[str, object]) -> None:
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
        sign_contribution(NETWORK, ALICE.id, BASE, large, ALICE.sign)


def test_too_many_attachments_are_malformed_and_cannot_be_signed() -> None:
    many = (GRADIENT,) * (ATTACHMENTS_MAX + 1)
    with pytest.raises(MalformedBytesError):
        CODEC.decode(encode(msgspec.structs.replace(CONTRIBUTION, attachments=many)))
    with pytest.raises(AssertionError, match="3 attachments, limit 2"):
        sign_contribution(NETWORK, ALICE.id, BASE, b"", ALICE.sign, attachments=many)


@pytest.mark.parametrize("length", [1, ATTACHMENT_BYTES_MAX])
def test_an_attachment_has_from_one_byte_to_a_gibibyte(length: int) -> None:
    sound = msgspec.structs.replace(CONTRIBUTION, attachments=(Attachment(b"g" * 32, length),))
    assert CODEC.decode(encode(sound)) == sound
    beyond = 0 if length == 1 else length + 1
    with pytest.raises(MalformedBytesError):
        CODEC.decode(encode(msgspec.structs.replace(CONTRIBUTION, attachments=(Attachment(b"g" * 32, beyond),))))
