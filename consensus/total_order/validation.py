"""From an outsider's bytes to an accepted block: cheap checks, the signature, its place in the graph (docs/protocol.md, 6)."""

from enum import Enum

from consensus.effects import Accusation, Accuse, Halt, Offence, Record, Refuse
from consensus.encoding import encode
from consensus.payload_requests import Need
from consensus.rate_limit import Spending
from consensus.total_order.block import Attestations, Block, Reference, accuse, block_digest, content_fault
from consensus.total_order.context import State
from consensus.total_order.dag import Vertex
from consensus.total_order.member import Member
from consensus.total_order.records import EVIDENCE_TABLE, record_of_block
from consensus.total_order.relay import ObserverFeed
from consensus.total_order.synchroniser import Synchroniser
from consensus.types import Digest, Instant, PeerId

ROUNDS_AHEAD_MAX = 32
"""Blocks of later rounds than this, above the newest round that a quorum has blocks of, are not kept, unless a kept block or a
certain commit names them by their own round: of each author so many at most are suspended, 1.4 MB of full blocks. They can be
fetched again once we are nearer."""


class BlockAcceptance(Enum):
    """What became of a block."""

    KEPT = "accepted or suspended"
    KNOWN = "known before"
    OLD = "at or below the horizon"
    TOO_FAR = "too many rounds ahead"
    TWIN = "the second of its author and round, and nobody needs it"
    OVER_BUDGET = "its sender sends too much"
    REFUSED = "its sender broke the protocol"


