"""Bring a message to every peer, with few copies: push what is ours, announce what we pass on, fetch what we lack.

The origin pushes the whole message to its neighbours. Whoever passes it on only tells its digest; who lacks it asks one
announcer, and the next one after a timeout. In a full mesh of four a message so crosses three of six links, once each.
Passing on happens only when `broadcast` is called: the ordering machine judges first. What the machine did not look at, since
its sender was over its budget or for want of room, counts as never seen: else who relays first could keep it from us.
"""

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field
from hashlib import blake2b
from itertools import islice
from typing import assert_never

from consensus.types import PeerId
from node.net.bounded import MessageCache, RecentSet
from node.net.wire import DIGESTS_MAX, GOSSIP_BYTES_MAX, SHORT_DIGEST_BYTES, GossipFrame, Have, Want


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
    """Unanswered announcements of one neighbour; further ones are ignored, so that bogus digests fill no memory."""

    announcers_per_want: int = 8
    """Neighbours to ask one after the other; as many as we dial."""

    want_timeout_seconds: float = 0.5
    """Several round trips round the world; half a block interval."""


@dataclass(frozen=True, slots=True)
class Tell:
    """Send a frame to these neighbours."""

    peers: tuple[PeerId, ...]
    frame: GossipFrame | Have | Want


@dataclass(frozen=True, slots=True)
class Deliver:
    """A message seen for the first time, and the neighbour it came from. To be followed by `judged`."""

    peer: PeerId
    message: bytes


GossipEffect = Tell | Deliver


NEVER = float("-inf")


@dataclass(slots=True)
class _Neighbour:
    known: RecentSet[bytes]
    """Digests that it holds, or that we have told it of."""
    served: RecentSet[bytes]
    """Digests whose message we have sent it: never twice, so that a small question cannot draw a large answer again."""
    wants: int = 0
    """Pending digests that it was the first to announce."""
    useful_at: float = NEVER
    """When it was the first to bring something that was worth passing on."""


