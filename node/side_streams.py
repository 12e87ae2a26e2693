"""Large bytes beside the order: states that members vouch for, and payloads that a block names by their digest.

Everything is named by its digest, fetched in parts, one part at a time from one peer, and worth nothing before it is whole and
its digest is right.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Protocol

from consensus.protocol import FetchPayload, FetchState, Input, PayloadHeld, Record, StateHeld
from consensus.types import DIGEST_BYTES, Digest, PeerId
from learning.checkpoint import checkpoint_digest, decode_kept_state
from learning.learner import RestoreRequest
from node.net.wire import Part
from node.ports import LearnerPort
from node.replica import CHECKPOINTS_KEPT, PAYLOAD_TABLE, STATE_KEY, STATE_TABLE, checkpoint_key

log = logging.getLogger(__name__)

FETCHES_MAX = 64
"""Under way at once: a payload from each member of a round of 64."""

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

    def get(self, kind: str, key: bytes) -> bytes | None:
        """The value under this key."""
        ...

    def has(self, kind: str, key: bytes) -> bool:
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
    """One thing under way. `sources`: whom to ask, the present one first."""

    effect: FetchPayload | FetchState
    digest: Digest
    bytes_max: int
    sources: list[PeerId]
    asked_at: float = 0.0
    content: bytearray = field(default_factory=bytearray)


class SideStreams:
    """Fetches what the ordering machine asks for, and serves what others ask for. `clock`: monotonic, in seconds."""

    def __init__(
        self,
        store: LargeRows,
        asker: PartAsker,
        learner: LearnerPort,
        *,
        state_bytes_max: int,
        payload_bytes_max: int,
        clock: Callable[[], float],
    ) -> None:
        """Longer states and payloads than the task can need are never fetched."""
        self._store = store
        self._asker = asker
        self._learner = learner
        self._state_bytes_max = state_bytes_max
        self._payload_bytes_max = payload_bytes_max
        self._clock = clock
        self._fetches: dict[Digest, _Fetch] = {}
        self._serving: tuple[bytes, bytes] = (b"", b"")
        self.driver: Shell | None = None
        """Whom to tell; set once, before `run`."""

    # --- fetching ---

    def fetch_payload(self, effect: FetchPayload) -> None:
        """Answered by `PayloadHeld`, at once where we hold it, or asked for again by the machine.

        What no honest peer names is never fetched: so nothing that hangs on it is ever accepted.
        """
        if effect.length > self._payload_bytes_max:
            return
        if self._store.has(PAYLOAD_TABLE, effect.digest):
            assert self.driver is not None, "run before it was wired"
            self.driver.feed(PayloadHeld(effect.digest))
            return
        self._begin(_Fetch(effect, effect.digest, effect.length, [effect.peer]))

    def fetch_state(self, effect: FetchState) -> None:
        """Answered by `StateHeld`, or asked for again by the machine."""
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
        if not part.content or not len(fetch.content) + len(part.content) <= part.total <= fetch.bytes_max:
            self._try_next(fetch)
            return
        fetch.content += part.content
        if len(fetch.content) < part.total:
            self._ask(fetch)
        else:
            self._finish(fetch)

    def _begin(self, fetch: _Fetch) -> None:
        if fetch.digest in self._fetches or len(self._fetches) >= FETCHES_MAX or not fetch.sources:
            return
        self._fetches[fetch.digest] = fetch
        self._ask(fetch)

    def _ask(self, fetch: _Fetch) -> None:
        fetch.asked_at = self._clock()
        self._asker.ask_part(fetch.sources[0], fetch.digest, len(fetch.content))

    def _try_next(self, fetch: _Fetch) -> None:
        """Start over with another peer, or give up: the machine asks again when it still needs it."""
        del fetch.sources[0], fetch.content[:]
        if fetch.sources:
            self._ask(fetch)
        else:
            del self._fetches[fetch.digest]

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
        del self._fetches[fetch.digest]
        self._hand_over(fetch.effect, content)

    def _hand_over(self, effect: FetchPayload | FetchState, content: bytes) -> None:
        """The row and what the machine records next become durable in one commit: neither is of use without the other."""
        assert self.driver is not None, "run before it was wired"
        match effect:
            case FetchPayload(digest):
                self.driver.record(Record(PAYLOAD_TABLE, digest, content))
                self.driver.feed(PayloadHeld(digest))
            case FetchState(step):
                self.driver.record(Record(STATE_TABLE, STATE_KEY, content))
                self._learner.ask(RestoreRequest(decode_kept_state(content)))
                self.driver.feed(StateHeld(step))

    # --- serving ---

    def large_bytes(self, digest: bytes, offset: int, length_max: int) -> tuple[int, bytes]:
        """What we hold under the digest: its length (0: nothing), and a part of it."""
        if self._serving[0] != digest:
            self._serving = (digest, self._find(digest))
        content = self._serving[1]
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
