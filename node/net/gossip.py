"""Bring a message to every peer, with few copies: push what is ours, announce what we pass on, fetch what we lack.

The origin pushes the whole message to its neighbours. Whoever passes it on only tells its digest; who lacks it asks one
announcer, and the next one after a timeout. In a full mesh of four a message so crosses three of six links, once each.
Whoever has not given what it announced is asked last from then on, and whoever has never brought anything is asked only until
somebody announces the same who has: else those who announce first and give nothing could delay every message, as long as
there are enough of them.
Passing on happens only when `broadcast` is called: the ordering machine judges first. What the machine did not look at, since
its sender was over its budget or for want of room, counts as never seen: else who relays first could keep it from us.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from hashlib import blake2b
from itertools import islice
from typing import assert_never

from consensus.types import PeerId
from node.common.bounded import BoundedMap, RecentSet
from node.net.wire import DIGESTS_MAX, GOSSIP_BYTES_MAX, SHORT_DIGEST_BYTES, GossipFrame, Have, Want


class MessageCache:
    """Recent messages by digest, bounded by count, bytes and age (seconds)."""

    def __init__(self, count_max: int, bytes_max: int, seconds_max: float) -> None:
        self._count_max = count_max
        self._bytes_max = bytes_max
        self._seconds_max = seconds_max
        self._messages: BoundedMap[bytes, tuple[bytes, float]] = BoundedMap(count_max)
        self._bytes = 0

    def add(self, digest: bytes, message: bytes, now: float) -> None:
        """Keep a message; the oldest make room."""
        if digest in self._messages:
            return
        if len(self._messages) == self._count_max:
            self._drop_oldest()
        self._messages[digest] = (message, now)
        self._bytes += len(message)
        while self._bytes > self._bytes_max:
            self._drop_oldest()

    def get(self, digest: bytes) -> bytes | None:
        """The message, while it is kept."""
        entry = self._messages.get(digest)
        return entry[0] if entry is not None else None

    def expire(self, now: float) -> None:
        """Forget what is too old."""
        while self._messages and now - next(iter(self._messages.values()))[1] > self._seconds_max:
            self._drop_oldest()

    def newest(self) -> Iterator[bytes]:
        """Digests, newest first."""
        return reversed(self._messages)

    def __len__(self) -> int:
        return len(self._messages)

    @property
    def size(self) -> int:
        """Bytes held."""
        return self._bytes

    def _drop_oldest(self) -> None:
        message, _ = self._messages.drop_oldest()
        self._bytes -= len(message)


@dataclass(frozen=True, slots=True)
class GossipLimits:
    """Everything that the machine holds has a bound."""

    cached_messages: int = 1_024
    """Messages that may be asked of us; several seconds of a busy network."""

    cached_bytes: int = 16_777_216
    """64 messages of the largest size; small beside the node's 600 MB."""

    cached_seconds: float = 30.0
    """Who has not asked by then learns of it by the ordering protocol's own synchronisation."""

    seen: int = 16_384
    """Digests of messages delivered: a minute at 256 messages a second, twice what the cache holds anybody to."""

    known_per_peer: int = 4_096
    """Digests that one neighbour is known to have; above the cache's count, so that none is announced twice."""

    wants_per_peer: int = 512
    """Unanswered announcements of one neighbour; further ones are ignored, so that bogus digests fill no memory. Every
    announcer of a digest is remembered until it is asked: whoever comes first keeps nobody from being asked in the end."""

    want_timeout_seconds: float = 0.5
    """Several round trips round the world; half a block interval."""

    missed_seconds: float = 600.0
    """So long a neighbour is remembered as not having given what it announced: to delay one message by a timeout costs it the
    next ten minutes. An honest one that was busy is asked later than others meanwhile, and that is all."""


@dataclass(frozen=True, slots=True)
class SendAnnouncement:
    """Send a frame to these neighbours."""

    peers: tuple[PeerId, ...]
    frame: GossipFrame | Have | Want


@dataclass(frozen=True, slots=True)
class MessageSeen:
    """A message seen for the first time, and the neighbour it came from. To be followed by `on_looked_at`."""

    peer: PeerId
    message: bytes


GossipEffect = SendAnnouncement | MessageSeen


NEVER = float("-inf")


