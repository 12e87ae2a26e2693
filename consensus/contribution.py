"""A contribution: opaque bytes that one peer offers for the step after `base`, signed."""

from typing import Annotated

import msgspec

from consensus.encoding import DigestBytes, KeyBytes, SignatureBytes
from consensus.signing import Domain, Signer, digest_of, is_signed_by
from consensus.types import Digest, NetworkId, PeerId, StepId

PAYLOAD_BYTES_MAX = 4_096
"""A recipe of 32 indices takes 140 bytes; anything larger travels beside the order, named by its digest."""

Payload = Annotated[bytes, msgspec.Meta(max_length=PAYLOAD_BYTES_MAX)]


class Contribution(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What `author` offers on top of step `base`."""

    author: KeyBytes
    base: DigestBytes
    payload: Payload
    signature: SignatureBytes


def contribution_digest(network_id: NetworkId, contribution: Contribution) -> Digest:
    """Names the signed content, not the signature."""
    content = contribution.author + contribution.base + contribution.payload
    return digest_of(Domain.CONTRIBUTION, network_id, content)


def sign_contribution(network_id: NetworkId, author: PeerId, base: StepId, payload: bytes, sign: Signer) -> Contribution:
    """The author's signed contribution; `payload` is at most PAYLOAD_BYTES_MAX long."""
    assert len(payload) <= PAYLOAD_BYTES_MAX, f"payload of {len(payload)} bytes, limit {PAYLOAD_BYTES_MAX}"
    digest = digest_of(Domain.CONTRIBUTION, network_id, author + base + payload)
    return Contribution(author, base, payload, sign(digest))


def is_authentic(network_id: NetworkId, contribution: Contribution) -> bool:
    """Whether the named author signed it for this network."""
    digest = contribution_digest(network_id, contribution)
    return is_signed_by(PeerId(contribution.author), digest, contribution.signature)
