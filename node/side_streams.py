"""Large bytes beside the order: states that members vouch for, and payloads that a block names by their digest.

Everything is named by its digest, fetched in parts, one part at a time from one peer, and worth nothing before it is whole and
its digest is right.
"""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Protocol

from consensus.protocol import FetchPayload, FetchState, Input, PayloadHeld, Record, StateHeld
from consensus.types import DIGEST_BYTES, Digest, PeerId
from learning.checkpoint import checkpoint_digest
from node.net.wire import PART_BYTES_MAX, Part
from node.replica import CHECKPOINTS_KEPT, PAYLOAD_TABLE, STATE_TABLE, checkpoint_key

log = logging.getLogger(__name__)

FETCHES_MAX = 64
"""Under way at once: a payload from each member of a round of 64. A state comes on top: one at a time, and seldom."""

FETCHES_PER_SOURCE_MAX = 16
"""So that one slow source does not hold all places: each part that it owes us holds one for five seconds."""

SERVED_MAX = 8
"""Large bytes at hand for those who ask part by part, several at a time and each for something else."""

WAITING_MAX = 4_096
"""Payloads that wait for their turn, 0.5 kB each: those that a joiner's graph lacks. What is over is asked for again later."""

PART_SECONDS_MAX = 5.0
"""A part is half a megabyte: slower than 1 Mbit/s, and another peer is asked."""

TICK_SECONDS = 0.5


class PartAsker(Protocol):
    """The way to ask; answers come as `part_received`."""

    def ask_part(self, peer: PeerId, digest: bytes, offset: int) -> None:
        """Ask one peer for the bytes from `offset` on; dropped when it is not connected."""
        ...


class LargeRows(Protocol):
    """Where large bytes lie once they are durable."""

    def get(self, table: str, key: bytes) -> bytes | None:
        """The value under this key."""
        ...

    def has(self, table: str, key: bytes) -> bool:
        """Whether there is one."""
        ...


class Shell(Protocol):
    """Whom to tell: it makes rows durable, and feeds the replica."""

    def record(self, record: Record) -> None:
        """Make a row durable before what the next input records."""
        ...

    def feed(self, event: Input) -> None:
        """Hand an input to the replica."""
        ...


@dataclass(slots=True)
class _Fetch:
    """One thing under way. `sources`: whom to ask, the present one first, no peer twice."""

    effect: FetchPayload | FetchState
    digest: Digest
    bytes_max: int
    sources: list[PeerId]
    asked_at: float = 0.0
    total: int | None = None
    """Bytes in all, as the present source says with its first part."""
    content: bytearray = field(default_factory=bytearray)

    def is_next(self, part: Part) -> bool:
        """Whether it is a whole part: who could drip a byte at a time would hold a place for ever."""
        rest = part.total - len(self.content)
        is_whole = len(part.content) == min(PART_BYTES_MAX, rest) > 0
        return is_whole and part.total <= self.bytes_max and self.total in {None, part.total}


