"""The one thing that members send: a signed block, and the rules that it must keep on its own (docs/protocol.md, 6)."""

from typing import Annotated

import msgspec

from consensus.attachment import Attachment
from consensus.contribution import Payload
from consensus.encoding import Codec, DigestBytes, Natural, SignatureBytes, encode
from consensus.evidence import Offence
from consensus.signing import Domain, Signer, digest_of
from consensus.total_order.committee import MEMBERS_MAX, Committee
from consensus.types import Digest, NetworkId, WallTime

ITEMS_MAX = 8
"""Payloads in one block: 33 kB at most, so that a round of 64 full blocks is 2 MB. What is left over goes into the next."""

ATTACHMENTS_MAX = 1
"""Large payloads that one block may name. A worker's gradients count once for each version of the model, and a round moves it
once or not at all: so who names junk makes the others fetch and keep no more than an honest worker does."""

ROUND_MAX = 2**40
"""A thousand rounds a second for 35 years; larger numbers are nonsense."""

BLOCK_BYTES_MAX = 64_000
"""200 parents of 46 bytes, eight full items, an attachment, and what is around them: 43 kB."""

AuthorIndex = Annotated[int, msgspec.Meta(ge=0, lt=MEMBERS_MAX)]
RoundNumber = Annotated[int, msgspec.Meta(ge=0, le=ROUND_MAX)]


class Reference(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, order=True, gc=False):
    """Names a block; sorts by (round, author, digest)."""

    round: RoundNumber
    author: AuthorIndex
    digest: DigestBytes


class BlockContribution(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, gc=False):
    """One payload, and what its author built on; both opaque here."""

    base: DigestBytes
    payload: Payload


class CommitMark(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, gc=False):
    """A commit that the author has reached: its vote for the whole order up to there."""

    index: Natural
    digest: DigestBytes


class Checkpoint(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, gc=False):
    """The author's learner had this state after this commit."""

    index: Natural
    digest: DigestBytes
    state_digest: DigestBytes


class Content(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, gc=False):
    """What the author signs, together with the network id. `parents[0]` is the author's own last block."""

    author: AuthorIndex
    round: Annotated[int, msgspec.Meta(ge=1, le=ROUND_MAX)]
    parents: Annotated[tuple[Reference, ...], msgspec.Meta(min_length=1, max_length=MEMBERS_MAX)]
    items: Annotated[tuple[BlockContribution, ...], msgspec.Meta(max_length=ITEMS_MAX)]
    attachments: Annotated[tuple[Attachment, ...], msgspec.Meta(max_length=ATTACHMENTS_MAX)]
    """The block is accepted only where they are held."""
    time_ms: Annotated[WallTime, msgspec.Meta(ge=0, le=2**63 - 1)]
    """The author's clock, milliseconds since 1970 UTC; never judged, only its median over a quorum is used."""
    commit: CommitMark
    checkpoint: Checkpoint | None


class Block(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, gc=False):
    """A content and its author's signature."""

    content: Content
    signature: SignatureBytes


BLOCK_CODEC: Codec[Block] = Codec(Block)


def genesis_references(network_id: NetworkId, committee: Committee) -> tuple[Reference, ...]:
    """Round 0: one block per member that everybody derives and nobody sends."""
    return tuple(
        Reference(0, index, digest_of(Domain.GENESIS, network_id, index.to_bytes(4, "big"))) for index in range(committee.size)
    )


def block_digest(network_id: NetworkId, content: Content) -> Digest:
    """Names the signed content, not the signature."""
    return digest_of(Domain.DAG_BLOCK, network_id, encode(content))


def sign_block(network_id: NetworkId, content: Content, sign: Signer) -> tuple[Digest, Block]:
    """The author's signed block and its digest."""
    digest = block_digest(network_id, content)
    return digest, Block(content, sign(digest))


def content_fault(content: Content, committee: Committee, genesis: tuple[Reference, ...]) -> tuple[Offence, str] | None:
    """What is wrong with a block by a known author that its bytes alone show, if anything; the signature aside."""
    if content.author >= committee.size:
        return Offence.UNKNOWN_MEMBER, f"author is {content.author}, allowed: 0 to {committee.size - 1}"
    if len(content.attachments) > len(content.items):
        found = f"{len(content.attachments)} attachments for {len(content.items)} items"
        return Offence.MALFORMED, f"{found}, allowed: one for each"
    if content.parents[0].author != content.author:
        return Offence.WRONG_PARENTS, f"parents[0] is by member {content.parents[0].author}, allowed: {content.author}"
    authors = 0
    newest = 0
    before = content.round - 1
    for parent in content.parents:
        author = parent.author
        if author >= committee.size:
            return Offence.WRONG_PARENTS, f"parent by member {author}, allowed: 0 to {committee.size - 1}"
        bit = 1 << author
        if authors & bit:
            return Offence.DUPLICATE_PARENT, f"two parents by member {author}, allowed: 1"
        authors |= bit
        if parent.round == before:
            newest += 1
        elif parent.round > before:
            return Offence.WRONG_PARENTS, f"parent of round {parent.round}, allowed: 0 to {before}"
        if parent.round == 0 and parent != genesis[author]:
            return Offence.WRONG_PARENTS, f"parent of round 0 by member {author} is not its genesis block"
    if newest < committee.quorum:
        return Offence.TOO_FEW_PARENTS, f"{newest} parents of round {before}, allowed: {committee.quorum} or more"
    return None