@dataclass(slots=True)
class _PendingWant:
    first: PeerId | None
    """Whose allowance it counts against; None once that neighbour has left."""
    deadline: float
    announcers: list[PeerId] = field(default_factory=list)
    """Whom to ask next, in the order of their announcements."""


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
        self._bringers: OrderedDict[bytes, PeerId] = OrderedDict()
        """Who brought what is being judged; as many as the cache holds messages."""

    def joined(self, peer: PeerId, now: float) -> tuple[GossipEffect, ...]:
        """A new neighbour: announce the recent messages, which it may have missed while it was not connected."""
        assert peer not in self._neighbours, "a peer joins once"
        count = self._limits.known_per_peer
        self._neighbours[peer] = neighbour = _Neighbour(RecentSet(count), RecentSet(count))
        self._cache.expire(now)
        recent = tuple(islice(self._cache.newest(), DIGESTS_MAX))
        for digest in recent:
            neighbour.known.add(digest)
        return (Tell((peer,), Have(recent)),) if recent else ()

    def left(self, peer: PeerId, now: float) -> tuple[GossipEffect, ...]:
        """A neighbour is gone: what was asked of it is asked of the next announcer at once."""
        del self._neighbours[peer]
        for want in self._wants.values():
            want.first = None if want.first == peer else want.first
        overdue = [digest for digest, want in self._wants.items() if want.announcers[0] == peer]
        return self._ask_next(overdue, now)

    def broadcast(self, message: bytes, now: float) -> tuple[GossipEffect, ...]:
        """Push a message of our own, or announce one that came from a neighbour and was judged worth passing on."""
        assert len(message) <= GOSSIP_BYTES_MAX, f"message of {len(message)} bytes, limit {GOSSIP_BYTES_MAX}"
        digest = short_digest(message)
        is_own = self._seen.add(digest)
        bringer = self._bringers.pop(digest, None)
        if bringer in self._neighbours:
            self._neighbours[bringer].useful_at = now
        self._settle(digest)
        self._cache.expire(now)
        self._cache.add(digest, message, now)
        lacking = tuple(peer for peer, neighbour in self._neighbours.items() if neighbour.known.add(digest))
        if not lacking:
            return ()
        if not is_own:
            return (Tell(lacking, Have((digest,))),)
        for peer in lacking:
            self._neighbours[peer].served.add(digest)
        return (Tell(lacking, GossipFrame(message)),)

    def received(self, peer: PeerId, frame: GossipFrame | Have | Want, now: float) -> tuple[GossipEffect, ...]:
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

    def judged(self, peer: PeerId, message: bytes, is_looked_at: bool, now: float) -> tuple[GossipEffect, ...]:
        """What became of a message of `peer` that was delivered; one that was not looked at is asked of whoever else has it."""
        digest = short_digest(message)
        if is_looked_at:
            self._settle(digest)
            return ()
        self._seen.discard(digest)
        self._bringers.pop(digest, None)
        want = self._wants.get(digest)
        return self._ask_next((digest,), now) if want is not None and want.announcers[0] == peer else ()

    def tick(self, now: float) -> tuple[GossipEffect, ...]:
        """Forget what is old, and ask the next announcer where one has not answered. Call it every tenth of a second."""
        self._cache.expire(now)
        return self._ask_next([digest for digest, want in self._wants.items() if want.deadline <= now], now)

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
            self._bringers[digest] = peer
            if len(self._bringers) > self._limits.cached_messages:
                self._bringers.popitem(last=False)
            return (Deliver(peer, message),)
        self._settle(digest)
        return ()

    def _on_have(self, peer: PeerId, digests: tuple[bytes, ...], now: float) -> tuple[GossipEffect, ...]:
        neighbour = self._neighbours[peer]
        asked: list[bytes] = []
        for digest in digests:
            neighbour.known.add(digest)
            want = self._wants.get(digest)
            if want is not None:
                if peer not in want.announcers and len(want.announcers) < self._limits.announcers_per_want:
                    want.announcers.append(peer)
            elif digest not in self._seen and neighbour.wants < self._limits.wants_per_peer:
                neighbour.wants += 1
                self._wants[digest] = _PendingWant(peer, now + self._limits.want_timeout_seconds, [peer])
                asked.append(digest)
        return (Tell((peer,), Want(tuple(asked))),) if asked else ()

    def _on_want(self, peer: PeerId, digests: tuple[bytes, ...], now: float) -> tuple[GossipEffect, ...]:
        neighbour = self._neighbours[peer]
        self._cache.expire(now)
        effects: list[GossipEffect] = []
        for digest in digests:
            message = self._cache.get(digest)
            if message is not None and neighbour.served.add(digest):
                neighbour.known.add(digest)
                effects.append(Tell((peer,), GossipFrame(message)))
        return tuple(effects)

    def _ask_next(self, digests: Iterable[bytes], now: float) -> tuple[GossipEffect, ...]:
        """Who was asked is passed over; when nobody is left, a later announcement starts anew."""
        asked: dict[PeerId, list[bytes]] = {}
        for digest in digests:
            want = self._wants[digest]
            want.announcers = [peer for peer in want.announcers[1:] if peer in self._neighbours]
            if want.announcers:
                want.deadline = now + self._limits.want_timeout_seconds
                asked.setdefault(want.announcers[0], []).append(digest)
            else:
                self._settle(digest)
        return tuple(
            Tell((peer,), Want(tuple(wanted[start : start + DIGESTS_MAX])))
            for peer, wanted in asked.items()
            for start in range(0, len(wanted), DIGESTS_MAX)
        )

    def _settle(self, digest: bytes) -> None:
        """Nothing is pending for this digest any more."""
        want = self._wants.pop(digest, None)
        if want is not None and want.first is not None:
            self._neighbours[want.first].wants -= 1
