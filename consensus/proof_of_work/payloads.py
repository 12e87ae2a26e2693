"""Large payloads that contributions and blocks wait for: whom to ask for which, and when.

Who waits is named by a digest: that of a contribution, or the id of a block. What has been asked for less often comes first,
and among equals what a block waits for: a block has cost its leader a puzzle. A payload that never comes keeps nobody else
waiting: what waits for it is stalled, and counts no more.
"""

from collections import Counter
from dataclasses import dataclass, field

from consensus.attachment import LargePayload
from consensus.proof_of_work.peers import Peers
from consensus.protocol import FetchPayload
from consensus.types import Digest, Instant, PeerId

HELD_MAX = 4_096
"""Digests remembered as held; for an older one the shell is asked once more, and answers at once."""

FETCHES_MAX = 32
"""Under way at once: half of what the shell takes, so that what is asked for again finds room there."""

CONTRIBUTION_FETCHES_MAX = 16
"""Of those, for contributions that no block waits for: however many of them come, blocks have the other half."""

FETCHES_PER_PEER_MAX = 8
"""Asked of one peer at once: one that never answers takes a quarter of the room, and for five seconds."""

RETRY_MS = 5_000
"""After so long another peer is asked; a shell that is still receiving the payload ignores that."""

STALLED_ATTEMPTS = 4
"""So many peers had five seconds each: what waits for the payload is no longer expected to come."""

SOURCES_MAX = 8
"""Peers remembered as having brought what waits: more are not needed, any connected peer may be asked."""


@dataclass(slots=True)
class _Pursuit:
    """A payload that is wanted. `sources`: peers that brought what waits for it, so they should hold it."""

    payload: LargePayload
    is_for_block: bool
    waiters: dict[bytes, None] = field(default_factory=dict)
    sources: tuple[PeerId, ...] = ()
    tried: tuple[PeerId, ...] = ()
    attempts: int = 0

    @property
    def lane(self) -> tuple[int, bool]:
        """Its turn: fewer attempts first, blocks before contributions."""
        return min(self.attempts, STALLED_ATTEMPTS), not self.is_for_block


@dataclass(frozen=True, slots=True)
class _Fetch:
    peer: PeerId
    until: Instant