class SideStreams:
    """Fetches what the ordering machine asks for, and serves what others ask for. `clock`: monotonic, in seconds."""

    def __init__(
        self,
        store: LargeRows,
        asker: PartAsker,
        *,
        state_bytes_max: int,
        payload_bytes_max: int,
        clock: Callable[[], float],
    ) -> None:
        """Longer states and payloads than the task can need are never fetched."""
        self._store = store
        self._asker = asker
        self._state_bytes_max = state_bytes_max
        self._payload_bytes_max = payload_bytes_max
        self._clock = clock
        self._fetches: dict[Digest, _Fetch] = {}
        self._waiting: dict[Digest, _Fetch] = {}
        """Payloads that have not had their turn."""
        self._served: OrderedDict[bytes, bytes] = OrderedDict()
        self.driver: Shell | None = None
        """Whom to tell; set once, before `run`."""

    # --- fetching ---

    def fetch_payload(self, effect: FetchPayload) -> None:
        """Answered by `PayloadHeld`, at once where we hold it, or asked for again by the machine, of another peer.

        Who is named while the payload is under way has its turn when the present source has not answered in time. Were it
        forgotten, a silent peer that the machine comes back to in the right rhythm would keep an honest one's payload away.
        The length is what somebody says: two may name one payload with unlike lengths; who is right, the learner says.
        What counts here is what a payload of this network can be at most.
        """
        if self._payload_bytes_max == 0:
            return
        if self._store.has(PAYLOAD_TABLE, effect.digest):
            assert self.driver is not None, "run before it was wired"
            self.driver.feed(PayloadHeld(effect.digest))
            return
        self._begin(_Fetch(effect, effect.digest, self._payload_bytes_max, [effect.peer]))

    def fetch_state(self, effect: FetchState) -> None:
        """Answered by `StateHeld`, or asked for again by the machine. An older one is wanted no more."""
        for other in list(self._fetches.values()):
            if isinstance(other.effect, FetchState) and other.digest != effect.state_digest:
                self._end(other)
        self._begin(_Fetch(effect, effect.state_digest, self._state_bytes_max, list(effect.peers)))

    async def run(self) -> None:
        """Give up on peers that do not answer, until cancelled."""
        while True:
            await asyncio.sleep(TICK_SECONDS)
            self.tick()

    def tick(self) -> None:
        """Ask the next source where one has not answered. Call it twice a second."""
        for fetch in list(self._fetches.values()):
            if self._clock() - fetch.asked_at > PART_SECONDS_MAX:
                self._try_next(fetch)

    @property
    def under_way(self) -> int:
        """How many things are being fetched."""
        return len(self._fetches)

    def part_received(self, peer: PeerId, part: Part) -> None:
        """Take a part that we wait for; anything else is ignored: it may be late."""
        fetch = self._fetches.get(Digest(part.digest))
        if fetch is None or fetch.sources[0] != peer or part.offset != len(fetch.content):
            return
        if not fetch.is_next(part):
            self._try_next(fetch)
            return
        fetch.total = part.total
        fetch.content += part.content
        if len(fetch.content) < part.total:
            self._ask(fetch)
        else:
            self._finish(fetch)

    def _begin(self, fetch: _Fetch) -> None:
        under_way, waiting = self._fetches.get(fetch.digest), self._waiting.get(fetch.digest)
        if under_way is not None:
            under_way.sources += [source for source in fetch.sources if source not in under_way.sources]
            return
        if waiting is not None:  # whoever is named last comes first: those before have no place for us
            waiting.sources = [*fetch.sources, *(source for source in waiting.sources if source not in fetch.sources)]
            fetch = waiting
        if not fetch.sources:
            return
        if isinstance(fetch.effect, FetchState) or self._has_place(fetch):
            self._waiting.pop(fetch.digest, None)
            self._fetches[fetch.digest] = fetch
            self._ask(fetch)
        elif len(self._waiting) < WAITING_MAX:
            self._waiting[fetch.digest] = fetch

    def _end(self, fetch: _Fetch) -> None:
        """It is over, one way or the other: the next one's turn."""
        del self._fetches[fetch.digest]
        following = next((waiting for waiting in self._waiting.values() if self._has_place(waiting)), None)
        if following is not None:
            del self._waiting[following.digest]
            self._begin(following)

    def _has_place(self, fetch: _Fetch) -> bool:
        of_this_source = sum(other.sources[0] == fetch.sources[0] for other in self._fetches.values() if other.sources)
        return len(self._fetches) < FETCHES_MAX and of_this_source < FETCHES_PER_SOURCE_MAX

    def _ask(self, fetch: _Fetch) -> None:
        fetch.asked_at = self._clock()
        self._asker.ask_part(fetch.sources[0], fetch.digest, len(fetch.content))

    def _try_next(self, fetch: _Fetch) -> None:
        """Start over with another peer, or give up: the machine asks again when it still needs it."""
        del fetch.sources[0], fetch.content[:]
        fetch.total = None
        if fetch.sources:
            self._ask(fetch)
        else:
            self._end(fetch)

    def _finish(self, fetch: _Fetch) -> None:
        content = bytes(fetch.content)
        match fetch.effect:
            case FetchPayload():
                is_right = blake2b(content, digest_size=DIGEST_BYTES).digest() == fetch.digest
            case FetchState():
                is_right = checkpoint_digest(content) == fetch.digest
        if not is_right:
            log.warning("peer %s sent other bytes than their digest says", fetch.sources[0].hex()[:8])
            self._try_next(fetch)
            return
        self._end(fetch)
        self._hand_over(fetch.effect, content)

    def _hand_over(self, effect: FetchPayload | FetchState, content: bytes) -> None:
        """The row and what the machine records next become durable in one commit: neither is of use without the other."""
        assert self.driver is not None, "run before it was wired"
        match effect:
            case FetchPayload(digest):
                self.driver.record(Record(PAYLOAD_TABLE, digest, content))
                self.driver.feed(PayloadHeld(digest))
            case FetchState(step):
                self.driver.feed(StateHeld(step, content))

    # --- serving ---

    def large_bytes(self, digest: bytes, offset: int, length_max: int) -> tuple[int, bytes]:
        """What we hold under the digest: its length (0: nothing), and a part of it."""
        content = self._served.pop(digest, b"") or self._find(digest)
        if content:
            self._served[digest] = content
        if len(self._served) > SERVED_MAX:
            self._served.popitem(last=False)
        return len(content), content[offset : offset + length_max]

    def _find(self, digest: bytes) -> bytes:
        payload = self._store.get(PAYLOAD_TABLE, digest)
        if payload is not None:
            return payload
        return next((state for state in self._checkpoints() if checkpoint_digest(state) == digest), b"")

    def _checkpoints(self) -> Iterable[bytes]:
        for place in range(CHECKPOINTS_KEPT):
            state = self._store.get(STATE_TABLE, checkpoint_key(place))
            if state is not None:
                yield state
