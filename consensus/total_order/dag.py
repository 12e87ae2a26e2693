"""The graph of blocks: a block is accepted once its parents above the garbage horizon are, and its large payloads are held.

Until then it is suspended, and what it misses is wanted. Everything here is keyed by digest; a parent is named by all of its
(round, author, digest), and one that turns out to be of another round or author makes the child's signature a lie.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from consensus.total_order.block import Block, LargePayload, Reference, parents_mask
from consensus.total_order.committee import Committee
from consensus.types import Digest

TWINS_MAX = 4_096
"""Second and further blocks of a slot that are kept because a kept block needs them. More are kept only for a block that has no
twin itself: those are as few as the honest members' references, while twins of twins could double with every round."""


class Vertex:
    """An accepted block. `parents` are those above the horizon; `vote` and `certified` are filled in by the commit rule."""

    __slots__ = ("author", "block", "certified", "digest", "parents", "parents_mask", "round", "vote")

    def __init__(self, digest: Digest, block: Block, parents: tuple["Vertex", ...], mask: int) -> None:
        self.digest = digest
        self.block = block
        self.author = block.content.author
        self.round = block.content.round
        self.parents = parents
        self.parents_mask = mask
        """The authors of its parents of the round before."""
        self.vote: Digest | None = None
        """The leader block of the round before among its parents."""
        self.certified: Digest | None = None
        """The leader block two rounds before that a quorum of its parents votes for."""

    @property
    def reference(self) -> Reference:
        """Names the block."""
        return Reference(self.round, self.author, self.digest)


@dataclass(slots=True)
class Round:
    """The accepted blocks of one round."""

    authors: int = 0
    vertices: dict[int, list[Vertex]] = field(default_factory=dict)
    """By author, in the order of acceptance; more than one where the author equivocated."""
    has_twins: bool = False


@dataclass(slots=True)
class Suspended:
    """A valid block that waits."""

    digest: Digest
    block: Block
    missing: set[Digest]
    """Parents above the horizon that are not accepted."""
    payloads: set[Digest]
    """Large payloads that are not held."""
    is_twin: bool


@dataclass(frozen=True, slots=True)
class FalseParent:
    """A block that names a parent by a wrong round or author."""

    child: Block
    parent: Block