@dataclass(slots=True)
class _Neighbour:
    known: RecentSet[bytes]
    """Digests that it holds, or that we have told it of."""
    served: RecentSet[bytes]
    """Digests whose message we have sent it: never twice, so that a small question cannot draw a large answer again."""
    wants: int = 0
    """Pending digests that it has announced, and either is to be asked for or was asked for last."""
    useful_at: float = NEVER
    """When it was the first to bring something that was worth passing on."""
    missed: int = 0
    """How often it has not given what it announced."""
    missed_until: float = NEVER
    """So long that is remembered."""

    @property
    def doubt(self) -> tuple[int, bool]:
        """Whoever has least of it is asked first."""
        return self.missed, self.useful_at == NEVER


@dataclass(slots=True)
class _PendingWant:
    asked: PeerId
    """Whom it was last asked of; a connected neighbour."""
    deadline: float
    announcers: dict[PeerId, None] = field(default_factory=dict)
    """Whom it can still be asked of, in the order of their announcements; connected neighbours."""


def short_digest(message: bytes) -> bytes:
    """BLAKE2b-128 of a message: its name among the recent ones."""
    return blake2b(message, digest_size=SHORT_DIGEST_BYTES).digest()


class Gossip:
    """The flooding machine of one peer. Times are in seconds, of any clock that does not go back."""

    def __init__(self, limits: GossipLimits | None = None) -> None:
        self._limits = limits or GossipLimits()
        self._neighbours: dict[PeerId, _Neighbour] = {}
        self._seen: RecentSet[bytes] = RecentSet(self._limits.seen)
        self._cache = MessageCache(self._limits.cached_messages, self._limits.cached_bytes, self._limits.cached_seconds)
        self._wants: dict[bytes, _PendingWant] = {}
        self._first_senders: BoundedMap[bytes, PeerId] = BoundedMap(self._limits.cached_messages)
        """Who brought what is being judged; as many as the cache holds messages."""

    def on_peer_joined(self, peer: PeerId, now: float) -> tuple[GossipEffect, ...]:
        """A new neighbour: announce the recent messages, which it may have missed while it was not connected."""
        assert peer not in self._neighbours, "a peer joins once"
        count = self._limits.known_per_peer
        self._neighbours[peer] = neighbour = _Neighbour(RecentSet(count), RecentSet(count))
        self._cache.expire(now)
        recent = tuple(islice(self._cache.newest(), DIGESTS_MAX))
        for digest in recent:
            neighbour.known.add(digest)
        return (SendAnnouncement((peer,), Have(recent)),) if recent else ()

    def on_peer_left(self, peer: PeerId, now: float) -> tuple[GossipEffect, ...]:
        """A neighbour is gone: what was asked of it is asked of the next announcer at once."""
        for want in self._wants.values():
            want.announcers.pop(peer, None)
        effects = self._ask_next([digest for digest, want in self._wants.items() if want.asked == peer], now)
        del self._neighbours[peer]
        return effects

    def broadcast(self, message: bytes, now: float) -> tuple[GossipEffect, ...]:
        """Push a message of our own, or announce one that came from a neighbour and was judged worth passing on."""
        assert len(message) <= GOSSIP_BYTES_MAX, f"message of {len(message)} bytes, limit {GOSSIP_BYTES_MAX}"
        digest = short_digest(message)
        is_own = self._seen.add(digest)
        first_sender = self._first_senders.pop(digest)
        if first_sender in self._neighbours:
            self._neighbours[first_sender].useful_at = now
        self._settle(digest)
        self._cache.expire(now)
        self._cache.add(digest, message, now)
        lacking = tuple(peer for peer, neighbour in self._neighbours.items() if neighbour.known.add(digest))
        if not lacking:
            return ()
        if not is_own:
            return (SendAnnouncement(lacking, Have((digest,))),)
        for peer in lacking:
            self._neighbours[peer].served.add(digest)
        return (SendAnnouncement(lacking, GossipFrame(message)),)

    def on_frame(self, peer: PeerId, frame: GossipFrame | Have | Want, now: float) -> tuple[GossipEffect, ...]:
        """What to do about a neighbour's frame."""
        match frame:
            case GossipFrame(message):
                return self._on_message(peer, message)
            case Have(digests):
                return self._on_have(peer, digests, now)
            case Want(digests):
                return self._on_want(peer, digests, now)
            case _:
                assert_never(frame)

    def on_looked_at(self, peer: PeerId, message: bytes, is_looked_at: bool, now: float) -> tuple[GossipEffect, ...]:
        """What became of a message of `peer` that was delivered; one that was not looked at is asked of whoever else has it."""
        digest = short_digest(message)
        if is_looked_at:
            self._settle(digest)
            return ()
        self._seen.discard(digest)
        self._first_senders.pop(digest)
        want = self._wants.get(digest)
        return self._ask_next((digest,), now) if want is not None and want.asked == peer else ()

    def tick(self, now: float) -> tuple[GossipEffect, ...]:
        """Forget what is old, and ask the next announcer where one has not answered. Call it every tenth of a second."""
        self._cache.expire(now)
        for neighbour in self._neighbours.values():
            if neighbour.missed and neighbour.missed_until <= now:
                neighbour.missed = 0
        overdue = [digest for digest, want in self._wants.items() if want.deadline <= now]
        for late in {self._wants[digest].asked: None for digest in overdue}:
            self._neighbours[late].missed += 1
            self._neighbours[late].missed_until = now + self._limits.missed_seconds
        return self._ask_next(overdue, now)

    def useful_at(self, peer: PeerId) -> float:
        """When this neighbour was last the first to bring something that was worth passing on; minus infinity: never."""
        return self._neighbours[peer].useful_at

    @property
    def pending_wants(self) -> int:
        """Digests asked for and not yet received."""
        return len(self._wants)

    def _on_message(self, peer: PeerId, message: bytes) -> tuple[GossipEffect, ...]:
        digest = short_digest(message)
        self._neighbours[peer].known.add(digest)
        if self._seen.add(digest):
            self._first_senders[digest] = peer
            return (MessageSeen(peer, message),)
        self._settle(digest)
        return ()

    def _on_have(self, peer: PeerId, digests: tuple[bytes, ...], now: float) -> tuple[GossipEffect, ...]:
        neighbour = self._neighbours[peer]
        asked: list[bytes] = []
        for digest in digests:
            neighbour.known.add(digest)
            want = self._wants.get(digest)
            if neighbour.wants >= self._limits.wants_per_peer:
                continue
            if want is None and digest not in self._seen:
                neighbour.wants += 1
                self._wants[digest] = _PendingWant(peer, now + self._limits.want_timeout_seconds)
                asked.append(digest)
            elif want is not None and peer != want.asked and peer not in want.announcers:
                neighbour.wants += 1
                want.announcers[peer] = None
                if neighbour.doubt < self._neighbours[want.asked].doubt:
                    self._ask(want, peer, now)
                    asked.append(digest)
        return (SendAnnouncement((peer,), Want(tuple(asked))),) if asked else ()

    def _on_want(self, peer: PeerId, digests: tuple[bytes, ...], now: float) -> tuple[GossipEffect, ...]:
        neighbour = self._neighbours[peer]
        self._cache.expire(now)
        effects: list[GossipEffect] = []
        for digest in digests:
            message = self._cache.get(digest)
            if message is not None and neighbour.served.add(digest):
                neighbour.known.add(digest)
                effects.append(SendAnnouncement((peer,), GossipFrame(message)))
        return tuple(effects)

    def _ask_next(self, digests: Iterable[bytes], now: float) -> tuple[GossipEffect, ...]:
        """Who was asked is passed over; when nobody is left, a later announcement starts anew."""
        asked: dict[PeerId, list[bytes]] = {}
        for digest in digests:
            want = self._wants[digest]
            if want.announcers:
                peer = min(want.announcers, key=lambda announcer: self._neighbours[announcer].doubt)
                self._ask(want, peer, now)
                asked.setdefault(peer, []).append(digest)
            else:
                self._settle(digest)
        return tuple(
            SendAnnouncement((peer,), Want(tuple(wanted[start : start + DIGESTS_MAX])))
            for peer, wanted in asked.items()
            for start in range(0, len(wanted), DIGESTS_MAX)
        )

    def _ask(self, want: _PendingWant, peer: PeerId, now: float) -> None:
        """An announcer's turn; of whoever was asked before nothing more is expected."""
        self._neighbours[want.asked].wants -= 1
        del want.announcers[peer]
        want.asked, want.deadline = peer, now + self._limits.want_timeout_seconds

    def _settle(self, digest: bytes) -> None:
        """Nothing is pending for this digest any more."""
        want = self._wants.pop(digest, None)
        for peer in () if want is None else (want.asked, *want.announcers):
            self._neighbours[peer].wants -= 1
