"""Getting the blocks that are missing: from who sent us their children, from their authors, then from anybody.

Never given up while something needs them. Every request is bounded and has a deadline, every answer holds only what was asked.
Each missing block has a time at which it is looked at next, and the queue is ordered by it: no tick looks at all of them.
"""

import heapq
import itertools
from collections.abc import Iterable
from dataclasses import dataclass, field

from consensus.effects import Offence, Refuse, Send, SetTimer
from consensus.encoding import encode
from consensus.seeded_choice import SeededChoice
from consensus.total_order.block import Block, Reference, block_digest
from consensus.total_order.context import State
from consensus.total_order.messages import BLOCKS_ASKED_MAX, Blocks, GetBlocks
from consensus.total_order.peers import REQUESTS_OPEN_MAX, PeerRecord
from consensus.types import Digest, Instant, PeerId

STALE_MAX = 64
"""Entries that no longer hold, besides as many as hold, before they are cleared away."""


class DueQueue:
    """Each name is due once; of equal times the one put first comes first."""

    def __init__(self) -> None:
        self._heap: list[tuple[Instant, int, bytes]] = []
        self._turns: dict[bytes, int] = {}
        """By name: the number of the one entry that holds."""
        self._count = 0

    def __len__(self) -> int:
        return len(self._turns)

    @property
    def first(self) -> Instant | None:
        """When the next one is due."""
        while self._heap and not self._holds(self._heap[0]):
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def put(self, name: bytes, due_at: Instant) -> None:
        """It is due then, and not when it was before."""
        self._count += 1
        self._turns[name] = self._count
        heapq.heappush(self._heap, (due_at, self._count, name))
        if len(self._heap) > 2 * len(self._turns) + STALE_MAX:
            self._heap = [entry for entry in self._heap if self._holds(entry)]
            heapq.heapify(self._heap)

    def drop(self, name: bytes) -> None:
        """Forget when it is due."""
        self._turns.pop(name, None)

    def take(self, now: Instant, count_max: int) -> list[bytes]:
        """Those that are due by now, as many as are allowed; they are due no more."""
        taken: list[bytes] = []
        while len(taken) < count_max and self.first is not None and self._heap[0][0] <= now:
            _, _, name = heapq.heappop(self._heap)
            del self._turns[name]
            taken.append(name)
        return taken

    def _holds(self, entry: tuple[Instant, int, bytes]) -> bool:
        _, turn, name = entry
        return self._turns.get(name) == turn


FETCH_TIMER = "fetch"

PAUSE_MS = 10
"""Between two looks at all that is missing."""

ROUND_TRIP_MS = 500
"""When nobody was left to ask: so long before the first is asked again, and twice as long each time."""

PAUSE_MS_MAX = 4_000
"""At most so long: what was invented costs ever less, and what a cut link hides is asked for soon after it heals."""

LOOKED_AT_MAX = 128
"""Missing blocks looked at in one tick, up to 0.1 ms each. What is over has its turn in the next."""

GRACE_MS = 30
"""A block may come over two links sooner than over one: so long a parent's author has to deliver it unasked."""

HEDGE_MS = 300
"""After so long without an answer a second peer is asked."""

ANSWER_MS = 2_000
"""After so long a request no longer counts as in flight; a late answer is still taken."""

IN_FLIGHT_MAX = 2
"""Requests for one block at once."""

HINTS_MAX = 4
"""Peers remembered that have sent us a child of the block, and so have it."""

Answer = tuple[tuple[Digest, Block], ...]


@dataclass(slots=True)
class MissingBlock:
    """How a missing block is pursued."""

    first_at: Instant
    """When to ask first."""
    hints: dict[PeerId, None] = field(default_factory=dict)
    tried: dict[PeerId, None] = field(default_factory=dict)
    in_flight: dict[PeerId, Instant] = field(default_factory=dict)
    """When each was asked."""
    pause_ms: int = ROUND_TRIP_MS
    """When everybody has been asked in vain."""
    waits_for: PeerId | None = None
    """Whoever will be asked once it has answered other requests."""


