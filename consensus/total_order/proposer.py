"""Creates our own blocks: when the pacemaker says so, on top of everything that is new, never two for one round."""

from collections import deque
from dataclasses import dataclass

from consensus.effects import Broadcast
from consensus.encoding import Signer, encode
from consensus.protocol import Submitted
from consensus.steps import PAYLOAD_BYTES_MAX, Attachment
from consensus.total_order.block import (
    ATTACHMENTS_MAX,
    ITEMS_MAX,
    Block,
    BlockContribution,
    Checkpoint,
    Content,
    Reference,
    sign_block,
)
from consensus.total_order.context import State
from consensus.total_order.dag import Vertex
from consensus.total_order.messages import BlockMessage
from consensus.total_order.pacemaker import SILENT_ROUNDS, Pacemaker, Readiness
from consensus.types import Digest, Instant, WallTime

CHECKPOINT_ROUNDS = 8
"""A checkpoint is named in one block of so many: it takes a fifth of a small block, and joiners can wait for a second."""

PENDING_MAX = 256
"""Payloads that wait for our next blocks: 1 MB. Beyond it the oldest are dropped: what is newer is worth more to a learner."""


@dataclass(frozen=True, slots=True)
class PendingContribution:
    """A payload of our own learner."""

    item: BlockContribution
    attachments: tuple[Attachment, ...]


@dataclass(frozen=True, slots=True)
class Created:
    """A block of our own that has been signed, and is neither in the graph nor sent yet."""

    digest: Digest
    block: Block
    readiness: Readiness