class Validation:
    """Judges blocks; what the graph accepts goes on, parents first, to all who follow it. `member`: None for an observer."""

    def __init__(self, state: State, synchroniser: Synchroniser, attestations: Attestations, member: Member | None) -> None:
        self._state = state
        self._synchroniser = synchroniser
        self._attestations = attestations
        self._member = member
        self._feed = ObserverFeed(state)

    def tick(self) -> None:
        """A quarter of a second has passed."""
        self._feed.tick()

    def take(self, source: PeerId, block: Block, now: Instant) -> BlockAcceptance:
        """A block that a peer has sent."""
        state = self._state
        content = block.content
        digest = block_digest(state.network_id, content)
        if digest in state.dag:
            return BlockAcceptance.KNOWN
        if content.round <= state.dag.horizon:
            return BlockAcceptance.OLD
        is_wanted = self._synchroniser.is_wanted(digest)
        if not is_wanted:
            acceptance = self._acceptance_of_unasked(source, block, now)
            if acceptance is not None:
                return acceptance
        if not self._is_sound(source, digest, block):
            return BlockAcceptance.REFUSED
        self._note(block)
        if not self._has_place(digest, block, is_wanted):
            return BlockAcceptance.TWIN
        if self._is_too_far(block) and not self._synchroniser.is_named_so(Reference(content.round, content.author, digest)):
            state.counters.blocks_too_far += 1
            state.dag.forsake(digest, block)
            self._synchroniser.on_block(digest)
            self._accuse_false_parents()
            return BlockAcceptance.TOO_FAR
        self.keep(digest, block, source, now)
        return BlockAcceptance.KEPT

    def keep(self, digest: Digest, block: Block, source: PeerId | None, now: Instant) -> None:
        """Put a valid block into the graph. `source`: None for our own, whose large payloads are held.

        Nothing is remembered as held: what a block names is asked for, and the shell answers at once where it has it, and keeps
        it for this block.
        """
        lacking: set[bytes] = set() if source is None else {large.digest for large in block.content.attachments}
        self._synchroniser.on_block(digest)
        self._take_in(self._state.dag.add(digest, block, lacking))
        if source is not None and digest in self._state.dag.suspended:
            self._synchroniser.note_missing(block, source, now)
            self._want_payloads(block, source)
        self._note_holders()
        self._accuse_false_parents()

    def on_attachment_held(self, digest: bytes) -> None:
        """The bytes of a large payload are here."""
        self._state.wanted.note_held(digest)
        self._take_in(self._state.dag.on_attachment_held(digest))

    def forget_below_horizon(self) -> list[Vertex]:
        """Forget what lies below the horizon of the order; the blocks that were forgotten."""
        forgotten, accepted = self._state.dag.prune(self._state.order.horizon)
        self._state.counters.blocks_forgotten += len(forgotten)
        for vertex in forgotten:
            self._state.busy.pop(vertex.digest, None)
        self._take_in(accepted)
        return forgotten

    # --- judging ---

    def _acceptance_of_unasked(self, source: PeerId, block: Block, now: Instant) -> BlockAcceptance | None:
        """What keeps an unasked block from being looked at, if anything."""
        state = self._state
        record = state.peers.get(source)
        if record is None:  # refused a moment ago
            return BlockAcceptance.OVER_BUDGET
        content = block.content
        if content.author < state.committee.size and content.author in state.equivocators:
            return BlockAcceptance.TWIN  # nobody honest will ever need it
        spending = record.blocks.spend(now)
        if spending is Spending.FLOODING:
            state.effects.add(Refuse(source, Offence.FLOODING, "blocks"))
        return None if spending is Spending.COVERED else BlockAcceptance.OVER_BUDGET

    def _is_sound(self, source: PeerId, digest: Digest, block: Block) -> bool:
        """Refuses who sends a block that is not, and accuses who signed it."""
        state = self._state
        author = block.content.author
        if author >= state.committee.size:
            detail = f"author is {author}, allowed: 0 to {state.committee.size - 1}"
            state.effects.add(Refuse(source, Offence.UNKNOWN_MEMBER, detail))
            return False
        member = state.committee.members[author]
        if not state.verify(member, digest, block.signature):
            detail = f"block {digest.hex()[:8]} is not signed by the member it names"
            state.effects.add(Refuse(source, Offence.WRONG_SIGNATURE, detail))
            return False
        fault = content_fault(block.content, state.committee, state.genesis)
        if fault is None:
            return True
        state.effects.add(Accuse(Accusation(member, *fault, encode(block))))
        state.effects.add(Refuse(source, *fault))
        return False

    def _note(self, block: Block) -> None:
        """What a block says counts even if it is not kept."""
        content = block.content
        seen = self._state.newest_seen.get(content.author)
        if seen is None or seen.content.round < content.round:
            self._state.newest_seen[content.author] = block
        self._attestations.note(block)

    def _has_place(self, digest: Digest, block: Block, is_wanted: bool) -> bool:
        """Whether the slot is free, or somebody's block needs this twin. A second block is evidence, kept or not."""
        state = self._state
        content = block.content
        twins = state.dag.slot(content.author, content.round)
        if not twins:
            return True
        other = state.dag.block(twins[0])
        assert other is not None, "a slot names blocks that are kept"
        self._expose(content.author, other, block)
        if is_wanted and state.dag.has_room_for_twin(digest):
            return True
        state.counters.twins_refused += 1
        return False

    def _expose(self, member: int, one: Block, other: Block) -> None:
        state = self._state
        if member == state.me:
            number = one.content.round
            reason = f"our own key signed two blocks for round {number}: another node runs with it, or its redo log was lost"
            state.effects.add(Halt(reason))
            return
        if state.equivocators.expose(member):
            accusation = accuse(state.committee, state.network_id, one, other)
            state.effects.record(Record(EVIDENCE_TABLE, accusation.accused, accusation.evidence))
            state.effects.add(Accuse(accusation))

    def _is_too_far(self, block: Block) -> bool:
        dag = self._state.dag
        return block.content.round > max(dag.quorum_round, dag.horizon) + ROUNDS_AHEAD_MAX

    # --- accepting ---

    def _want_payloads(self, block: Block, source: PeerId) -> None:
        """Its author holds what it names, and who has sent it may: it has accepted it, or waits like us."""
        wanted = self._state.wanted
        author = self._state.committee.members[block.content.author]
        for large in block.content.attachments:
            wanted.wait(large.digest, (large,), None, Need.FREE)
            wanted.add_holders(large.digest, (author,))
            wanted.add_source(large.digest, source)

    def _note_holders(self) -> None:
        """Whoever builds on a block has accepted it: where its author withholds what it names, they can give it."""
        state = self._state
        for block, members in state.dag.take_holders():
            peers = tuple(peer for index, peer in enumerate(state.committee.members) if members >> index & 1)
            for large in block.content.attachments:
                state.wanted.add_holders(large.digest, peers)

    def _take_in(self, accepted: list[Vertex]) -> None:
        for vertex in accepted:
            state = self._state
            state.effects.record(record_of_block(vertex.reference, vertex.block))
            if (vertex.block.content.items or vertex.block.content.attachments) and not state.order.is_ordered(vertex):
                state.busy[vertex.digest] = None
            state.rule.add(vertex)
            self._feed.forward(vertex)
            if self._member is not None:
                self._member.on_accepted(vertex)

    def _accuse_false_parents(self) -> None:
        for child, parent in self._state.dag.take_false_parents():
            author = self._state.committee.members[child.content.author]
            content = parent.content
            detail = f"names the block of member {content.author}, round {content.round} by another round or author"
            self._state.effects.add(Accuse(Accusation(author, Offence.WRONG_PARENTS, detail, encode(child) + encode(parent))))
