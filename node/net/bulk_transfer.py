"""Large bytes beside the order: states that members vouch for, and payloads that a block names by their digest.

Everything is named by its digest, fetched in parts, one part at a time from one peer, and worth nothing before it is whole and
its digest is right. Which payload is fetched from whom, and when again, the ordering machine says
(`consensus.payload_requests`): here is the transfer alone. Parts outlive the source that gave them; so a slow one costs its own
time only.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Protocol

from consensus.effects import FetchAttachment, FetchState, Record
from consensus.payload_requests import FETCHES_MAX
from consensus.protocol import AttachmentHeld, FetchFailed, Input, StateHeld
from consensus.types import Digest, PeerId
from learning.aggregation.quantised import payload_digest
from learning.state import checkpoint_digest
from node.common.bounded import BoundedMap
from node.common.wording import counted
from node.net.parts import PART_SECONDS_MAX, Fetch, History, LargeRows, Parts
from node.net.wire import PART_BYTES_MAX, Part
from node.storage.tables import PAYLOAD_TABLE

log = logging.getLogger(__name__)

FETCHES_TOLD_MAX = 2 * FETCHES_MAX
"""Fetches that we are told of at once: those of the machine, and those that it has given up since, which go on."""

CONTENT_BYTES_MAX = 256 * 2**20
"""Of all payloads under way, and again of the parts that are kept for another source. One of each has room however large it
is."""

KEPT_PARTS_MAX = CONTENT_BYTES_MAX // PART_BYTES_MAX
"""Things of which a part is kept for another source: each has a whole one at least."""

SOURCE_SHARE = 4
"""One source has a fourth of the places for payloads at most: each part that it owes us holds one for five seconds."""

RATE_SECONDS = 10.0
"""After so long the rate of a source is looked at."""

RATE_BYTES_PER_SECOND_MIN = 2**18
"""Half a part: a source that gives each part at the last moment is left for another. Where all are that slow each has its turn,
and what has come stays."""

STATE_ROUNDS_MAX = 3
"""Every source of a state is asked so often before the machine hears of new ones. The first time may be a short one."""

HISTORIES_MAX = 256
"""Things whose sources are remembered, the newest ones: wrong wholes are rare, and what is silent is asked for again soon."""

HASHED_AT_ONCE_BYTES_MAX = 2**16
"""What takes under 0.1 ms to hash is not worth a thread."""

TICK_SECONDS = 0.5

Work = Callable[[], bool]

OffLoop = Callable[[Work, Callable[[bool], None]], None]
"""Does the work away from the event loop, then hands on what it has found, in the loop."""


def at_once(work: Work, done: Callable[[bool], None]) -> None:
    """Where there is no loop to keep free: in simulations."""
    done(work())


def in_a_thread(work: Work, done: Callable[[bool], None]) -> None:
    """hashlib releases the interpreter's lock."""
    future = asyncio.get_running_loop().run_in_executor(None, work)
    future.add_done_callback(lambda finished: None if finished.cancelled() else done(finished.result()))


class PartAsker(Protocol):
    """The way to ask; answers come as `on_part`."""

    def ask_part(self, peer: PeerId, digest: bytes, offset: int) -> None:
        """Ask one peer for the bytes from `offset` on; dropped when it is not connected."""
        ...


class Shell(Protocol):
    """Whom to tell: it makes rows durable, and feeds the replica."""

    def record(self, record: Record) -> None:
        """Make a row durable before what the next input records."""
        ...

    def feed(self, event: Input) -> None:
        """Hand an input to the replica."""
        ...


