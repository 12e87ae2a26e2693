"""What a block is: a header with its puzzle solved, signed by its leader, and a body of contributions (docs/protocol.md, 5)."""

from dataclasses import dataclass
from typing import Annotated

import msgspec

from consensus.effects import Offence
from consensus.encoding import (
    Codec,
    DigestBytes,
    Domain,
    KeyBytes,
    Natural,
    SignatureBytes,
    Signer,
    digest_of,
    encode,
    is_signed_by,
)
from consensus.proof_of_work.puzzle import NONCE_BYTES, TARGET_BYTES
from consensus.proof_of_work.rules import CONTRIBUTIONS_MAX, ProofOfWorkRules
from consensus.steps import Attachment, Contribution, Step, contribution_digest, is_authentic
from consensus.types import Digest, Height, NetworkId, PeerId, StepId, WallTime

CLAIM_BYTES_MAX = 256
"""Two fitness values and room for what a later learner claims."""

BLOCK_BYTES_MAX = 32_768
"""64 contributions of 430 bytes (keys, signature and form 138, two attachments 80, a payload of 212), 5 kB for the rest.

The tree may hold hundreds of blocks that wait for their check.
"""

HEADER_BYTES_MAX = 288
"""What the header and the form of a block take of it."""

_HEIGHT_BYTES = 8
_TIME_BYTES = 8

TargetBytes = Annotated[bytes, msgspec.Meta(min_length=TARGET_BYTES, max_length=TARGET_BYTES)]
NonceBytes = Annotated[bytes, msgspec.Meta(min_length=NONCE_BYTES, max_length=NONCE_BYTES)]
Claim = Annotated[bytes, msgspec.Meta(max_length=CLAIM_BYTES_MAX)]
Contributions = Annotated[tuple[Contribution, ...], msgspec.Meta(max_length=CONTRIBUTIONS_MAX)]