class Proposer:
    """One member's own chain of blocks."""

    def __init__(self, state: State, me: int, sign: Signer, guard_round: int) -> None:
        self._state = state
        self._me = me
        self._sign = sign
        self.pacemaker = Pacemaker(state.rules, state.committee.size, state.committee.faulty_max)
        self.last = state.genesis[me]
        """Our own newest block."""
        self.last_block: Block | None = None
        self.signed_round = guard_round
        """We have signed, or may have signed, up to this round: never again at or below it."""
        self.due_at: Instant | None = None
        """When the block of the round entered is due; None: we are not in a round that we may create a block for."""
        self.created_at = Instant(0)
        """When we created it."""
        self.checkpoint: Checkpoint | None = None
        self._included = [0] * state.committee.size
        self._pending: deque[PendingContribution] = deque()
        self._under_way: dict[int, tuple[PendingContribution, ...]] = {}
        self._dropped: list[Digest] = []
        """Large payloads of what was dropped since it was last asked for."""

    def submit(self, event: Submitted) -> None:
        """A payload of our own learner, for the next block with room."""
        assert len(event.payload) <= PAYLOAD_BYTES_MAX, f"payload of {len(event.payload)} bytes, limit {PAYLOAD_BYTES_MAX}"
        assert len(event.attachments) <= ATTACHMENTS_MAX, f"{len(event.attachments)} attachments, limit {ATTACHMENTS_MAX}"
        self._pending.append(PendingContribution(BlockContribution(event.base, event.payload), event.attachments))
        self._bound_pending()

    def note_signed(self, round_number: int) -> None:
        """We learn that we have signed for this round in an earlier run, which may have ended before its guard was written."""
        if round_number > self.signed_round:
            self.signed_round = round_number
            self._state.effects.guard(round_number)

    def on_accepted(self, vertex: Vertex) -> None:
        """A block was accepted: if it is ours, of this incarnation or an earlier one, it is what we build on."""
        if vertex.author != self._me:
            return
        self.note_signed(vertex.round)
        if vertex.round > self.last.round:
            self.last, self.last_block = vertex.reference, vertex.block
        for parent in vertex.block.content.parents:
            self._included[parent.author] = max(self._included[parent.author], parent.round)
        self._note_carried(vertex)

    def on_commit(self, vertices: list[Vertex]) -> None:
        """A commit has put these blocks into the order."""
        for vertex in vertices:
            if vertex.author == self._me:
                self._under_way.pop(vertex.round, None)
        self.pacemaker.on_commit(has_items=any(vertex.block.content.items for vertex in vertices))

    def on_forgotten(self, vertices: list[Vertex]) -> None:
        """Blocks fell below the horizon: what ours carried is lost, and goes into the next one."""
        for vertex in reversed(vertices):
            lost = self._under_way.pop(vertex.round, ()) if vertex.author == self._me else ()
            self._pending.extendleft(reversed(lost))
            self._state.counters.payloads_repeated += len(lost)
        self._bound_pending()

    def on_checkpoint(self) -> None:
        """The order goes on from a checkpoint: what our blocks up to it carried may be delivered by commits that we skip."""
        for number in [number for number in self._under_way if number <= self._state.order.leader_round]:
            for pending in self._under_way.pop(number):
                self._dropped += (large.digest for large in pending.attachments)

    def on_restored(self, vertex: Vertex) -> None:
        """Our own block from the records that is not ordered yet."""
        content = vertex.block.content
        first, *others = (PendingContribution(item, ()) for item in content.items) if content.items else (None,)
        if first is not None:
            self._under_way[content.round] = (PendingContribution(first.item, content.attachments), *others)

    def take_dropped(self) -> list[Digest]:
        """Large payloads of what we have given up; told once."""
        dropped, self._dropped = self._dropped, []
        return dropped

    def carried_payloads(self) -> set[bytes]:
        """Large payloads that our next blocks may name."""
        under_way = (pending for chosen in self._under_way.values() for pending in chosen)
        return {large.digest for pending in (*self._pending, *under_way) for large in pending.attachments}

    def resend(self) -> None:
        """Send our newest block once more."""
        if self.last_block is not None:
            self._state.effects.add(Broadcast(encode(BlockMessage(self.last_block))))

    def create_due(self, now: Instant) -> Created | None:
        """Create and sign the next block, if one is due; `send_created` is to follow, once the graph has accepted it."""
        number = self.round_to_create()
        if number is None:
            self.due_at = None
            return None
        self.pacemaker.enter(number, now)
        readiness = self._readiness(number)
        self.due_at = self.pacemaker.due_at(readiness, now)
        return self._create(number, readiness, now) if self.due_at <= now else None

    def send_created(self, created: Created, now: Instant) -> None:
        """The graph has accepted our new block: it is sent, once it is durable that it was signed."""
        number = created.block.content.round
        assert self.last.round == number, "our own block is accepted at once: its parents are"
        self.created_at = now
        self._state.effects.guard(number)
        self._state.effects.add(Broadcast(encode(BlockMessage(created.block))))
        self._state.counters.blocks_created += 1
        self.pacemaker.on_own_block(created.readiness, now)
        self._state.counters.rounds_filled += created.readiness.is_late

    def round_to_create(self) -> int | None:
        """The first round that we may create a block for: a quorum of the round before is here."""
        state = self._state
        base = max(self.last.round, self.signed_round, state.dag.horizon)
        for number in range(base + 1, state.dag.highest_round + 2):
            if state.committee.is_quorum(state.dag.authors(number - 1) & ~self._unnamed_members(number)):
                return number
        return None

    # --- inside ---

    def _unnamed_members(self, number: int) -> int:
        """The members whose blocks no block of ours for this round names: those that equivocate, as a set.

        But a round that an honest member has gone through before it knew, with blocks of theirs in its quorum, may hold no
        quorum without them: who was away then could create no block any more, and the others would wait for it for ever.
        """
        state = self._state
        banned = state.equivocators.members
        gone_on = state.dag.authors(number) & ~banned
        return 0 if gone_on.bit_count() >= state.committee.validity else banned

    def _note_carried(self, vertex: Vertex) -> None:
        """A block of an earlier run, lost with a disk, carries these items, perhaps for the second time: so what waits for
        our next blocks, or may come back from an older one, is on its way with this block, and not delivered twice. Where this
        block is never ordered it comes back: an order that loses what a learner has said may stop the learning of all.
        """
        items = vertex.block.content.items
        if not items or vertex.round in self._under_way:
            return
        carried = [pending for pending in self._pending if pending.item in items]
        self._pending = deque(pending for pending in self._pending if pending.item not in items)
        for number, chosen in self._under_way.items():
            carried += [pending for pending in chosen if pending.item in items]
            self._under_way[number] = tuple(pending for pending in chosen if pending.item not in items)
        if carried:
            self._under_way[vertex.round] = tuple(carried)

    def _readiness(self, number: int) -> Readiness:
        state = self._state
        return Readiness(
            awaited=self._awaited_leader(number),
            is_late=state.committee.is_quorum(state.dag.authors(number) & ~(1 << self._me)),
            is_idle=not self._pending and not state.busy,
            has_own=bool(self._pending),
            have_all_spoken=not state.peers.members & ~state.dag.authors(number - 1),
        )

    def _awaited_leader(self, number: int) -> int | None:
        """Whose turn is not over, as the block of this round would say."""
        leader_of = self._state.committee.leader_of
        if number > 1 and not self._has_or_needs_no(leader_of(number - 1), number - 1):
            return leader_of(number - 1)
        return leader_of(number - 2) if number > 2 and not self._state.rule.helps_to_decide(number - 2) else None

    def _has_or_needs_no(self, leader: int, number: int) -> bool:
        state = self._state
        if leader == self._me or leader in state.equivocators or state.dag.authors(number) >> leader & 1:
            return True
        return not state.peers.is_connected(leader) and state.dag.kept_rounds[leader] < number - SILENT_ROUNDS

    def _create(self, number: int, readiness: Readiness, now: Instant) -> Created:
        state = self._state
        chosen = self._take_pending()
        attachments = tuple(dict.fromkeys(attachment for pending in chosen for attachment in pending.attachments))
        content = Content(
            author=self._me,
            round=number,
            parents=self._parents(number),
            items=tuple(pending.item for pending in chosen),
            attachments=attachments,
            time_ms=WallTime(max(0, state.wall.at(now))),
            commit=state.order.mark,
            checkpoint=self.checkpoint if number % CHECKPOINT_ROUNDS == 0 else None,
        )
        assert number > self.signed_round, f"round {number} may have been signed before"
        digest, block = sign_block(state.network_id, content, self._sign)
        self.signed_round = number
        if chosen:
            self._under_way[number] = chosen
        state.newest_seen[self._me] = block
        return Created(digest, block, readiness)

    def _parents(self, number: int) -> tuple[Reference, ...]:
        """Our own last block, then each other member's newest block that none of ours has named."""
        state = self._state
        parents = [self.last]
        is_quorum_without = state.committee.is_quorum(state.dag.authors(number - 1) & ~state.equivocators.members)
        for author in range(state.committee.size):
            if author == self._me:
                continue
            if author in state.equivocators:
                vertex = None if is_quorum_without else state.dag.vertex_of(author, number - 1)
                parents += [vertex.reference] if vertex is not None else []
                continue
            if number == 1:
                parents.append(state.genesis[author])
                continue
            newest = state.dag.newest_within(author, self._included[author], number - 1)
            if newest is not None:
                parents.append(newest.reference)
        return tuple(parents)

    def _take_pending(self) -> tuple[PendingContribution, ...]:
        chosen: list[PendingContribution] = []
        attachments = 0
        while self._pending and len(chosen) < ITEMS_MAX:
            attachments += len(self._pending[0].attachments)
            if attachments > ATTACHMENTS_MAX:
                break
            chosen.append(self._pending.popleft())
        return tuple(chosen)

    def _bound_pending(self) -> None:
        while len(self._pending) > PENDING_MAX:
            dropped = self._pending.popleft()
            self._dropped += (large.digest for large in dropped.attachments)
            self._state.counters.payloads_dropped += 1
