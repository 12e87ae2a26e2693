"""What waits before it can be judged: headers for their puzzle, blocks for their parent or their time.

A header here has passed the cheap check, and not yet the costly one. Nobody acts on it. What a peer alone has brought leaves
with it.
"""

from collections import Counter
from dataclasses import dataclass

from consensus.proof_of_work.block_tree import BlockIndex
from consensus.proof_of_work.header import Body, Header, NamedBlock
from consensus.proof_of_work.puzzle_budgets import PuzzleBudgets, Ticket
from consensus.types import Height, Instant, PeerId, StepId, WallTime

ORPHANS_MAX = 64
"""A minute of a network with a block a second; the headers that are asked for make up for what is lost. 2 MB at most."""

ORPHANS_PER_PEER_MAX = 16
"""So that one peer cannot push out what others sent."""

EARLY_MAX = 32
"""Only blocks whose leader's clock is ahead of ours wait here; their puzzles are not verified yet."""

EARLY_PER_PEER_MAX = 8
"""So that one peer cannot push out what others sent, with blocks that have cost it nothing."""


@dataclass(frozen=True, slots=True)
class Orphan:
    """A block and who sent it."""

    named: NamedBlock
    source: PeerId

    @property
    def id(self) -> StepId:
        """The id of the block."""
        return self.named.id


class Orphanage:
    """Bounded; when it is full, the one that waits longest leaves."""

    def __init__(self) -> None:
        self._orphans: dict[StepId, Orphan] = {}
        self._early: dict[StepId, Orphan] = {}

    @property
    def orphans(self) -> int:
        """How many wait for their parent."""
        return len(self._orphans)

    def add_orphan(self, waiting: Orphan) -> None:
        """Keep a block until its parent comes."""
        own = [other.id for other in self._orphans.values() if other.source == waiting.source]
        if len(own) >= ORPHANS_PER_PEER_MAX:
            del self._orphans[own[0]]
        self._orphans[waiting.id] = waiting
        if len(self._orphans) > ORPHANS_MAX:
            del self._orphans[next(iter(self._orphans))]

    def take_children(self, parent: StepId) -> tuple[Orphan, ...]:
        """The orphans that have found their parent leave."""
        found = tuple(waiting for waiting in self._orphans.values() if waiting.named.header.parent == parent)
        for waiting in found:
            del self._orphans[waiting.id]
        return found

    def add_early(self, waiting: Orphan) -> None:
        """Keep a block until its time comes."""
        own = [other.id for other in self._early.values() if other.source == waiting.source]
        if len(own) >= EARLY_PER_PEER_MAX:
            del self._early[own[0]]
        self._early[waiting.id] = waiting
        if len(self._early) > EARLY_MAX:
            del self._early[next(iter(self._early))]

    def take_timely(self, latest: WallTime) -> tuple[Orphan, ...]:
        """Those whose time is not after `latest` leave."""
        found = tuple(waiting for waiting in self._early.values() if waiting.named.header.time_ms <= latest)
        for waiting in found:
            del self._early[waiting.id]
        return found


STAGED_MAX = 1_024
"""Ten seconds of one core's verifying; 32 MB in the worst case, when all come with the largest body."""

STAGED_PER_PEER_MAX = 384
"""Three answers of 128 headers."""

PUSHED_PER_OUTSIDER_MAX = 16
"""What a peer that has shown nothing yet may push: a few blocks of a live network. What it was asked for is not counted."""

PUSHED_BY_OUTSIDERS_MAX = 256
"""Of all such peers together, so that there is room for what was asked for."""

VERIFY_IN_FLIGHT_MAX = 32
"""A third of a second of one core; more would delay the check of a live block."""

SOURCES_MAX = 4
"""Further peers remembered as having sent the same header: it stays while one of them does."""


@dataclass(slots=True)
class Staged:
    """One header that waits, and what came with it."""

    link: BlockIndex
    header: Header
    body: Body | None
    source: PeerId
    body_source: PeerId
    """Who has sent the body: not always who has sent the header."""
    fork_height: Height | None
    """For a branch that leaves the main chain below the final block: where it does."""
    is_asked: bool
    """Whether it belongs to an answer to a request of ours."""
    is_verified: bool = False
    is_of_use: bool = False
    """Whether a peer that has shown something has sent it, or what builds on it."""
    other_sources: tuple[PeerId, ...] = ()


