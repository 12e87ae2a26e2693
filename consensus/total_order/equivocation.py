"""Two signed blocks of one author and round: evidence for anybody, and the end of our trust in it (docs/protocol.md, 6)."""

import msgspec

from consensus.encoding import Codec, MalformedBytesError, encode
from consensus.evidence import Accusation, Offence
from consensus.signing import is_signed_by
from consensus.total_order.block import Block, block_digest
from consensus.total_order.committee import Committee
from consensus.types import NetworkId

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