class Dag:
    """All blocks above the horizon that we keep."""

    def __init__(self, committee: Committee, horizon: int = 0) -> None:
        self._committee = committee
        self.horizon = horizon
        """Blocks at or below it are forgotten, and count as present. Round 0 always lies below."""
        self.accepted: dict[Digest, Vertex] = {}
        self.suspended: dict[Digest, Suspended] = {}
        self.newest: list[Vertex | None] = [None] * committee.size
        """By author: the accepted block of the highest round."""
        self.kept_round: list[int] = [0] * committee.size
        """By author: the highest round of a block that is accepted or suspended."""
        self.quorum_round = 0
        """The highest round that a quorum has accepted blocks of."""
        self.highest_round = 0
        self.dropped = 0
        """Suspended blocks that fell below the horizon."""
        self.false_parents: list[FalseParent] = []
        """To be accused, and cleared, by the machine."""
        self._rounds: dict[int, Round] = {}
        self._slots: dict[tuple[int, int], tuple[Digest, ...]] = {}
        self._waiting: dict[Digest, dict[Digest, None]] = {}
        self._wanted: dict[Digest, Reference] = {}
        self._payload_waiting: dict[Digest, dict[Digest, None]] = {}
        self._payloads: dict[Digest, LargePayload] = {}
        self._twins = 0

    # --- reading ---

    def __contains__(self, digest: Digest) -> bool:
        return digest in self.accepted or digest in self.suspended

    def round(self, number: int) -> Round:
        """The accepted blocks of a round; empty when there are none."""
        return self._rounds.get(number) or Round()

    def authors(self, number: int) -> int:
        """The members with an accepted block of this round; everybody has one of round 0."""
        if number == 0:
            return self._committee.everybody
        found = self._rounds.get(number)
        return 0 if found is None else found.authors

    def block(self, digest: Digest) -> Block | None:
        """A block that we keep, accepted or not."""
        vertex = self.accepted.get(digest)
        if vertex is not None:
            return vertex.block
        suspended = self.suspended.get(digest)
        return None if suspended is None else suspended.block

    def slot(self, author: int, round_number: int) -> tuple[Digest, ...]:
        """All kept blocks of one author and round."""
        return self._slots.get((author, round_number), ())

    def newest_up_to(self, author: int, round_number: int, above: int) -> Vertex | None:
        """The author's first accepted block of the highest round within (above, round_number]."""
        vertex = self.newest[author]
        if vertex is None or vertex.round <= above:
            return None
        if vertex.round <= round_number:
            return vertex
        for number in range(round_number, max(above, self.horizon), -1):
            found = self._rounds.get(number)
            if found is not None and author in found.vertices:
                return found.vertices[author][0]
        return None

    def wanted(self) -> Iterable[Reference]:
        """Blocks that a suspended one needs, and that are not here."""
        return self._wanted.values()

    def is_wanted(self, digest: Digest) -> bool:
        """Whether a suspended block needs it and it is not here."""
        return digest in self._wanted

    def wanted_payloads(self) -> Iterable[LargePayload]:
        """Large payloads that a suspended block needs."""
        return self._payloads.values()

    def payload_authors(self, digest: Digest) -> tuple[int, ...]:
        """The authors of the suspended blocks that need this payload."""
        dependants = self._payload_waiting.get(digest, {})
        return tuple(self.suspended[child].block.content.author for child in dependants)

    def has_room_for_twin(self, digest: Digest) -> bool:
        """Whether one more twin may be kept: within the total, or needed by a block that is no twin."""
        if self._twins < TWINS_MAX:
            return True
        return any(not self.suspended[child].is_twin for child in self._waiting.get(digest, {}))

    # --- changing ---

    def add(self, digest: Digest, block: Block, lacking: set[Digest]) -> list[Vertex]:
        """Keep a valid block above the horizon that is not here yet; the blocks that are accepted now, parents first.

        `lacking`: those of its large payloads that are not held.
        """
        content = block.content
        key = (content.author, content.round)
        is_twin = key in self._slots
        self._twins += is_twin
        self._slots[key] = (*self._slots.get(key, ()), digest)
        self.kept_round[content.author] = max(self.kept_round[content.author], content.round)
        self._wanted.pop(digest, None)
        missing = self._missing(content.parents)
        if not missing and not lacking:
            return self._accept_all(digest, block)
        self._suspend(Suspended(digest, block, missing, lacking, is_twin))
        return []

    def payload_held(self, digest: Digest) -> list[Vertex]:
        """A large payload has come; the blocks that are accepted now."""
        self._payloads.pop(digest, None)
        accepted: list[Vertex] = []
        for child in self._payload_waiting.pop(digest, {}):
            suspended = self.suspended[child]
            suspended.payloads.discard(digest)
            accepted += self._release(suspended)
        return accepted

    def prune(self, horizon: int) -> tuple[list[Vertex], list[Vertex]]:
        """Move the horizon up: forget what lies at or below it. The forgotten blocks, and those that are accepted now."""
        forgotten: list[Vertex] = []
        for number in range(self.horizon + 1, horizon + 1):
            gone = self._rounds.pop(number, None)
            if gone is not None:
                forgotten += [vertex for twins in gone.vertices.values() for vertex in twins]
        self.horizon = max(self.horizon, horizon)
        for vertex in forgotten:
            del self.accepted[vertex.digest]
            vertex.parents = ()
        for key in [key for key in self._slots if key[1] <= horizon] if forgotten or self.suspended else []:
            self._twins -= len(self._slots.pop(key)) - 1
        return forgotten, self._cross_horizon()

    # --- inside ---

    def _missing(self, parents: tuple[Reference, ...]) -> set[Digest]:
        accepted, horizon = self.accepted, self.horizon
        return {parent.digest for parent in parents if parent.digest not in accepted and parent.round > horizon}  # type: ignore[misc]

    def _suspend(self, suspended: Suspended) -> None:
        self.suspended[suspended.digest] = suspended
        for parent in suspended.block.content.parents:
            if parent.digest in suspended.missing:
                self._waiting.setdefault(parent.digest, {})[suspended.digest] = None
                if parent.digest not in self.suspended:
                    self._wanted[parent.digest] = parent
        for payload in suspended.block.content.attachments:
            if payload.digest in suspended.payloads:
                self._payload_waiting.setdefault(payload.digest, {})[suspended.digest] = None
                self._payloads[payload.digest] = payload

    def _release(self, suspended: Suspended) -> list[Vertex]:
        if suspended.missing or suspended.payloads:
            return []
        del self.suspended[suspended.digest]
        return self._accept_all(suspended.digest, suspended.block)
