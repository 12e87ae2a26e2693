"""Commits from members that nobody trusts: taken is only what leads up to a commit that is certain.

A commit names the one before by its digest, so a chain is walked down from a commit that f + 1 members have signed, and every
answer is judged when it comes: it begins where it was asked to, and holds the very digest. Whoever breaks that is refused, and
nothing of it is kept. Who is asked is drawn by lot; who gives nothing is not asked again in the same attempt.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from consensus.effects import Offence, Refuse, Send
from consensus.encoding import encode
from consensus.seeded_choice import SeededChoice
from consensus.total_order.block import CommitMark
from consensus.total_order.committee import Committee
from consensus.total_order.context import State
from consensus.total_order.linearizer import CommitRecord, chain_digests, record_fault
from consensus.total_order.messages import ANSWER_BYTES_MAX, COMMITS_MAX, Commits, GetCommits
from consensus.total_order.peers import PeerRecord
from consensus.types import Instant, NetworkId, PeerId, StepId

ANSWER_MS = 3_000
"""After so long a source has failed: half a megabyte at 1.4 Mbit a second."""

SLOW_MS = 1_000
"""A source that takes longer is followed by another: a slow one may not have all turns."""

Link = tuple[CommitRecord, StepId]
"""A commit and its digest."""


@dataclass(frozen=True, slots=True)
class Request:
    """For the commits from `first` up to `last`, which is certain."""

    first: int
    last: CommitMark
    number: int
    asked_at: Instant


class CommitFetch:
    """At most one request at a time, to one source."""

    def __init__(self, state: State, choice: SeededChoice) -> None:
        self._state = state
        self._choice = choice
        self._failed: dict[PeerId, None] = {}
        self._source: PeerId | None = None
        self._followed: PeerId | None = None
        """The source that was too slow, or gave too little: not the next one if there is another."""
        self._window = COMMITS_MAX
        """Commits asked for: as many as the last answers could hold."""
        self._request: Request | None = None

    @property
    def is_waiting(self) -> bool:
        """Whether somebody is being asked."""
        return self._request is not None

    def begin(self) -> None:
        """A new attempt: nobody has failed in it."""
        self._failed.clear()
        self._source, self._followed, self._request = None, None, None
        self._window = COMMITS_MAX

    def ask(self, floor: int, last: CommitMark, now: Instant) -> bool:
        """Ask for commits that lead up to `last`, from `floor` on or later. False: everybody has failed in this attempt."""
        source = self._draw()
        record = None if source is None else self._state.peers.get(source)
        if source is None or record is None:
            return False
        self._source = source
        first = max(floor, last.index - self._window + 1)
        number = record.commit_requests.add({}, Instant(now + ANSWER_MS))
        self._request = Request(first, last, number, now)
        self._state.effects.add(Send(source, encode(GetCommits(number, first))))
        return True

    def is_asked(self, number: int) -> bool:
        """Whether the answer with this number is for us."""
        return self._request is not None and self._request.number == number

    def take(self, peer: PeerId, record: PeerRecord, answer: Commits, now: Instant) -> list[Link]:
        """An answer: the commits that it proves, the last of which is the one asked for; none when it proves none."""
        record.commit_requests.on_answer(answer.number)
        request = self._request
        if request is None or peer != self._source or answer.number != request.number:
            return []
        self._request = None
        if not answer.records:
            self._fail()
            return []
        links = chain_of(self._state.network_id, self._state.committee, request, answer.records)
        if isinstance(links, str):
            self._fail()
            self._state.effects.add(Refuse(peer, Offence.MALFORMED, links))
            return []
        self._adapt(request, len(links), now)
        return links

    def tick(self, now: Instant) -> None:
        """Give up on a source that does not answer."""
        if self._request is not None and now >= self._request.asked_at + ANSWER_MS:
            self._fail()

    def leave(self, peer: PeerId) -> None:
        """The peer is gone. That it failed is remembered."""
        if peer == self._source:
            self._source, self._request = None, None

    # --- inside ---

    def _fail(self) -> None:
        if self._source is not None:
            self._failed[self._source] = None
        self._source, self._request = None, None

    def _draw(self) -> PeerId | None:
        if self._source is not None:
            return self._source
        candidates = [peer for peer in self._state.peers.connected_members() if peer not in self._failed]
        others = [peer for peer in candidates if peer != self._followed]
        return self._choice.pick(others or candidates) if candidates else None

    def _adapt(self, request: Request, proven: int, now: Instant) -> None:
        """An honest answer is short where commits are large: then less is asked for, of the next."""
        if proven:
            self._window = min(COMMITS_MAX, 2 * self._window)
        else:
            self._window = max(1, self._window // 2)
        if not proven or now >= request.asked_at + SLOW_MS:
            self._followed, self._source = self._source, None


def chain_of(
    network_id: NetworkId, committee: Committee, request: Request, records: Sequence[CommitRecord]
) -> list[Link] | str:
    """The commits up to the one asked for, with their digests; none when they do not reach it. A text: what is wrong."""
    if records[0].index != request.first:
        return f"commits from {records[0].index} on, asked for: {request.first}"
    size = sum(len(encode(record)) for record in records) if len(records) > 1 else 0
    if size > ANSWER_BYTES_MAX:
        return f"{len(records)} commits in {size} bytes, allowed: {ANSWER_BYTES_MAX}"
    digests = chain_digests(network_id, records[0].previous, records)
    if digests is None:
        return f"commits that are no chain from commit {request.first} on"
    place = request.last.index - request.first
    if place >= len(records):
        return []
    if digests[place] != request.last.digest:
        return f"another commit {request.last.index} than members have signed"
    links = list(zip(records, digests, strict=True))[: place + 1]
    faults = (record_fault(record, committee) for record, _ in links)
    return next((fault for fault in faults if fault is not None), links)
