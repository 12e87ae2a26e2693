"""Large payloads that somebody waits for: whom to ask for which, and when again. The one place that knows, in both orders.

Who waits is named by a digest: that of a contribution, of a payload, or the id of a block. What has been asked for less often
comes first, and among equals what the learner waits for, then what a block waits for that has cost its leader a puzzle, then
what is free to name. A payload that never comes keeps nobody else waiting: what waits for it is stalled, and counts no more.

Nothing is remembered as held: what is wanted is asked for, and a shell that has it answers at once.
"""

from collections import Counter, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Protocol

from consensus.effects import FetchAttachment
from consensus.reliability import LATE_MS_MAX, GiftTimes, Reliability
from consensus.steps import Attachment
from consensus.types import Digest, Instant, PeerId

FETCHES_MAX = 64
"""Under way at once: a payload from each member of a round of 64. The shell takes as many."""

FREE_SHARE = 2
"""Where blocks cost a puzzle half of those are for what is free to name: however much of it comes, blocks have the rest."""

FETCHES_PER_PEER_MAX = 8
"""Asked of one peer at once: one that never answers takes an eighth of the room."""

COOLING_MS = 200
"""A place stays taken for so long after a fetch has failed: so a peer that has nothing is asked 40 times a second at most."""

REST_MS = 1_000
"""After everybody was asked in vain nobody is asked for so long."""

STALLED_ATTEMPTS = 4
"""So many peers did not have it, or were too slow: what waits for the payload is no longer expected to come."""

SOURCES_MAX = 8
"""Peers remembered as having brought what waits: more are not needed, any connected peer may be asked."""

LEARNER = b"the learner"
"""The waiter that stands for what is final, or recorded, and whose payloads are missing."""


class Need(IntEnum):
    """What a payload is wanted for; lower comes first."""

    LEARNER = 0
    """What is final or recorded: nothing goes on without it."""
    BLOCK = 1
    """A block that has cost its leader a puzzle. Anybody is asked, if its source is busy."""
    FREE = 2
    """What costs nothing to name. It waits for its source's turn at first: who names much keeps itself busy before others."""


class Sources(Protocol):
    """Whom there is to ask."""

    def sources(self) -> Sequence[PeerId]:
        """The connected peers that may hold payloads, in the order in which they joined."""
        ...


@dataclass(slots=True)
class _Pursuit:
    """A payload that is wanted. `sources`: peers that brought what waits for it; `holders`: those that have accepted it."""

    payload: Attachment
    need: Need
    waiters: dict[bytes, None] = field(default_factory=dict)
    sources: tuple[PeerId, ...] = ()
    holders: tuple[PeerId, ...] = ()
    tried: tuple[PeerId, ...] = ()
    attempts: int = 0
    first_asked_at: Instant | None = None
    """When somebody was asked for the first time."""
    asked_at: Instant | None = None
    """When who was asked last was asked."""
    late_at: Instant | None = None
    """When who is being asked now is late."""

    @property
    def lane(self) -> tuple[int, Need]:
        """Its turn: fewer attempts first, then the greater need."""
        return min(self.attempts, STALLED_ATTEMPTS), self.need