class Payloads:
    """One pursuit per digest, whoever waits for it: 0.6 kB each. Bounded by what waits (see Pool and BlockTree).

    A peer that syncs holds a few thousand. A tree full of blocks that withhold 128 payloads each makes 150 MB, at the price of
    2,048 puzzles.
    """

    def __init__(self, peers: Peers) -> None:
        self._peers = peers
        self._held: dict[bytes, None] = {}
        self._lacking: dict[bytes, dict[bytes, None]] = {}
        """By waiter: the digests that it still lacks."""
        self._stalled: dict[bytes, None] = {}
        self._pursuits: dict[bytes, _Pursuit] = {}
        self._lanes: dict[tuple[int, bool], dict[bytes, None]] = {
            (attempts, is_last): {} for attempts in range(STALLED_ATTEMPTS + 1) for is_last in (False, True)
        }
        """The pursuits that are not under way, in order of their turn."""
        self._fetches: dict[bytes, _Fetch] = {}

    def __len__(self) -> int:
        """How many payloads are wanted."""
        return len(self._pursuits)

    def are_held(self, attachments: tuple[LargePayload, ...]) -> bool:
        """Whether all of them are known to be held."""
        return all(payload.digest in self._held for payload in attachments)

    def note_held(self, digest: bytes) -> tuple[bytes, ...]:
        """The payload is here; those that lack nothing any more."""
        self._held.pop(digest, None)
        self._held[digest] = None
        if len(self._held) > HELD_MAX:
            del self._held[next(iter(self._held))]
        pursuit = self._pursuits.get(digest)
        if pursuit is None:
            return ()
        self._give_up(digest)
        return tuple(waiter for waiter in pursuit.waiters if self._has_come(waiter, digest))

    def wait(self, waiter: bytes, attachments: tuple[LargePayload, ...], source: PeerId, *, is_block: bool) -> None:
        """Pursue those that are not known to be held; `source` has brought the waiter. Nothing to do where all are held."""
        lacking = {payload.digest: payload for payload in attachments if payload.digest not in self._held}
        if lacking:
            self._lacking[waiter] = dict.fromkeys(lacking)
        for payload in lacking.values():
            pursuit = self._pursue(payload, is_block)
            pursuit.waiters[waiter] = None
            if pursuit.attempts >= STALLED_ATTEMPTS:
                self._stalled[waiter] = None
        self.also_has(waiter, source)

    def also_has(self, waiter: bytes, peer: PeerId) -> None:
        """The peer has brought the waiter too, so it should hold what the waiter lacks."""
        for digest in self._lacking.get(waiter, ()):
            pursuit = self._pursuits[digest]
            if peer not in pursuit.sources and len(pursuit.sources) < SOURCES_MAX:
                pursuit.sources += (peer,)

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

    def fetch_more(self, now: Instant) -> tuple[FetchPayload, ...]:
        """Ask for what is wanted, as far as the bounds allow; called once after every input."""
        if not self._pursuits:
            return ()
        self._end_overdue(now)
        effects: list[FetchPayload] = []
        while len(self._fetches) < min(FETCHES_MAX, len(self._pursuits)):
            choice = self._choose()
            if choice is None:
                break
            effects.append(self._ask(*choice, now))
        return tuple(effects)

    def _pursue(self, payload: LargePayload, is_block: bool) -> _Pursuit:
        """The pursuit of the payload, new or joined. A false length only counts where nobody names a greater one."""
        pursuit = self._pursuits.get(payload.digest)
        if pursuit is None:
            pursuit = self._pursuits[payload.digest] = _Pursuit(payload, is_block)
            self._lanes[pursuit.lane][payload.digest] = None
            return pursuit
        if payload.length > pursuit.payload.length:
            pursuit.payload = payload
        if is_block and not pursuit.is_for_block:
            lane = self._lanes[pursuit.lane]
            pursuit.is_for_block = True
            if payload.digest in lane:
                del lane[payload.digest]
                self._lanes[pursuit.lane][payload.digest] = None
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
        self._fetches.pop(digest, None)

    def _end_overdue(self, now: Instant) -> None:
        for digest, fetch in list(self._fetches.items()):
            if now < fetch.until and self._peers.get(fetch.peer) is not None:
                continue
            del self._fetches[digest]
            pursuit = self._pursuits[digest]
            self._lanes[pursuit.lane][digest] = None
            if pursuit.attempts >= STALLED_ATTEMPTS:
                self._stalled.update(pursuit.waiters)

    def _choose(self) -> tuple[bytes, PeerId] | None:
        """The next pursuit whose turn it is, and whom to ask."""
        peers = [peer for peer, _ in self._peers.all()]
        load = Counter(fetch.peer for fetch in self._fetches.values())
        free = [peer for peer in peers if load[peer] < FETCHES_PER_PEER_MAX]
        if not free:
            return None
        free.sort(key=lambda peer: load[peer])  # stable: who joined first comes first
        for_contributions = sum(not self._pursuits[digest].is_for_block for digest in self._fetches)
        for (_, is_for_contribution), lane in self._lanes.items():
            if is_for_contribution and for_contributions >= CONTRIBUTION_FETCHES_MAX:
                continue
            for digest in lane:
                peer = self._whom(self._pursuits[digest], peers, free)
                if peer is not None:
                    return digest, peer
        return None

    @staticmethod
    def _whom(pursuit: _Pursuit, peers: list[PeerId], free: list[PeerId]) -> PeerId | None:
        """A source if there is one left to ask, else who is least busy; all over again once everybody was asked.

        A contribution waits for its source's turn, so that who sends many of them keeps nobody but itself busy.
        """
        if all(peer in pursuit.tried for peer in peers):
            pursuit.tried = ()
        sources = [peer for peer in pursuit.sources if peer in peers and peer not in pursuit.tried]
        if sources and (not pursuit.is_for_block or sources[0] in free):
            return next((peer for peer in sources if peer in free), None)
        return next((peer for peer in free if peer not in pursuit.tried), None)

    def _ask(self, digest: bytes, peer: PeerId, now: Instant) -> FetchPayload:
        pursuit = self._pursuits[digest]
        del self._lanes[pursuit.lane][digest]
        pursuit.attempts += 1
        pursuit.tried = (*(known for known in pursuit.tried if self._peers.get(known) is not None), peer)
        self._fetches[digest] = _Fetch(peer, Instant(now + RETRY_MS))
        return FetchPayload(Digest(digest), pursuit.payload.length, peer)
