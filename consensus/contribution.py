"""A contribution: opaque bytes that one peer offers on top of `base`, and the large payloads that belong to them, signed."""

from typing import Annotated

import msgspec

from consensus.attachment import Attachment
from consensus.encoding import DigestBytes, KeyBytes, SignatureBytes
from consensus.signing import Domain, Signer, digest_of, is_signed_by
from consensus.types import Digest, NetworkId, PeerId, StepId

PAYLOAD_BYTES_MAX = 4_096
"""A recipe of 32 indices takes 140 bytes; anything larger travels beside the order, named by its digest."""

ATTACHMENTS_MAX = 2
"""A gradient is one large payload; a second leaves room for what a later learner may want to show with it."""

_LENGTH_BYTES = 8

Payload = Annotated[bytes, msgspec.Meta(max_length=PAYLOAD_BYTES_MAX)]
Attachments = Annotated[tuple[Attachment, ...], msgspec.Meta(max_length=ATTACHMENTS_MAX)]


class Contribution(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What `author` offers on top of step `base`. `payload` is worth nothing without its attachments."""

    author: KeyBytes
    base: DigestBytes
    payload: Payload
    attachments: Attachments
    signature: SignatureBytes


def contribution_digest(network_id: NetworkId, contribution: Contribution) -> Digest:
    """Names the signed content, not the signature."""
    content = _content(contribution.author, contribution.base, contribution.payload, contribution.attachments)
    return digest_of(Domain.CONTRIBUTION, network_id, content)


def sign_contribution(
    network_id: NetworkId,
    author: PeerId,
    base: StepId,
    payload: bytes,
    sign: Signer,
    *,
    attachments: tuple[Attachment, ...] = (),
) -> Contribution:
    """The author's signed contribution; `payload` is at most PAYLOAD_BYTES_MAX long, ATTACHMENTS_MAX attachments."""
    assert len(payload) <= PAYLOAD_BYTES_MAX, f"payload of {len(payload)} bytes, limit {PAYLOAD_BYTES_MAX}"
    assert len(attachments) <= ATTACHMENTS_MAX, f"{len(attachments)} attachments, limit {ATTACHMENTS_MAX}"
    digest = digest_of(Domain.CONTRIBUTION, network_id, _content(author, base, payload, attachments))
    return Contribution(author, base, payload, attachments, sign(digest))


def is_authentic(network_id: NetworkId, contribution: Contribution) -> bool:
    """Whether the named author signed it for this network."""
    digest = contribution_digest(network_id, contribution)
    return is_signed_by(PeerId(contribution.author), digest, contribution.signature)


def _content(author: bytes, base: bytes, payload: bytes, attachments: tuple[Attachment, ...]) -> bytes:
    """All at fixed widths but the payload, which comes last: no two contributions share it. Integers big endian."""
    named = b"".join(attachment.digest + attachment.length.to_bytes(_LENGTH_BYTES, "big") for attachment in attachments)
    return author + base + bytes([len(attachments)]) + named + payload