class PayloadRequests:
    """One pursuit per digest, whoever waits for it: 0.6 kB each. Bounded by what waits: pool and tree, or graph.

    A peer of proof of work that syncs holds a few thousand. A tree full of blocks that withhold 128 payloads each makes 150 MB,
    at the price of 2,048 puzzles.
    """

    def __init__(self, peers: Sources, fetches_max: int = FETCHES_MAX, free_share: int = 1) -> None:
        """`fetches_max`: as many as the shell has places for, fewer where payloads are large: else who is asked while it has
        none would count as late. `free_share`: one part of so many is for what is free to name.
        """
        self._peers = peers
        self._fetches_max = fetches_max
        self._per_peer_max = max(1, FETCHES_PER_PEER_MAX * fetches_max // FETCHES_MAX)
        self._free_max = max(1, fetches_max // free_share)
        self._lacking: dict[bytes, dict[bytes, None]] = {}
        """By waiter: the digests that it still lacks."""
        self._stalled: dict[bytes, None] = {}
        self._pursuits: dict[bytes, _Pursuit] = {}
        self._lanes: dict[tuple[int, Need], dict[bytes, None]] = {
            (attempts, need): {} for attempts in range(STALLED_ATTEMPTS + 1) for need in Need
        }
        """The pursuits whose turn may come, in order of their turn."""
        self._resting: dict[bytes, Instant] = {}
        """Those that everybody was asked for in vain, until when; the first to wake is the first."""
        self._fetches: dict[bytes, PeerId] = {}
        self._cooling: deque[tuple[Instant, PeerId]] = deque()
        self._known_peers: tuple[PeerId, ...] = ()
        self._reliability = Reliability()
        self._overtaken: dict[bytes, None] = {}
        """Fetches of payloads of which another holder is known."""
        self._given: list[_Pursuit] = []
        """Of those that have come, until it is noted how long they took."""
        self._gift_times = GiftTimes()
        self._has_changed = False
        """Since it was last looked for somebody to ask."""

    def __len__(self) -> int:
        """How many payloads are wanted."""
        return len(self._pursuits)

    def note_held(self, digest: bytes) -> tuple[bytes, ...]:
        """The payload is here; those that lack nothing any more."""
        pursuit = self._pursuits.get(digest)
        if pursuit is None:
            return ()
        if digest in self._fetches:
            self._reliability.note_gift(self._fetches[digest])
            self._given.append(pursuit)
        self._give_up(digest)
        return tuple(waiter for waiter in pursuit.waiters if self._has_come(waiter, digest))

    def wait(self, waiter: bytes, attachments: Iterable[Attachment], source: PeerId | None, need: Need) -> None:
        """Pursue them; `source` has brought the waiter. One that waits already goes on waiting for what it did."""
        for payload in attachments:
            pursuit = self._pursue(payload, need)
            self._lacking.setdefault(waiter, {})[payload.digest] = None
            pursuit.waiters[waiter] = None
            if pursuit.attempts >= STALLED_ATTEMPTS:
                self._stalled[waiter] = None
        if source is not None:
            self.add_source(waiter, source)

    def learner_needs(self, attachments: tuple[Attachment, ...]) -> None:
        """Our learner waits for these payloads; for none: it goes on."""
        if attachments:
            self.wait(LEARNER, attachments, None, Need.LEARNER)
        else:
            self.drop(LEARNER)

    def add_source(self, waiter: bytes, peer: PeerId) -> None:
        """The peer has brought the waiter too, so it should hold what the waiter lacks."""
        for digest in self._lacking.get(waiter, ()):
            pursuit = self._pursuits[digest]
            if peer not in pursuit.sources and len(pursuit.sources) < SOURCES_MAX:
                pursuit.sources += (peer,)
                self._has_changed = True

    def add_holders(self, digest: bytes, peers: Iterable[PeerId]) -> None:
        """They have signed what follows from holding it. They are asked at once where now one is that has failed more often.

        Who was asked before it had it is asked again: else the others would have to be, and one that takes its time is last.
        """
        pursuit = self._pursuits.get(digest)
        if pursuit is None:
            return
        new = tuple(peer for peer in peers if peer not in pursuit.holders)
        pursuit.holders += new
        present = self._fetches.get(digest)
        pursuit.tried = tuple(peer for peer in pursuit.tried if peer not in new or peer == present)
        self._has_changed |= bool(new)
        if digest in self._fetches and new:
            self._overtaken[digest] = None
            if self._is_there_a_better(pursuit, self._fetches[digest]):
                del self._fetches[digest]
                self._enqueue(digest)

    def is_lacking(self, waiter: bytes) -> bool:
        """Whether it waits for a payload."""
        return waiter in self._lacking

    def is_stalled(self, waiter: bytes) -> bool:
        """Whether it waits for a payload that nobody seems to have."""
        return waiter in self._stalled

    def drop(self, waiter: bytes) -> None:
        """It waits no more; what nobody else waits for is no longer wanted."""
        self._stalled.pop(waiter, None)
        for digest in self._lacking.pop(waiter, ()):
            waiters = self._pursuits[digest].waiters
            del waiters[waiter]
            if not waiters:
                self._give_up(digest)

    def on_failure(self, digest: bytes, peer: PeerId, now: Instant) -> None:
        """The peer has not given the payload, or not fast enough. What is not under way with this peer changes nothing."""
        if self._fetches.get(digest) == peer:
            pursuit = self._pursuits[digest]
            assert pursuit.asked_at is not None, "it is under way"
            if peer in pursuit.holders or now >= pursuit.asked_at + LATE_MS_MAX:
                self._reliability.note_failure(peer, now)
            self._reliability.note_nothing_given(peer)
            self._cooling.append((Instant(now + COOLING_MS), peer))
            self._end(digest, now)

    def fetch_more(self, now: Instant) -> tuple[FetchAttachment, ...]:
        """Ask for what is wanted, as far as the bounds allow; called once after every input."""
        self._note_gifts(now)
        if not self._pursuits:
            return ()
        self._look_around(now)
        effects: list[FetchAttachment] = []
        while self._has_changed and self._under_way < min(self._fetches_max, len(self._pursuits) + len(self._cooling)):
            choice = self._choose()
            if choice is None:
                self._has_changed = False
            else:
                effects.append(self._ask(*choice, now))
        return tuple(effects)

    # --- inside ---

    @property
    def _under_way(self) -> int:
        return len(self._fetches) + len(self._cooling)

    def _note_gifts(self, now: Instant) -> None:
        """How long they took."""
        for pursuit in self._given:
            assert pursuit.first_asked_at is not None, "it was under way"
            self._gift_times.note(now - pursuit.first_asked_at, pursuit.payload.length)
        self._given.clear()

    def _look_around(self, now: Instant) -> None:
        """Who has come and gone, and what has had its rest."""
        peers = tuple(self._peers.sources())
        if peers != self._known_peers:
            self._known_peers, self._has_changed = peers, True
            self._reliability.keep_connected(peers)
            for digest in [digest for digest, peer in self._fetches.items() if peer not in peers]:
                self._end(digest, now)
        while self._cooling and self._cooling[0][0] <= now:
            self._cooling.popleft()
            self._has_changed = True
        self._reliability.forget_old(now)
        for digest in list(self._overtaken):
            self._look_whether_late(digest, now)
        rested: list[bytes] = []
        for digest, until in self._resting.items():
            if until > now:
                break
            rested.append(digest)
        self._wake(rested)

    def _wake(self, digests: Iterable[bytes]) -> None:
        for digest in digests:
            del self._resting[digest]
            self._enqueue(digest)

    def _enqueue(self, digest: bytes) -> None:
        self._lanes[self._pursuits[digest].lane][digest] = None
        self._has_changed = True

    def _pursue(self, payload: Attachment, need: Need) -> _Pursuit:
        """The pursuit of the payload, new or joined. A false length only counts where nobody names a greater one."""
        pursuit = self._pursuits.get(payload.digest)
        if pursuit is None:
            pursuit = self._pursuits[payload.digest] = _Pursuit(payload, need)
            self._enqueue(payload.digest)
            return pursuit
        if payload.length > pursuit.payload.length:
            pursuit.payload = payload
        if need < pursuit.need:
            is_waiting = self._lanes[pursuit.lane].pop(payload.digest, payload) is None
            pursuit.need = need
            if is_waiting:
                self._enqueue(payload.digest)
        return pursuit

    def _has_come(self, waiter: bytes, digest: bytes) -> bool:
        """Whether the waiter lacks nothing now that this payload is here. While some come, it is not stalled."""
        self._stalled.pop(waiter, None)
        lacking = self._lacking[waiter]
        del lacking[digest]
        if not lacking:
            del self._lacking[waiter]
        return not lacking

    def _give_up(self, digest: bytes) -> None:
        pursuit = self._pursuits.pop(digest)
        self._lanes[pursuit.lane].pop(digest, None)
        self._resting.pop(digest, None)
        self._overtaken.pop(digest, None)
        if self._fetches.pop(digest, None) is not None:
            self._has_changed = True

    def _end(self, digest: bytes, now: Instant) -> None:
        """A fetch has come to nothing: somebody else's turn, or a rest where everybody has had one."""
        del self._fetches[digest]
        pursuit = self._pursuits[digest]
        if pursuit.attempts >= STALLED_ATTEMPTS:
            self._stalled.update(pursuit.waiters)
        if all(peer in pursuit.tried for peer in self._peers.sources()):
            pursuit.tried = ()
            self._resting[digest] = Instant(now + REST_MS)
        else:
            self._enqueue(digest)

    def _choose(self) -> tuple[bytes, PeerId] | None:
        """The next pursuit whose turn it is, and whom to ask."""
        peers = self._known_peers
        load = Counter((*self._fetches.values(), *(peer for _, peer in self._cooling)))
        free = [peer for peer in peers if load[peer] < self._places(peer)]
        if not free:
            return None
        free.sort(key=lambda peer: (self._reliability.in_vain(peer), load[peer]))  # stable: who joined first comes first
        free_to_name = sum(self._pursuits[digest].need is Need.FREE for digest in self._fetches)
        for (_, need), lane in self._lanes.items():
            if need is Need.FREE and free_to_name >= self._free_max:
                continue
            for digest in lane:
                peer = self._whom(self._pursuits[digest], peers, free)
                if peer is not None:
                    return digest, peer
        return None

    def _look_whether_late(self, digest: bytes, now: Instant) -> None:
        """Once for each fetch; where nobody better is known it goes on."""
        peer = self._fetches.get(digest)
        pursuit = self._pursuits.get(digest)
        if peer is None or pursuit is None or pursuit.late_at is None:
            del self._overtaken[digest]
            return
        if now < pursuit.late_at:
            return
        del self._overtaken[digest]
        self._reliability.note_late(peer, now)
        if self._is_there_a_better(pursuit, peer):
            del self._fetches[digest]
            self._enqueue(digest)

    def _is_there_a_better(self, pursuit: _Pursuit, asked: PeerId) -> bool:
        untried = (peer for peer in pursuit.holders if peer in self._known_peers and peer not in pursuit.tried)
        rank_of = self._reliability.rank_of
        return any(rank_of(peer) < rank_of(asked) for peer in untried)

    def _places(self, peer: PeerId) -> int:
        """Half as many with each failure: those who withhold, however many, do not fill the room."""
        return max(1, self._per_peer_max >> self._reliability.failures(peer))

    def _whom(self, pursuit: _Pursuit, peers: Sequence[PeerId], free: list[PeerId]) -> PeerId | None:
        """A holder or source if there is one left to ask, that which failed least; else who was asked in vain least often.

        What is free to name waits for those who are said to have it, once: who names much keeps itself busy. But it waits for
        none of several while another is free: who keeps back what it alone has is always busy, and has failed less often
        than honest peers whom we could not reach for a while.
        """
        if all(peer in pursuit.tried for peer in peers):  # who had still to be asked has left
            pursuit.tried = ()
        named = dict.fromkeys((*pursuit.holders, *pursuit.sources))
        known = [peer for peer in named if peer in peers and peer not in pursuit.tried]
        anybody = next((peer for peer in free if peer not in pursuit.tried), None)
        best = min((peer for peer in known if peer in free), key=self._reliability.rank_of, default=None)
        if best is None:
            return None if known and pursuit.need is Need.FREE and not pursuit.attempts else anybody
        return anybody if self._is_better(anybody, pursuit, known) else best

    def _is_better(self, anybody: PeerId | None, pursuit: _Pursuit, sources: list[PeerId]) -> bool:
        """Whether to pass over who has merely brought what waits: each of them was asked in vain more often than this one."""
        if anybody is None or pursuit.holders or pursuit.need is Need.FREE:
            return False
        in_vain = self._reliability.in_vain
        return in_vain(anybody) < min(in_vain(peer) for peer in sources)

    def _ask(self, digest: bytes, peer: PeerId, now: Instant) -> FetchAttachment:
        pursuit = self._pursuits[digest]
        pursuit.asked_at = now
        if pursuit.first_asked_at is None:
            pursuit.first_asked_at = now
        pursuit.late_at = Instant(now + self._gift_times.late_ms(pursuit.payload.length))
        if len(pursuit.holders) > 1:
            self._overtaken[digest] = None
        del self._lanes[pursuit.lane][digest]
        pursuit.attempts += 1
        pursuit.tried = (*(known for known in pursuit.tried if known in self._known_peers), peer)
        self._fetches[digest] = peer
        return FetchAttachment(Digest(digest), pursuit.payload.length, peer)