class BulkTransfer:
    """Fetches what it is told to. `clock`: monotonic, in seconds."""

    def __init__(
        self,
        store: LargeRows,
        asker: PartAsker,
        *,
        state_bytes_max: int,
        payload_bytes_max: int,
        clock: Callable[[], float],
        off_loop: OffLoop = at_once,
    ) -> None:
        """Longer states and payloads than the task can need are never fetched."""
        self._store = store
        self._asker = asker
        self._state_bytes_max = state_bytes_max
        self._payload_bytes_max = payload_bytes_max
        self._clock = clock
        self._off_loop = off_loop
        self._fetches: dict[Digest, Fetch] = {}
        self._waiting: dict[Digest, Fetch] = {}
        """Payloads that have no place yet, in the order in which they were told."""
        self._kept_parts: BoundedMap[Digest, Parts] = BoundedMap(KEPT_PARTS_MAX)
        """Of what is not under way; the newest last."""
        self._histories: BoundedMap[Digest, History] = BoundedMap(HISTORIES_MAX)
        self._payloads_max = payload_places(payload_bytes_max)
        self._per_source_max = max(1, self._payloads_max // SOURCE_SHARE)
        self.driver: Shell | None = None
        """Whom to tell; set once, before `run`."""

    @property
    def under_way(self) -> int:
        """How many things are being fetched."""
        return len(self._fetches)

    def fetch_payload(self, effect: FetchAttachment) -> None:
        """Answered by `AttachmentHeld`, at once where we hold it, or by `FetchFailed`. A new source replaces the one before it.

        The length is what somebody says: two may name one payload with unlike lengths; who is right, the learner says.
        What counts here is what a payload of this network can be at most.
        """
        digest = effect.digest
        if self._store.has(PAYLOAD_TABLE, digest):
            self._feed(AttachmentHeld(digest))
            return
        present = self._fetches.get(digest)
        if present is not None and present.is_hashing:
            present.sources = [effect.peer]  # if it is wrong, this one's turn comes next
            return
        if self._payload_bytes_max == 0 or effect.peer in self._history(digest).liars:
            self._feed(FetchFailed(digest, effect.peer))
            return
        if present is not None:
            self._keep_parts(present)
            del self._fetches[digest]
        self._waiting.pop(digest, None)
        if len(self._fetches) + len(self._waiting) >= FETCHES_TOLD_MAX:
            self._feed(FetchFailed(digest, effect.peer))
            return
        self._waiting[digest] = Fetch(effect, digest, self._payload_bytes_max, [effect.peer])
        self._start_waiting()

    def fetch_state(self, effect: FetchState) -> None:
        """Answered by `StateHeld`, or by `FetchFailed` once all have had their turns. An older one is wanted no more."""
        digest = effect.state_digest
        for other in [fetch for fetch in self._fetches.values() if fetch.is_state and fetch.digest != digest]:
            del self._fetches[other.digest]
        liars = self._history(digest).liars
        sources = [peer for peer in dict.fromkeys(effect.peers) if peer not in liars]
        if sources and digest not in self._fetches:
            self._start(Fetch(effect, digest, self._state_bytes_max, sources, turns_left=len(sources) * STATE_ROUNDS_MAX))

    async def run(self) -> None:
        """Give up on peers that do not answer, until cancelled."""
        while True:
            await asyncio.sleep(TICK_SECONDS)
            self.tick()

    def tick(self) -> None:
        """Leave sources that do not answer, or are too slow. Call it twice a second."""
        now = self._clock()
        for fetch in list(self._fetches.values()):
            if fetch.is_hashing or self._fetches.get(fetch.digest) is not fetch:
                continue
            took = now - fetch.began_at
            is_slow = took > RATE_SECONDS and fetch.given < took * RATE_BYTES_PER_SECOND_MIN
            silences = self._history(fetch.digest).silences
            is_silent = now - fetch.asked_at > min(PART_SECONDS_MAX, fetch.part_seconds * 2**silences)
            if is_silent:
                self._remember(fetch.digest).silences += 1
            if is_slow or is_silent:
                self._leave(fetch)

    def on_part(self, peer: PeerId, part: Part) -> None:
        """Take a part that we wait for; anything else is ignored: it may be late."""
        fetch = self._fetches.get(Digest(part.digest))
        if fetch is None or fetch.is_hashing or fetch.sources[0] != peer or part.offset != len(fetch.parts.content):
            return
        parts = fetch.parts
        if not fetch.is_next(part) or not parts.agrees(peer, part.total):
            if fetch.is_state or parts.givers in {(), (peer,)}:
                self._leave(fetch)
            else:
                self._begin_alone(fetch)
            return
        parts.add(peer, part)
        fetch.given += len(part.content)
        if len(parts.content) < part.total:
            self._ask(fetch)
        else:
            self._hash(fetch)

    # --- under way ---

    def _start_waiting(self) -> None:
        """Begin what has a place now."""
        for fetch in list(self._waiting.values()):
            if self._has_place(fetch.sources[0]):
                del self._waiting[fetch.digest]
                self._start(fetch)

    def _has_place(self, source: PeerId) -> bool:
        payloads = [fetch for fetch in self._fetches.values() if not fetch.is_state]
        of_source = sum(fetch.sources[0] == source for fetch in payloads)
        return len(payloads) < self._payloads_max and of_source < self._per_source_max

    def _start(self, fetch: Fetch) -> None:
        self._fetches[fetch.digest] = fetch
        fetch.parts = self._kept_parts.pop(fetch.digest) or fetch.parts
        self._begin_with_source(fetch)

    def _begin_with_source(self, fetch: Fetch) -> None:
        if self._history(fetch.digest).is_alone and fetch.parts.givers not in {(), (fetch.sources[0],)}:
            fetch.parts = Parts()
        fetch.began_at, fetch.given = self._clock(), 0
        self._ask(fetch)

    def _begin_alone(self, fetch: Fetch) -> None:
        """Of several givers one lies: whoever is asked now gives all of it, and is not taken for the liar."""
        fetch.aside = fetch.parts
        fetch.parts = Parts()
        self._begin_with_source(fetch)

    def _ask(self, fetch: Fetch) -> None:
        fetch.asked_at = self._clock()
        self._asker.ask_part(fetch.sources[0], fetch.digest, len(fetch.parts.content))

    def _leave(self, fetch: Fetch) -> None:
        """This source is of no use now: the next one goes on where it has stopped."""
        fetch.turns_left -= 1
        if fetch.is_state and fetch.turns_left > 0:
            fetch.sources.append(fetch.sources.pop(0))
            self._begin_with_source(fetch)
        else:
            self._fail(fetch)

    def _fail(self, fetch: Fetch) -> None:
        self._keep_parts(fetch)
        self._end(fetch)
        self._feed(FetchFailed(fetch.digest, fetch.sources[0]))

    def _end(self, fetch: Fetch) -> None:
        """It is over, one way or the other: the next one's turn."""
        if self._fetches.get(fetch.digest) is fetch:
            del self._fetches[fetch.digest]
        self._start_waiting()

    # --- parts over sources ---

    def _keep_parts(self, fetch: Fetch) -> None:
        parts = max(fetch.parts, fetch.aside, key=lambda known: len(known.content))
        if parts.content:
            self._kept_parts[fetch.digest] = parts
        while len(self._kept_parts) > 1 and sum(len(kept.content) for kept in self._kept_parts.values()) > CONTENT_BYTES_MAX:
            self._kept_parts.drop_oldest()

    def _history(self, digest: Digest) -> History:
        return self._histories.get(digest) or History()

    def _remember(self, digest: Digest) -> History:
        history = self._histories.get(digest)
        if history is None:
            history = self._histories[digest] = History()
        return history

    def _note_lie(self, fetch: Fetch) -> None:
        """The whole is wrong: by its only giver, or by one of several."""
        history = self._remember(fetch.digest)
        givers = fetch.parts.givers
        if len(givers) == 1:
            history.liars = tuple(dict.fromkeys((*history.liars, *givers)))
            log.warning("peer %s sent other bytes than their digest says", givers[0].hex()[:8])
        else:
            history.is_alone = True
            log.warning("one of %s sent other bytes than their digest says", counted(len(givers), "peer"))

    # --- whole ---

    def _hash(self, fetch: Fetch) -> None:
        """Off the loop, but for what is small. Nothing else happens to the fetch until then."""
        fetch.is_hashing = True
        content, digest, is_state = bytes(fetch.parts.content), fetch.digest, fetch.is_state

        def is_right() -> bool:
            return (checkpoint_digest(content) if is_state else payload_digest(content)) == digest

        way = at_once if len(content) <= HASHED_AT_ONCE_BYTES_MAX else self._off_loop
        way(is_right, lambda found: self._on_hash(fetch, content, is_right=found))

    def _on_hash(self, fetch: Fetch, content: bytes, *, is_right: bool) -> None:
        fetch.is_hashing = False
        if self._fetches.get(fetch.digest) is not fetch:  # an older state that is wanted no more
            return
        if is_right:
            self._histories.pop(fetch.digest)
            self._end(fetch)
            self._hand_over(fetch.effect, content)
            return
        self._note_lie(fetch)
        fetch.parts = Parts()
        liars = self._history(fetch.digest).liars
        fetch.sources = [source for source in fetch.sources if source not in liars] or fetch.sources
        if fetch.sources[0] in liars:
            self._fail(fetch)
        else:
            self._begin_alone(fetch)

    def _hand_over(self, effect: FetchAttachment | FetchState, content: bytes) -> None:
        """The row and what the machine records next become durable in one commit: neither is of use without the other."""
        assert self.driver is not None, "run before it was wired"
        match effect:
            case FetchAttachment(digest):
                self.driver.record(Record(PAYLOAD_TABLE, digest, content))
                self.driver.feed(AttachmentHeld(digest))
            case FetchState(step):
                self.driver.feed(StateHeld(step, content))

    def _feed(self, event: Input) -> None:
        assert self.driver is not None, "run before it was wired"
        self.driver.feed(event)


def payload_places(payload_bytes_max: int) -> int:
    """How many payloads of at most so many bytes are fetched at once."""
    return min(FETCHES_MAX, max(1, CONTENT_BYTES_MAX // max(1, payload_bytes_max)))