@dataclass(frozen=True, slots=True)
class _Flight:
    peer: PeerId
    ticket: Ticket


class UnverifiedHeaders:
    """Staged headers in order of arrival, parents before children."""

    def __init__(self, budgets: PuzzleBudgets) -> None:
        self._budgets = budgets
        self._staged: dict[StepId, Staged] = {}
        self._children: dict[StepId, dict[StepId, None]] = {}
        """By parent, which need not be staged itself."""
        self._waiting: dict[PeerId, dict[StepId, None]] = {}
        """Those not yet verified nor being so, by source; the peer that was served last comes last."""
        self._in_flight: dict[StepId, _Flight] = {}
        self._flights: Counter[PeerId] = Counter()
        self._counts: Counter[PeerId] = Counter()
        self._pushed: Counter[PeerId] = Counter()

    def __len__(self) -> int:
        return len(self._staged)

    def get(self, step: StepId) -> Staged | None:
        """The staged header of this id."""
        return self._staged.get(step)

    def ids(self) -> tuple[StepId, ...]:
        """The ids of all staged headers."""
        return tuple(self._staged)

    def count_from(self, peer: PeerId) -> int:
        """How many the peer has sent."""
        return self._counts[peer]

    def has_asked_of_others(self, peer: PeerId) -> bool:
        """Whether headers wait that belong to answers of other peers than this one."""
        asked_of_peer = self._counts[peer] - self._pushed[peer]
        return len(self._staged) - self._pushed.total() > asked_of_peer

    def add(self, staged: Staged, now: Instant) -> bool:
        """Let it wait; False when there is no room, for all or for its source. Who sends it has seen all below it proven."""
        if len(self._staged) >= STAGED_MAX or self.count_from(staged.source) >= STAGED_PER_PEER_MAX:
            return False
        if not staged.is_asked and not self._has_room_for_push(staged.source):
            return False
        step = staged.link.id
        self._staged[step] = staged
        self._children.setdefault(staged.link.parent, {})[step] = None
        self._waiting.setdefault(staged.source, {})[step] = None
        self._count(staged, 1)
        self._improve_turn(step, staged.source, now, is_asked=staged.is_asked)
        return True

    def add_source(self, step: StepId, peer: PeerId, now: Instant, *, is_asked: bool) -> None:
        """Another peer has sent the header, too. It is verified in the turn of whoever has the better one."""
        staged = self._staged.get(step)
        if staged is None:
            return
        if peer != staged.source and peer not in staged.other_sources and len(staged.other_sources) < SOURCES_MAX:
            staged.other_sources += (peer,)
        self._improve_turn(step, peer, now, is_asked=is_asked)

    def is_left_waiting(self, step: StepId) -> bool:
        """Whether it waits for an outsider's turn."""
        staged = self._staged.get(step)
        return staged is not None and self._budgets.is_outsider(staged.source) and self._is_waiting(staged)

    def start_verifying(self, now: Instant) -> tuple[Staged, ...]:
        """Those to verify now, within the bounds; they count as in flight until `on_answer`."""
        started: list[Staged] = []
        for peer in self._by_rank(now):
            while len(self._in_flight) < VERIFY_IN_FLIGHT_MAX and peer in self._waiting:
                ticket = self._budgets.start(peer, self._flights[peer], now)
                if ticket is None:
                    break
                started.append(self._start(peer, ticket))
        return tuple(started)

    def on_answer(self, step: StepId) -> tuple[Staged | None, Ticket | None]:
        """Its puzzle was computed: the header, or None when it is no longer wanted; and what it has taken from budgets."""
        flight = self._in_flight.pop(step, None)
        if flight is None:
            return None, None
        _decrease(self._flights, flight.peer)
        return self._staged.get(step), flight.ticket

    def remove(self, step: StepId) -> None:
        """Forget a header that has moved on."""
        staged = self._staged.pop(step)
        siblings = self._children[staged.link.parent]
        del siblings[step]
        if not siblings:
            del self._children[staged.link.parent]
        self._wait_no_more(step, staged.source)
        self._count(staged, -1)

    def children(self, step: StepId) -> tuple[Staged, ...]:
        """The staged headers that name it as parent."""
        return tuple(self._staged[child] for child in self._children.get(step, ()))

    def branch(self, step: StepId) -> tuple[Staged, ...]:
        """A staged header and all on top of it, parents before children."""
        found = [self._staged[step]]
        for known in found:
            found.extend(self.children(known.link.id))
        return tuple(found)

    def discard(self, step: StepId) -> None:
        """Forget it, and all on top of it."""
        for staged in self.branch(step):
            self.remove(staged.link.id)

    def leave(self, peer: PeerId) -> None:
        """The peer is gone, and with it what it alone has brought: nobody else has sent it, nor anything on top of it."""
        heirs: dict[StepId, PeerId] = {}
        for staged in reversed(list(self._staged.values())):  # children before parents
            staged.other_sources = tuple(other for other in staged.other_sources if other != peer)
            if staged.source == peer:
                heir = next(iter(staged.other_sources), heirs.get(staged.link.id))
                if heir is None:
                    self.remove(staged.link.id)
                    continue
                self._hand_over(staged, heir, is_asked=staged.is_asked)
                staged.other_sources = tuple(other for other in staged.other_sources if other != peer)
            heirs[staged.link.parent] = staged.source

    def _has_room_for_push(self, peer: PeerId) -> bool:
        if not self._budgets.is_outsider(peer):
            return True
        by_outsiders = sum(count for other, count in self._pushed.items() if self._budgets.is_outsider(other))
        return self._pushed[peer] < PUSHED_PER_OUTSIDER_MAX and by_outsiders < PUSHED_BY_OUTSIDERS_MAX

    def _by_rank(self, now: Instant) -> list[PeerId]:
        """Peers with something to verify: those that have proven something first, then those that were asked."""
        firsts = {peer: self._staged[next(iter(steps))] for peer, steps in self._waiting.items()}
        return sorted(firsts, key=lambda peer: self._turn(peer, now, is_asked=firsts[peer].is_asked))

    def _turn(self, peer: PeerId, now: Instant, *, is_asked: bool) -> tuple[bool, bool, int]:
        is_outsider, used = self._budgets.turn(peer, now)
        return is_outsider, is_outsider and not is_asked, used

    def _is_waiting(self, staged: Staged) -> bool:
        return staged.link.id in self._waiting.get(staged.source, ())

    def _improve_turn(self, step: StepId, peer: PeerId, now: Instant, *, is_asked: bool) -> None:
        """Who has sent the header has seen it proven, and all below it: they wait for its turn where that is better.

        Else an outsider whose turn never comes could keep a block from us by being the first to send it.
        """
        turn = self._turn(peer, now, is_asked=is_asked)
        is_outsider = self._budgets.is_outsider(peer)
        staged = self._staged.get(step)
        while staged is not None and not staged.is_of_use:
            staged.is_of_use = not is_outsider
            if staged.source != peer and self._is_waiting(staged):
                if self._turn(staged.source, now, is_asked=staged.is_asked) <= turn:
                    return
                self._hand_over(staged, peer, is_asked=is_asked)
            staged = self._staged.get(staged.link.parent)

    def _start(self, peer: PeerId, ticket: Ticket) -> Staged:
        steps = self._waiting.pop(peer)
        step = next(iter(steps))
        del steps[step]
        if steps:
            self._waiting[peer] = steps  # now the last one
        self._in_flight[step] = _Flight(peer, ticket)
        self._flights[peer] += 1
        return self._staged[step]

    def _wait_no_more(self, step: StepId, peer: PeerId) -> bool:
        """Whether it was waiting."""
        steps = self._waiting.get(peer)
        if steps is None or step not in steps:
            return False
        del steps[step]
        if not steps:
            del self._waiting[peer]
        return True

    def _hand_over(self, staged: Staged, heir: PeerId, *, is_asked: bool) -> None:
        is_waiting = self._wait_no_more(staged.link.id, staged.source)
        self._count(staged, -1)
        staged.other_sources = (staged.source, *(other for other in staged.other_sources if other != heir))[:SOURCES_MAX]
        staged.source, staged.is_asked = heir, is_asked
        self._count(staged, 1)
        if is_waiting:
            self._waiting.setdefault(heir, {})[staged.link.id] = None

    def _count(self, staged: Staged, change: int) -> None:
        for counter in (self._counts,) if staged.is_asked else (self._counts, self._pushed):
            if change > 0:
                counter[staged.source] += 1
            else:
                _decrease(counter, staged.source)


def _decrease(counter: Counter[PeerId], peer: PeerId) -> None:
    counter[peer] -= 1
    if counter[peer] == 0:
        del counter[peer]
