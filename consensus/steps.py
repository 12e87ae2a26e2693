"""What an order and a learner speak of: contributions, attachments beside them, steps, and what the learner says of a step.

A contribution is opaque bytes that one peer offers on top of `base`, signed, with the large payloads that belong to it.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated

import msgspec

from consensus.encoding import DigestBytes, Domain, KeyBytes, SignatureBytes, Signer, digest_of, is_signed_by
from consensus.types import DIGEST_BYTES, Digest, Height, NetworkId, PeerId, StepId

ATTACHMENT_BYTES_MAX = 1 << 30
"""Of one attachment; the largest gradients in view are 40 MB."""


class Attachment(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, gc=False):
    """The BLAKE2b-256 digest of the bytes, and how many they are."""

    digest: Annotated[Digest, msgspec.Meta(min_length=DIGEST_BYTES, max_length=DIGEST_BYTES)]
    length: Annotated[int, msgspec.Meta(ge=1, le=ATTACHMENT_BYTES_MAX)]


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


class Verdict(StrEnum):
    """What the learner says of a step."""

    GOOD = "good"
    CONTESTED = "contested"
    """Valid by form and work, but the measured fitness does not bear out its claims: honest peers do not build on it."""
    REFUTED = "refuted"
    """As contested, by more than honest measurements can differ: no honest peer has found it good."""
    INVALID = "invalid"
    """Cannot be applied, or leads to another state than it commits to: provably wrong for everybody, for ever."""


@dataclass(frozen=True, slots=True)
class Step:
    """A link of the order: `contributions` turn the state of `parent` into the state of `id`.

    The large payloads that they name are held. That a payload has the length that is named with it is for the learner to judge.
    """

    id: StepId
    parent: StepId
    height: Height
    leader: PeerId
    contributions: tuple[Contribution, ...]
    claim: bytes
    """What the leader's learner claims of the step; opaque here."""
    state_digest: Digest
    """The digest of the state after the step, as committed to by the leader."""


@dataclass(frozen=True, slots=True)
class DeliveredContribution:
    """One payload in the order, by an author that is certain. `base`: what its author built on; opaque here."""

    author: PeerId
    base: bytes
    payload: bytes
    digest: Digest
    attachments: tuple[Attachment, ...]
    """The large payloads that the delivered block names: whoever accepted the block held all of them."""


@dataclass(frozen=True, slots=True)
class DeliveredStep:
    """A step that is final at once (total order): `items` in the order that all peers share.

    `id` chains: it is the digest of the commit record, which holds the parent's; `height` is the commit's index.
    """

    id: StepId
    parent: StepId
    height: Height
    time_ms: int
    """Agreed time: never goes back, and no minority can move it."""
    items: tuple[DeliveredContribution, ...]


def genesis_step(network_id: NetworkId) -> StepId:
    """The step that everybody starts from: derived from the network, never sent. Its height is 0."""
    return StepId(digest_of(Domain.GENESIS, network_id, b""))