class Synchroniser:
    """Follows what the graph misses, and what a range of commits needs."""

    def __init__(self, state: State, choice: SeededChoice) -> None:
        self._state = state
        self._choice = choice
        self._pursuits: dict[bytes, tuple[Reference, MissingBlock]] = {}
        self._due = DueQueue()
        self._roomless: dict[PeerId, dict[bytes, None]] = {}
        """By peer: blocks that it will be asked for once it has answered others."""
        self._of_range: dict[bytes, Reference] = {}
        self._timer_at: Instant | None = None
        self._ticked_at = Instant(0)

    @property
    def missing(self) -> int:
        """How many blocks are asked for."""
        return len(self._pursuits)

    @property
    def missing_of_range(self) -> int:
        """Blocks of a range of commits that are asked for."""
        return len(self._of_range)

    def is_wanted(self, digest: bytes) -> bool:
        """Whether we need this block for another one, or for a range of commits."""
        return digest in self._of_range or self._state.dag.is_wanted(digest)

    def is_named_so(self, block: Reference) -> bool:
        """Whether a kept block, or a range of commits, names the block by its own round and author."""
        return self._of_range.get(block.digest) == block or self._state.dag.is_missed_as(block)

    def want_range(self, references: Iterable[Reference], source: PeerId, now: Instant) -> None:
        """Fetch the blocks of a commit that we catch up with. It is certain: so are the names that it gives them."""
        for reference in references:
            if reference.digest not in self._state.dag and reference.round > self._state.dag.horizon:
                self._of_range[reference.digest] = reference
                self._pursue(reference, source, now)
                self._pursuits[reference.digest] = (reference, self._pursuits[reference.digest][1])

    def drop_range(self) -> None:
        """The range was no good: only what the graph misses is wanted."""
        self._of_range.clear()

    def note_missing(self, child: Block, source: PeerId, now: Instant) -> None:
        """A block of `source` was suspended: pursue what it misses."""
        dag = self._state.dag
        for parent in child.content.parents:
            if dag.is_wanted(parent.digest):
                is_author_here = self._state.peers.is_connected(parent.author) and parent.round + 1 == child.content.round
                self._pursue(parent, source, Instant(now + GRACE_MS) if is_author_here else now)

    def on_block(self, digest: bytes) -> None:
        """The block is in the graph: nobody is asked for it any more."""
        _, pursuit = self._pursuits.pop(digest, (None, None))
        self._of_range.pop(digest, None)
        self._due.drop(digest)
        if pursuit is not None:
            self._wait_no_more(digest, pursuit)

    def settle(self, now: Instant) -> None:
        """Ask for what is due by now; have the timer fire for what is due a little later."""
        due_at = self._next_due()
        if due_at is None:
            return
        if due_at <= now:
            self.tick(now)
        elif self._timer_at != due_at:
            self._timer_at = due_at
            self._state.effects.add(SetTimer(FETCH_TIMER, due_at))

    def tick(self, now: Instant) -> None:
        """Ask for what is due, as far as one tick reaches, and forget what nobody needs any more."""
        self._ticked_at = now
        wishes: dict[PeerId, list[Reference]] = {}
        for digest in self._due.take(now, LOOKED_AT_MAX):
            reference, pursuit = self._pursuits[digest]
            if not self._is_needed(reference):
                self.on_block(digest)
                continue
            self._wait_no_more(digest, pursuit)
            self._look_at(reference, pursuit, wishes, now)
            self._due.put(digest, self._look_again_at(pursuit, now))
        for peer, references in wishes.items():
            self._ask(peer, references, now)

    def fire(self, now: Instant) -> None:
        """The fetch timer has run out."""
        self._timer_at = None
        self.tick(now)

    def on_answer(self, peer: PeerId, record: PeerRecord, answer: Blocks) -> Answer:
        """The blocks of an answer that we asked this peer for; nothing when the peer broke the rules, and is refused."""
        asked = record.block_requests.on_answer(answer.number)
        if asked is None:
            return ()
        self._end_request(peer, asked)
        self._room_at(peer, BLOCKS_ASKED_MAX)
        named = tuple((block_digest(self._state.network_id, block.content), block) for block in answer.blocks)
        for digest, _ in named:
            if digest not in asked:
                self._refuse(peer, f"block {digest.hex()[:8]} in answer {answer.number}")
                return ()
        return named

    def leave(self, peer: PeerId, asked: Iterable[bytes]) -> None:
        """The peer is gone: what it was asked for, others may be asked for."""
        self._end_request(peer, asked)
        self._room_at(peer, len(self._pursuits))

    # --- inside ---

    def _pursue(self, reference: Reference, source: PeerId, first_at: Instant) -> None:
        entry = self._pursuits.get(reference.digest)
        if entry is None:
            entry = self._pursuits[reference.digest] = (reference, MissingBlock(first_at))
            self._due.put(reference.digest, first_at)
        hints = entry[1].hints
        if len(hints) < HINTS_MAX:
            hints[source] = None

    def _end_request(self, peer: PeerId, asked: Iterable[bytes]) -> None:
        """What comes does so at once; what does not, another peer may be asked for."""
        for digest in asked:
            if digest in self._pursuits:
                self._pursuits[digest][1].in_flight.pop(peer, None)
                self._due.put(digest, self._ticked_at)

    def _next_due(self) -> Instant | None:
        """When to look again, not sooner than PAUSE_MS after the last look."""
        first = self._due.first
        return None if first is None else Instant(max(first, self._ticked_at + PAUSE_MS))

    def _is_needed(self, reference: Reference) -> bool:
        dag = self._state.dag
        if dag.is_wanted(reference.digest):
            return True
        ranged = self._of_range.get(reference.digest)
        return ranged is not None and reference.digest not in dag and ranged.round > dag.horizon

    def _look_at(
        self, reference: Reference, pursuit: MissingBlock, wishes: dict[PeerId, list[Reference]], now: Instant
    ) -> None:
        peer = self._whom(pursuit, reference.author, now)
        if peer is None:
            return
        if not self._has_room(peer, wishes, now):
            self._roomless.setdefault(peer, {})[reference.digest] = None
            pursuit.waits_for = peer
            return
        wishes.setdefault(peer, []).append(reference)
        pursuit.tried[peer] = None
        pursuit.in_flight[peer] = now

    def _look_again_at(self, pursuit: MissingBlock, now: Instant) -> Instant:
        """When the next may be asked: the pause is over, a second peer may be asked, or an answer is overdue."""
        if now < pursuit.first_at:
            return pursuit.first_at
        if pursuit.waits_for is not None:  # until that peer answers, or all that it was asked for is overdue
            return Instant(now + ANSWER_MS)
        asked_at = pursuit.in_flight.values()
        if 0 < len(asked_at) < IN_FLIGHT_MAX:
            return Instant(max(max(asked_at) + HEDGE_MS, now + PAUSE_MS))
        return Instant(max(min(asked_at, default=now) + ANSWER_MS, now + PAUSE_MS))

    def _wait_no_more(self, digest: bytes, pursuit: MissingBlock) -> None:
        waiting = None if pursuit.waits_for is None else self._roomless.get(pursuit.waits_for)
        if waiting is not None and pursuit.waits_for is not None:
            waiting.pop(digest, None)
            if not waiting:
                del self._roomless[pursuit.waits_for]
        pursuit.waits_for = None

    def _room_at(self, peer: PeerId, count_max: int) -> None:
        """So many blocks that waited for this peer have their turn."""
        for digest in list(itertools.islice(self._roomless.get(peer, ()), count_max)):
            self._wait_no_more(digest, self._pursuits[digest][1])
            self._due.put(digest, self._ticked_at)

    def _whom(self, pursuit: MissingBlock, author: int, now: Instant) -> PeerId | None:
        """Whom to ask now, if anybody."""
        if now < pursuit.first_at:
            return None
        for peer in [peer for peer, at in pursuit.in_flight.items() if now >= at + ANSWER_MS]:
            del pursuit.in_flight[peer]
        newest = max(pursuit.in_flight.values(), default=None)
        if newest is not None and (len(pursuit.in_flight) >= IN_FLIGHT_MAX or now < newest + HEDGE_MS):
            return None
        peers = self._state.peers
        preferred = (*pursuit.hints, self._state.committee.members[author])
        for peer in preferred:
            if peer not in pursuit.tried and peers.get(peer) is not None:
                return peer
        others = [peer for peer in peers.connected_members() if peer not in pursuit.tried]
        if others:
            return self._choice.pick(others)
        if pursuit.tried:
            pursuit.tried.clear()
            pursuit.pause_ms = min(2 * pursuit.pause_ms, PAUSE_MS_MAX)
        pursuit.first_at = Instant(now + pursuit.pause_ms)
        return None

    def _has_room(self, peer: PeerId, wishes: dict[PeerId, list[Reference]], now: Instant) -> bool:
        record = self._state.peers.get(peer)
        assert record is not None, "only connected peers are asked"
        room = REQUESTS_OPEN_MAX - record.block_requests.open(now)
        return len(wishes.get(peer, ())) < room * BLOCKS_ASKED_MAX

    def _ask(self, peer: PeerId, references: list[Reference], now: Instant) -> None:
        """The lowest rounds first: what comes can be accepted at once."""
        record = self._state.peers.get(peer)
        assert record is not None, "only connected peers are asked"
        ordered = sorted(references)
        for start in range(0, len(ordered), BLOCKS_ASKED_MAX):
            batch = tuple(ordered[start : start + BLOCKS_ASKED_MAX])
            digests: dict[bytes, None] = {reference.digest: None for reference in batch}
            number = record.block_requests.add(digests, Instant(now + ANSWER_MS))
            self._state.effects.add(Send(peer, encode(GetBlocks(number, batch))))

    def _refuse(self, peer: PeerId, detail: str) -> None:
        self._state.effects.add(Refuse(peer, Offence.UNSOLICITED, detail))