class Header(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """The part of a block that carries the work. Its id covers all but the signature, and the signature covers the id."""

    parent: DigestBytes
    height: Natural
    time_ms: Natural
    """Milliseconds since 1970 UTC, by the leader's clock."""
    leader: KeyBytes
    target: TargetBytes
    """Unsigned integer, big endian."""
    body: DigestBytes
    nonce: NonceBytes
    """Unsigned integer, big endian."""
    signature: SignatureBytes


class Body(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What the block does to the model."""

    contributions: Contributions
    claim: Claim
    state_digest: DigestBytes


class Block(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A header and the body that it names."""

    header: Header
    body: Body


BLOCK_CODEC: Codec[Block] = Codec(Block)


@dataclass(frozen=True, slots=True)
class NamedHeader:
    """A header and its id, which is worked out once: where the header comes in."""

    id: StepId
    header: Header


@dataclass(frozen=True, slots=True)
class NamedBlock:
    """A block and its id, which is worked out once: where the block comes in."""

    id: StepId
    block: Block

    @property
    def header(self) -> Header:
        """The block's header."""
        return self.block.header

    @property
    def named_header(self) -> NamedHeader:
        """The block's header, with the id that both share."""
        return NamedHeader(self.id, self.block.header)


@dataclass(frozen=True, slots=True)
class Draft:
    """A header before its puzzle is solved. `target` is an integer below 2**256."""

    parent: StepId
    height: Height
    time_ms: WallTime
    leader: PeerId
    target: int
    body: Digest


def body_digest(network_id: NetworkId, body: Body) -> Digest:
    """Names the whole body, its contributions' signatures included: a header has one body."""
    return digest_of(Domain.BODY, network_id, encode(body))


def draft_of(header: Header) -> Draft:
    """The header without nonce and signature."""
    target = int.from_bytes(header.target, "big")
    return Draft(
        StepId(header.parent),
        Height(header.height),
        WallTime(header.time_ms),
        PeerId(header.leader),
        target,
        Digest(header.body),
    )


def puzzle_prefix(network_id: NetworkId, draft: Draft) -> bytes:
    """What the puzzle is computed over, the nonce aside: the network id and the fields at fixed widths, big endian."""
    return network_id + _content(draft)


def header_id(network_id: NetworkId, header: Header) -> StepId:
    """The digest that names the block and that its leader signs."""
    return _id_of(network_id, draft_of(header), header.nonce)


def name_header(network_id: NetworkId, header: Header) -> NamedHeader:
    """The header with its id."""
    return NamedHeader(header_id(network_id, header), header)


def name_block(network_id: NetworkId, block: Block) -> NamedBlock:
    """The block with its id."""
    return NamedBlock(header_id(network_id, block.header), block)


def sign_header(network_id: NetworkId, draft: Draft, nonce: int, sign: Signer) -> Header:
    """The leader's signed header; `nonce` solves the puzzle of the draft's prefix."""
    nonce_bytes = nonce.to_bytes(NONCE_BYTES, "big")
    return Header(
        draft.parent,
        draft.height,
        draft.time_ms,
        draft.leader,
        draft.target.to_bytes(TARGET_BYTES, "big"),
        draft.body,
        nonce_bytes,
        sign(Digest(_id_of(network_id, draft, nonce_bytes))),
    )


def is_signed_by_leader(step: StepId, header: Header) -> bool:
    """Whether the named leader signed the id; `step` must be the header's id."""
    return is_signed_by(PeerId(header.leader), Digest(step), header.signature)


def step_of(step: StepId, block: Block) -> Step:
    """The block as the learner's side sees it."""
    header, body = block.header, block.body
    return Step(
        step,
        StepId(header.parent),
        Height(header.height),
        PeerId(header.leader),
        body.contributions,
        body.claim,
        Digest(body.state_digest),
    )


def fits(body: Body) -> bool:
    """Whether a block with this body is one that others take."""
    return len(body.contributions) <= CONTRIBUTIONS_MAX and len(encode(body)) <= BLOCK_BYTES_MAX - HEADER_BYTES_MAX


def attachments_of(body: Body) -> tuple[Attachment, ...]:
    """The large payloads that the listed contributions name."""
    return tuple(payload for contribution in body.contributions for payload in contribution.attachments)


def body_fault(network_id: NetworkId, block: Block, rules: ProofOfWorkRules) -> tuple[Offence, str] | None:
    """What is wrong with the contributions that a leader has listed, if anything. Each costs a signature check.

    Only where `base_age_max` is 0 a base is judged here.
    """
    count = len(block.body.contributions)
    if count > rules.contributions_max:
        return Offence.WRONG_BODY, f"lists {count} contributions, allowed: {rules.contributions_max}"
    seen: dict[Digest, None] = {}
    for contribution in block.body.contributions:
        digest = contribution_digest(network_id, contribution)
        if len(contribution.attachments) > rules.attachments_max:
            return Offence.WRONG_BODY, f"contribution {digest.hex()[:8]} names {attachment_counts(contribution, rules)}"
        if rules.base_age_max == 0 and contribution.base != block.header.parent:
            return Offence.WRONG_BASE, f"contribution {digest.hex()[:8]} is not for the block's parent"
        if digest in seen:
            return Offence.WRONG_BODY, f"contribution {digest.hex()[:8]} is listed twice"
        if not is_authentic(network_id, contribution):
            return Offence.WRONG_SIGNATURE, f"contribution {digest.hex()[:8]} is not signed by its author"
        seen[digest] = None
    return None


def attachment_counts(contribution: Contribution, rules: ProofOfWorkRules) -> str:
    """How many large payloads a contribution names, for the message when they are too many."""
    return f"{len(contribution.attachments)} large payloads, allowed: {rules.attachments_max}"


def _content(draft: Draft) -> bytes:
    return b"".join(
        (
            draft.parent,
            draft.height.to_bytes(_HEIGHT_BYTES, "big"),
            draft.time_ms.to_bytes(_TIME_BYTES, "big"),
            draft.leader,
            draft.target.to_bytes(TARGET_BYTES, "big"),
            draft.body,
        )
    )


def _id_of(network_id: NetworkId, draft: Draft, nonce: bytes) -> StepId:
    return StepId(digest_of(Domain.HEADER, network_id, _content(draft) + nonce))
