"""The one thing that members send: a signed block, and the rules that it must keep on its own (docs/protocol.md, 6).

Each names a commit, and perhaps a checkpoint, that its author has reached: who has signed what about the order is counted. Two
of one author and round are evidence for anybody, and the end of our trust in it.
"""

from typing import Annotated

import msgspec

from consensus.effects import Accusation, Offence
from consensus.encoding import (
    Codec,
    DigestBytes,
    Domain,
    MalformedBytesError,
    Natural,
    SignatureBytes,
    Signer,
    digest_of,
    encode,
    is_signed_by,
)
from consensus.steps import Attachment, Payload
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


MARKS_AHEAD_MAX = 64
"""Commits above our own of which we remember who names them: as many as catching up holds in its buffer."""

MARKS_KEPT = 32
"""Commits that we remember each member to have named last, however far above ours: members that name their newest ones a little
apart have some of so many in common. 2 MB for 200 members."""

CHECKPOINTS_KEPT = 4
"""Of each member; members that make them at the same heights have the newest but one in common."""


class Attestations:
    """Marks are counted by distinct members; a member that signs two blocks for one round still counts once."""

    def __init__(self, committee: Committee) -> None:
        self._committee = committee
        self._newest = [0] * committee.size
        self._marks: dict[int, dict[bytes, int]] = {}
        self._newest_marks: list[dict[int, bytes]] = [{} for _ in range(committee.size)]
        self._checkpoints: list[dict[int, Checkpoint]] = [{} for _ in range(committee.size)]
        self._index = 0

    def note(self, block: Block) -> None:
        """Count what a valid, signed block says."""
        content = block.content
        mark = content.commit
        self._newest[content.author] = max(self._newest[content.author], mark.index)
        self._note_mark(content.author, mark)
        self._note_newest(self._newest_marks[content.author], mark)
        checkpoint = content.checkpoint
        if checkpoint is not None:  # below our last commit, too: our learner may be behind it
            kept = self._checkpoints[content.author]
            kept[checkpoint.index] = checkpoint
            while len(kept) > CHECKPOINTS_KEPT:
                del kept[min(kept)]

    def _note_mark(self, author: int, mark: CommitMark) -> None:
        """Count who names a commit that lies a little above ours; of one member the first word counts."""
        if not self._index < mark.index <= self._index + MARKS_AHEAD_MAX:
            return
        of_index = self._marks.setdefault(mark.index, {})
        if not any(members >> author & 1 for members in of_index.values()):
            of_index[mark.digest] = of_index.get(mark.digest, 0) | 1 << author

    def _note_newest(self, kept: dict[int, bytes], mark: CommitMark) -> None:
        if mark.index > self._index:
            kept.setdefault(mark.index, mark.digest)
            if len(kept) > MARKS_KEPT:
                del kept[min(kept)]

    def on_commit(self, index: int) -> None:
        """We have this commit ourselves; what is said of it and below matters no more."""
        self._index = index
        for old in [old for old in self._marks if old <= index]:
            del self._marks[old]

    def certain_index(self) -> int:
        """An honest member has reached this commit: f + 1 say so."""
        return sorted(self._newest, reverse=True)[self._committee.faulty_max]

    def certain_commit(self) -> CommitMark | None:
        """The highest commit above ours that f + 1 members have named by its digest, as far as we remember."""
        naming: dict[tuple[int, bytes], int] = {}
        for kept in self._newest_marks:
            for named in kept.items():
                naming[named] = naming.get(named, 0) + 1
        certain = [named for named, members in naming.items() if members >= self._committee.validity and named[0] > self._index]
        return CommitMark(*max(certain)) if certain else None

    def members_naming(self, index: int, digest: bytes) -> int:
        """The members that have named this very commit, as a set."""
        return self._marks.get(index, {}).get(digest, 0)

    def best_checkpoint(self) -> tuple[Checkpoint, int] | None:
        """The highest checkpoint that f + 1 members have signed, and who they are, as a set."""
        signers: dict[Checkpoint, int] = {}
        for member, kept in enumerate(self._checkpoints):
            for checkpoint in kept.values():
                signers[checkpoint] = signers.get(checkpoint, 0) | 1 << member
        agreed = [checkpoint for checkpoint, members in signers.items() if members.bit_count() >= self._committee.validity]
        if not agreed:
            return None
        best = max(agreed, key=lambda checkpoint: (checkpoint.index, checkpoint.digest, checkpoint.state_digest))
        return best, signers[best]


TWINS_MAX = 4_096
"""Second and further blocks of a slot that are kept because a kept block needs them. More are kept only for a block that has no
twin itself: those are as few as honest members' references, while twins of twins could double with every round."""

TWINS_BYTES_MAX = 16 * 2**20
"""The same of all of them together: 4,096 small ones or 500 full ones."""


class Evidence(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, gc=False):
    """The two blocks, the lower digest first."""

    first: Block
    second: Block


EVIDENCE_CODEC: Codec[Evidence] = Codec(Evidence)


def accuse(committee: Committee, network_id: NetworkId, one: Block, other: Block) -> Accusation:
    """Evidence from two valid, signed and different blocks of one author and round."""
    first, second = sorted((one, other), key=lambda block: block_digest(network_id, block.content))
    content = first.content
    detail = f"member {content.author} signed two blocks for round {content.round}"
    accused = committee.members[content.author]
    return Accusation(accused, Offence.EQUIVOCATION, detail, encode(Evidence(first, second)))


def proves_equivocation(committee: Committee, network_id: NetworkId, accusation: Accusation) -> bool:
    """Whether the evidence stands by itself: for anybody who has the list of members."""
    try:
        evidence = EVIDENCE_CODEC.decode(accusation.evidence)
    except MalformedBytesError:
        return False
    first, second = evidence.first.content, evidence.second.content
    if (first.author, first.round) != (second.author, second.round) or first.author >= committee.size:
        return False
    if first == second or committee.members[first.author] != accusation.accused:
        return False
    blocks = (evidence.first, evidence.second)
    return all(is_signed_by(accusation.accused, block_digest(network_id, block.content), block.signature) for block in blocks)


class Equivocators:
    """The members that we hold evidence against: their blocks are still taken, but we reference none of them any more."""

    def __init__(self) -> None:
        self.members = 0
        """A set of members."""

    def __contains__(self, member: int) -> bool:
        return bool(self.members >> member & 1)

    def expose(self, member: int) -> bool:
        """Note the evidence; False when there was some before: one accusation a member is enough."""
        is_new = member not in self
        self.members |= 1 << member
        return is_new


class KeptTwins:
    """Second and further blocks of a slot that the graph keeps, by their bytes."""

    def __init__(self) -> None:
        self._bytes: dict[bytes, int] = {}
        self.total_bytes = 0

    def __len__(self) -> int:
        return len(self._bytes)

    @property
    def has_room(self) -> bool:
        """Whether another one may be kept, whoever needs it."""
        return len(self._bytes) < TWINS_MAX and self.total_bytes < TWINS_BYTES_MAX

    def add(self, digest: bytes, block: Block) -> None:
        """Count one more that the graph keeps."""
        self._bytes[digest] = len(encode(block))
        self.total_bytes += self._bytes[digest]

    def drop(self, digest: bytes) -> None:
        """The graph has forgotten a block; one that is no twin changes nothing."""
        self.total_bytes -= self._bytes.pop(digest, 0)
