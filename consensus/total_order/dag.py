"""The graph of blocks: a block is accepted once its parents above the garbage horizon are, and its large payloads are held.

Until then it is suspended, and what it misses is wanted. Blocks are looked up by digest; a parent is named by its round and
author too, and a block that names one wrongly waits until the round that it names is below the horizon: there nobody looks.
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from consensus.total_order.block import Block, KeptTwins, Reference
from consensus.total_order.committee import Committee
from consensus.total_order.named_payloads import NamedPayloads
from consensus.types import Digest


class Vertex:
    """An accepted block. `vote` and `certified` are filled in by the commit rule."""

    __slots__ = ("author", "block", "certified", "digest", "parents", "parents_mask", "round", "vote")

    def __init__(self, digest: Digest, block: Block, parents: tuple["Vertex", ...], parents_mask: int) -> None:
        self.digest = digest
        self.block = block
        self.author = block.content.author
        self.round = block.content.round
        self.parents = parents
        """Those above the horizon."""
        self.parents_mask = parents_mask
        """The authors of its parents of the round before, as a set of members."""
        self.vote: Digest | None = None
        """The leader block of the round before among its parents."""
        self.certified: Digest | None = None
        """The leader block two rounds before that a quorum of its parents votes for."""

    @property
    def reference(self) -> Reference:
        """The name of the block, as children give it."""
        return Reference(self.round, self.author, self.digest)


@dataclass(slots=True)
class Round:
    """The accepted blocks of one round, by author in the order of acceptance: more than one where the author equivocated."""

    authors: int = 0
    """A set of members."""
    vertices: dict[int, list[Vertex]] = field(default_factory=dict)
    has_twins: bool = False

    def all(self) -> list[Vertex]:
        """Every block of the round."""
        return [vertex for twins in self.vertices.values() for vertex in twins]


@dataclass(slots=True)
class Suspended:
    """A valid block that waits for parents or payloads."""

    digest: Digest
    block: Block
    missing: set[bytes]
    """Parents above the horizon that are not accepted, or not by the round and author that it names."""
    payloads: set[bytes]
    """Large payloads that are not held."""
    is_twin: bool
    holders: int = 0
    """Authors of it and of what builds on it, as a set of members: the honest among them have accepted it."""


class Dag:
    """All blocks above the horizon that we keep. Blocks at or below it count as present; round 0 always does."""

    def __init__(self, committee: Committee) -> None:
        self._committee = committee
        self.horizon = 0
        self.accepted: dict[bytes, Vertex] = {}
        self.suspended: dict[bytes, Suspended] = {}
        self.newest: list[Vertex | None] = [None] * committee.size
        """By author: the accepted block of the highest round."""
        self.kept_rounds = [0] * committee.size
        """By author: the highest round of a block that is accepted or suspended."""
        self.quorum_round = 0
        """The highest round that a quorum has accepted blocks of."""
        self.highest_round = 0
        """Of an accepted block."""
        self.dropped = 0
        """Suspended blocks that fell below the horizon."""
        self.crossed = 0
        """Suspended blocks that were accepted because a missing parent fell below the horizon."""
        self._rounds: dict[int, Round] = {}
        self._slots: dict[int, dict[int, tuple[Digest, ...]]] = {}
        self._waiting: dict[bytes, dict[bytes, None]] = {}
        self._missing_rounds: dict[int, dict[bytes, None]] = {}
        self._wanted: dict[bytes, Reference] = {}
        self._payload_waiting: dict[bytes, dict[bytes, None]] = {}
        self._named = NamedPayloads()
        self._false_parents: list[tuple[Block, Block]] = []
        self._holders: list[tuple[Block, int]] = []
        self._twins = KeptTwins()

    # --- reading ---

    def __contains__(self, digest: bytes) -> bool:
        return digest in self.accepted or digest in self.suspended

    def round(self, number: int) -> Round | None:
        """The accepted blocks of a round, if there are any."""
        return self._rounds.get(number)

    def authors(self, number: int) -> int:
        """The members with an accepted block of this round; everybody has one of round 0."""
        if number == 0:
            return self._committee.everybody
        found = self._rounds.get(number)
        return 0 if found is None else found.authors

    def block(self, digest: bytes) -> Block | None:
        """A block that we keep, accepted or not."""
        vertex = self.accepted.get(digest)
        if vertex is not None:
            return vertex.block
        suspended = self.suspended.get(digest)
        return None if suspended is None else suspended.block

    def slot(self, author: int, round_number: int) -> tuple[Digest, ...]:
        """All kept blocks of one author and round."""
        return self._slots.get(round_number, {}).get(author, ())

    def vertex_of(self, author: int, round_number: int) -> Vertex | None:
        """The author's first accepted block of this round."""
        found = self._rounds.get(round_number)
        twins = () if found is None else found.vertices.get(author, ())
        return twins[0] if twins else None

    def newest_within(self, author: int, above: int, up_to: int) -> Vertex | None:
        """The author's first accepted block of the highest round within (above, up_to]."""
        newest = self.newest[author]
        if newest is None or newest.round <= above:
            return None
        for number in range(min(newest.round, up_to), max(above, self.horizon), -1):
            vertex = self.vertex_of(author, number)
            if vertex is not None:
                return vertex
        return None

    def wanted(self) -> Iterable[Reference]:
        """Blocks that a suspended one needs, and that are not here."""
        return self._wanted.values()

    def is_wanted(self, digest: bytes) -> bool:
        """Whether a suspended block needs it and it is not here."""
        return digest in self._wanted

    def is_missed_as(self, block: Reference) -> bool:
        """Whether a suspended block misses it, and names it by this very round and author."""
        children = (self.suspended.get(child) for child in self._waiting.get(block.digest, ()))
        return any(child is not None and block in child.block.content.parents for child in children)

    def named_payloads(self) -> tuple[Digest, ...]:
        """Large payloads that a block above the horizon names."""
        return self._named.digests()

    def is_named(self, digest: bytes) -> bool:
        """Whether a block above the horizon names this payload."""
        return digest in self._named

    def has_room_for_twin(self, digest: bytes) -> bool:
        """Whether one more twin may be kept: within the total, or needed by a block that is no twin."""
        if self._twins.has_room:
            return True
        children = (self.suspended.get(child) for child in self._waiting.get(digest, ()))
        return any(child is not None and not child.is_twin for child in children)

    # --- changing ---

    def add(self, digest: Digest, block: Block, lacking: set[bytes]) -> list[Vertex]:
        """Keep a valid block above the horizon that is not here yet; the blocks that are accepted now, parents first.

        `lacking`: those of its large payloads that are not held.
        """
        content = block.content
        slots = self._slots.setdefault(content.round, {})
        known = slots.get(content.author, ())
        slots[content.author] = (*known, digest)
        if known:
            self._twins.add(digest, block)
        self.kept_rounds[content.author] = max(self.kept_rounds[content.author], content.round)
        self._wanted.pop(digest, None)
        self._named.note(content.attachments, content.round)
        missing = self._missing_of(block)
        if missing or lacking:
            self._suspend(Suspended(digest, block, missing, lacking, bool(known)))
            return []
        return self._accept(digest, block)

    def on_attachment_held(self, digest: bytes) -> list[Vertex]:
        """A large payload has come; the blocks that are accepted now."""
        accepted: list[Vertex] = []
        for child in self._payload_waiting.pop(digest, ()):
            suspended = self.suspended.get(child)
            if suspended is not None:
                suspended.payloads.discard(digest)
                accepted += self._release(suspended)
        return accepted

    def prune(self, horizon: int) -> tuple[list[Vertex], list[Vertex]]:
        """Move the horizon up and forget what lies at or below it: the forgotten blocks, and those accepted because of it."""
        self.horizon = horizon
        forgotten: list[Vertex] = []
        for number in [number for number in self._rounds if number <= horizon]:
            forgotten += self._rounds.pop(number).all()
        for vertex in forgotten:
            del self.accepted[vertex.digest]
            vertex.parents = ()
        for number in [number for number in self._slots if number <= horizon]:
            self._forget_slots(self._slots.pop(number))
        return forgotten, self._cross_horizon()

    def forsake(self, digest: Digest, block: Block) -> None:
        """The block has come, and is not kept: it is wanted no more, and those who miss it have named it wrongly."""
        if self._wanted.pop(digest, None) is None:
            return
        children = (self.suspended.get(child) for child in self._waiting.get(digest, ()))
        self._false_parents += ((child.block, block) for child in children if child is not None)

    def take_unnamed(self) -> list[tuple[Digest, bool]]:
        """Payloads that no block above the horizon names any more, and whether one that did was accepted; told once."""
        unnamed = self._named.take_unnamed(self.horizon)
        for digest, _ in unnamed:
            self._payload_waiting.pop(digest, None)
        return unnamed

    def take_false_parents(self) -> list[tuple[Block, Block]]:
        """Blocks that name a parent by a wrong round or author, each with that parent; they are told once."""
        false, self._false_parents = self._false_parents, []
        return false

    def take_holders(self) -> list[tuple[Block, int]]:
        """Blocks that lack payloads, each with members that have built on it, as a set; each member is told once."""
        holders, self._holders = self._holders, []
        return holders

    # --- inside ---

    def _missing_of(self, block: Block) -> set[bytes]:
        """The parents that a new block lacks; one that it names wrongly is told, and lacking as well."""
        accepted, horizon = self.accepted, self.horizon
        missing: set[bytes] = set()
        for reference in block.content.parents:
            if reference.round <= horizon:
                continue
            parent = accepted.get(reference.digest)
            if parent is None:
                missing.add(reference.digest)
            elif parent.round != reference.round or parent.author != reference.author:
                missing.add(reference.digest)
                self._false_parents.append((block, parent.block))
        return missing

    def _missing_name(self, block: Block, digest: bytes) -> Reference | None:
        """The first name of this parent that lies above the horizon and is no name of an accepted block."""
        parent = self.accepted.get(digest)
        true = None if parent is None else parent.reference
        names = (name for name in block.content.parents if name.digest == digest and name.round > self.horizon)
        return next((name for name in names if name != true), None)

    def _suspend(self, suspended: Suspended) -> None:
        self.suspended[suspended.digest] = suspended
        for parent in suspended.block.content.parents:
            if parent.digest in suspended.missing:
                self._waiting.setdefault(parent.digest, {})[suspended.digest] = None
                self._missing_rounds.setdefault(parent.round, {})[parent.digest] = None
                if parent.digest not in self:
                    self._wanted[parent.digest] = parent
        for payload in suspended.block.content.attachments:
            if payload.digest in suspended.payloads:
                self._payload_waiting.setdefault(payload.digest, {})[suspended.digest] = None
        self._note_holders(suspended)

    def _note_holders(self, suspended: Suspended) -> None:
        """Its author has accepted all that it builds on, and so have the authors of what builds on it and came before.

        Of f + 1 members one is honest: no more are noted of one block.
        """
        members = 1 << suspended.block.content.author
        for child in self._waiting.get(suspended.digest, ()):
            members |= self.suspended[child].holders if child in self.suspended else 0
        spreading = [(suspended, members)]
        while spreading:
            one, members = spreading.pop()
            new = members & ~one.holders
            if not new or one.holders.bit_count() > self._committee.faulty_max:
                continue
            one.holders |= new
            if one.payloads:
                self._holders.append((one.block, new))
            parents = (self.suspended.get(parent.digest) for parent in one.block.content.parents)
            spreading += ((parent, new) for parent in parents if parent is not None)

    def _release(self, suspended: Suspended) -> list[Vertex]:
        if suspended.missing or suspended.payloads:
            return []
        del self.suspended[suspended.digest]
        return self._accept(suspended.digest, suspended.block)

    def _accept(self, digest: Digest, block: Block) -> list[Vertex]:
        """Accept a block and all that waited for it alone, parents first."""
        accepted: list[Vertex] = []
        ready: deque[tuple[Digest, Block]] = deque([(digest, block)])
        while ready:
            digest, block = ready.popleft()
            vertex = self._connect(digest, block)
            self._insert(vertex)
            accepted.append(vertex)
            for child in self._waiting.pop(digest, ()):
                suspended = self.suspended.get(child)
                if suspended is None:
                    continue
                if self._missing_name(suspended.block, digest) is not None:
                    self._false_parents.append((suspended.block, block))
                    self._waiting.setdefault(digest, {})[child] = None
                    continue
                suspended.missing.discard(digest)
                if not suspended.missing and not suspended.payloads:
                    del self.suspended[child]
                    ready.append((suspended.digest, suspended.block))
        return accepted

    def _connect(self, digest: Digest, block: Block) -> Vertex:
        """The block with its parents, all of which are accepted or at most at the horizon."""
        content = block.content
        before, mask, horizon = content.round - 1, 0, self.horizon
        parents: list[Vertex] = []
        for reference in content.parents:
            if reference.round == before:
                mask |= 1 << reference.author
            if reference.round > horizon:
                parents.append(self.accepted[reference.digest])
        return Vertex(digest, block, tuple(parents), mask)

    def _insert(self, vertex: Vertex) -> None:
        number = vertex.round
        self.accepted[vertex.digest] = vertex
        of_round = self._rounds.get(number)
        if of_round is None:
            of_round = self._rounds[number] = Round()
        twins = of_round.vertices.setdefault(vertex.author, [])
        twins.append(vertex)
        of_round.has_twins |= len(twins) > 1
        of_round.authors |= 1 << vertex.author
        newest = self.newest[vertex.author]
        if newest is None or newest.round < number:
            self.newest[vertex.author] = vertex
        self.highest_round = max(self.highest_round, number)
        self._named.note_accepted(vertex.block.content.attachments)
        if number > self.quorum_round and self._committee.is_quorum(of_round.authors):
            self.quorum_round = number

    def _forget_slots(self, slots: dict[int, tuple[Digest, ...]]) -> None:
        for digests in slots.values():
            for digest in digests:
                self._twins.drop(digest)
                self.dropped += self.suspended.pop(digest, None) is not None

    def _cross_horizon(self) -> list[Vertex]:
        """What is named by a round at or below the horizon is missed no more."""
        accepted: list[Vertex] = []
        for number in [number for number in self._missing_rounds if number <= self.horizon]:
            for digest in self._missing_rounds.pop(number):
                for child in self._no_more_waiting(digest):
                    accepted += self._miss_no_more(child, digest)
        return accepted

    def _no_more_waiting(self, digest: bytes) -> list[bytes]:
        """The blocks that waited for this parent; those that name it by a round above the horizon, too, go on waiting."""
        children = self._waiting.pop(digest, {})
        waiting: dict[bytes, None] = {}
        for child in children:
            suspended = self.suspended.get(child)
            name = None if suspended is None else self._missing_name(suspended.block, digest)
            if name is not None:
                waiting[child] = None
                if digest in self._wanted:
                    self._wanted[digest] = name
        if waiting:
            self._waiting[digest] = waiting
        else:
            self._wanted.pop(digest, None)
        return [child for child in children if child not in waiting]

    def _miss_no_more(self, child: bytes, digest: bytes) -> list[Vertex]:
        suspended = self.suspended.get(child)
        if suspended is None or digest not in suspended.missing:
            return []
        suspended.missing.discard(digest)
        released = self._release(suspended)
        self.crossed += bool(released)
        return released
