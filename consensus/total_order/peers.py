"""What is remembered of each connected peer: what it wants, what it owes us, and how much of our time it has used."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field

from consensus.rate_limit import TokenBucket
from consensus.total_order.committee import Committee
from consensus.types import Instant, PeerId

BLOCKS_BURST = 4_096
"""Unasked blocks that a peer may send at once: a member of 64 that forwards a minute's rounds to an observer."""

BLOCKS_PER_SECOND = 2_000
"""Each new one costs a signature check of 0.2 ms: half a core at most."""

REQUESTS_BURST = 128
"""Requests that a peer that syncs may send at once."""

REQUESTS_PER_SECOND = 64
"""Each costs up to 64 reads of our own records: about 1 ms."""

DEBT_MAX = 4_096
"""What is over budget is ignored; a peer that goes on for so long is refused."""

REQUESTS_OPEN_MAX = 8
"""Requests to one peer at once: 512 blocks."""

REQUESTS_KEPT_MAX = 64
"""Requests remembered for late answers."""


@dataclass(slots=True)
class Numbers:
    """Numbers requests over all connections, so that an answer to an earlier connection is not taken for a lie."""

    last: int = 0

    def draw(self) -> int:
        """A number that was never used before."""
        self.last += 1
        return self.last


@dataclass(slots=True)
class Requests:
    """Numbered requests to one peer, and what each asked for."""

    numbers: Numbers
    asked: dict[int, dict[bytes, None]] = field(default_factory=dict)
    deadlines: dict[int, Instant] = field(default_factory=dict)

    def add(self, digests: dict[bytes, None], deadline: Instant) -> int:
        """The number of a new request."""
        number = self.numbers.draw()
        self.asked[number], self.deadlines[number] = digests, deadline
        if len(self.asked) > REQUESTS_KEPT_MAX:
            oldest = next(iter(self.asked))
            del self.asked[oldest], self.deadlines[oldest]
        return number

    def on_answer(self, number: int) -> dict[bytes, None] | None:
        """What the request asked for, once; None when it was answered before, is long forgotten, or of another connection."""
        self.deadlines.pop(number, None)
        return self.asked.pop(number, None)

    def is_expected(self, number: int) -> bool:
        """Whether this connection still owes the answer."""
        return number in self.asked

    def was_sent(self, number: int) -> bool:
        """Whether the number was ever used."""
        return 1 <= number <= self.numbers.last

    def digests(self) -> Iterator[bytes]:
        """The digests that are still owed."""
        return itertools.chain.from_iterable(self.asked.values())

    def open(self, now: Instant) -> int:
        """Requests whose answers can be expected."""
        return sum(now < deadline for deadline in self.deadlines.values())


@dataclass(slots=True)
class PeerRecord:
    """What is known of one connected peer."""

    member: int | None
    """Its index; None for an observer."""
    blocks: TokenBucket
    requests: TokenBucket
    """And answers that came too late to be of use."""
    block_requests: Requests
    commit_requests: Requests
    wants_all: bool = False
    """It asked for everything that we accept."""
    stream_deadline: Instant | None = None
    """We have asked for its own blocks, and expect the answer until then."""


class Peers:
    """The connected peers. One that was refused is gone at once: what it has sent before counts no more."""

    def __init__(self, committee: Committee) -> None:
        self._committee = committee
        self._records: dict[PeerId, PeerRecord] = {}
        self._numbers = Numbers()
        self.members = 0
        """The members that are connected, as a set of members."""

    def on_restart(self, now: Instant) -> None:
        """Answers to an earlier run may still come: its numbers are lower, since it drew less than one in a millisecond."""
        self._numbers.last = max(0, now)

    def join(self, peer: PeerId, now: Instant) -> PeerRecord:
        """A peer has connected, or connected anew."""
        member = self._committee.index_of(peer)
        record = PeerRecord(
            member=member,
            blocks=TokenBucket(BLOCKS_BURST, BLOCKS_PER_SECOND, DEBT_MAX, now),
            requests=TokenBucket(REQUESTS_BURST, REQUESTS_PER_SECOND, DEBT_MAX, now),
            block_requests=Requests(self._numbers),
            commit_requests=Requests(self._numbers),
        )
        self._records[peer] = record
        if member is not None:
            self.members |= 1 << member
        return record

    def leave(self, peer: PeerId) -> None:
        """The peer has left or was refused."""
        record = self._records.pop(peer, None)
        if record is not None and record.member is not None:
            self.members &= ~(1 << record.member)

    def get(self, peer: PeerId) -> PeerRecord | None:
        """The record of a connected peer."""
        return self._records.get(peer)

    def is_connected(self, member: int) -> bool:
        """Whether the member with this index is."""
        return bool(self.members >> member & 1)

    def all(self) -> tuple[tuple[PeerId, PeerRecord], ...]:
        """In the order in which they joined."""
        return tuple(self._records.items())

    def sources(self) -> list[PeerId]:
        """Whom to ask for payloads (`consensus.payload_requests.Sources`): members alone."""
        return self.connected_members()

    def connected_members(self) -> list[PeerId]:
        """In the order in which they joined."""
        return [peer for peer, record in self._records.items() if record.member is not None]
