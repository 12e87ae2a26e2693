"""Far behind: fetch ranges of commits, check that they chain, and that a quorum vouches for what is taken over.

The blocks that a range names are fetched and judged like all others, and the same ordering runs over them; what comes out must
be the very commit that was vouched for.
"""

from consensus.encoding import encode
from consensus.faults import Offence
from consensus.protocol import Halt, Refuse, Send
from consensus.total_order.committing import Committing
from consensus.total_order.dice import Dice
from consensus.total_order.messages import Commits, GetCommits
from consensus.total_order.order import CommitRecord, chain_digests, commit_digest
from consensus.total_order.peers import PeerRecord
from consensus.total_order.state import State
from consensus.total_order.synchroniser import Synchroniser
from consensus.total_order.vouching import MARKS_AHEAD_MAX, Vouching
from consensus.types import Instant, PeerId, StepId

BUFFER_MAX = MARKS_AHEAD_MAX
"""Commits fetched and not yet taken over. Members name a commit some four commits later, so a buffer never waits for long."""

ANSWER_MS = 3_000
"""After so long another peer is asked."""

STALLED_MS = 15_000
"""After so long without a commit taken over, the range is dropped and another peer asked: the first may have made it up."""


class CatchUp:
    """At most one range at a time, from one source."""

    def __init__(
        self, state: State, dice: Dice, synchroniser: Synchroniser, vouching: Vouching, committing: Committing
    ) -> None:
        self._state = state
        self._dice = dice
        self._synchroniser = synchroniser
        self._vouching = vouching
        self._committing = committing
        self._behind_min = max(2, state.rules.gc_depth // 2)
        self._source: PeerId | None = None
        self._tried: dict[PeerId, None] = {}
        self._buffer: list[tuple[CommitRecord, StepId]] = []
        self._asked_at: Instant | None = None
        self._asked_first = 0
        self._asked_number = 0
        self._progress_at = Instant(0)

    @property
    def behind_by(self) -> int:
        """Commits that an honest member has and we have not."""
        return max(0, self._vouching.certain_index() - self._state.order.index)

    def tick(self, now: Instant) -> None:
        """Begin, go on, or try another source."""
        if self._source is None:
            if self.behind_by >= self._behind_min:
                self._begin(now)
            return
        is_silent = self._asked_at is not None and now >= self._asked_at + ANSWER_MS
        if is_silent or now >= self._progress_at + STALLED_MS:
            self.drop()
            self.tick(now)
        elif self._asked_at is None:
            self._ask(now)

    def left(self, peer: PeerId) -> None:
        """The peer is gone."""
        self._tried.pop(peer, None)
        if peer == self._source:
            self.drop()

    def take(self, peer: PeerId, record: PeerRecord, answer: Commits, now: Instant) -> None:
        """An answer to GetCommits. Who sends what does not chain is refused."""
        record.commit_requests.answered(answer.number)
        if peer != self._source or answer.number != self._asked_number:
            return
        self._asked_at = None
        if not answer.records:
            self._source_has_no_more()
            return
        digests = chain_digests(self._state.network_id, answer.records[0].previous, answer.records)
        if answer.records[0].index != self._asked_first or digests is None:
            self._refuse_source(peer, f"commits that are no chain from commit {self._asked_first} on")
            return
        self._take_chain(peer, list(zip(answer.records, digests, strict=True)), now)

    def advance(self, now: Instant) -> bool:
        """Take over what has arrived and is vouched for; whether there was anything."""
        has_advanced = False
        while self._buffer and self._is_next_ready():
            self._take_over(*self._buffer.pop(0))
            self._progress_at = now
            has_advanced = True
        return has_advanced

    def drop(self) -> None:
        """Forget the range and its source."""
        self._source, self._asked_at = None, None
        self._buffer.clear()
        self._synchroniser.drop_range()

    # --- inside ---

    def _take_chain(self, peer: PeerId, chain: list[tuple[CommitRecord, StepId]], now: Instant) -> None:
        """Our own commit rule may have gone on since we asked: only what follows our end is new."""
        index, digest = self._end()
        fresh = [(record, own) for record, own in chain if record.index > index]
        if fresh and (fresh[0][0].index != index + 1 or fresh[0][0].previous != digest):
            self._refuse_source(peer, f"commits that do not follow commit {index}")
            return
        fresh = fresh[: BUFFER_MAX - len(self._buffer)]
        self._buffer += fresh
        for record, _ in fresh:
            self._synchroniser.want_range(record.references, peer, now)
        self._ask(now)

    def _begin(self, now: Instant) -> None:
        candidates = [peer for peer in self._state.peers.connected_members() if peer not in self._tried]
        if not candidates:
            self._tried.clear()
            candidates = self._state.peers.connected_members()
        if candidates:
            self._source = self._dice.pick(candidates)
            self._tried[self._source] = None
            self._progress_at = now
            self._ask(now)

    def _end(self) -> tuple[int, StepId]:
        """The last commit that we have or hold in the buffer."""
        if self._buffer:
            record, digest = self._buffer[-1]
            return record.index, digest
        return self._state.order.index, self._state.order.digest

    def _ask(self, now: Instant) -> None:
        record = None if self._source is None else self._state.peers.get(self._source)
        if self._source is None or record is None or len(self._buffer) >= BUFFER_MAX:
            return
        self._asked_at, self._asked_first = now, self._end()[0] + 1
        self._asked_number = record.commit_requests.send({}, Instant(now + ANSWER_MS))
        self._state.outbox.add(Send(self._source, encode(GetCommits(self._asked_number, self._asked_first))))

    def _source_has_no_more(self) -> None:
        if not self._buffer:
            self.drop()

    def _refuse_source(self, peer: PeerId, detail: str) -> None:
        self._state.outbox.add(Refuse(peer, Offence.MALFORMED, detail))
        self.drop()

    def _is_next_ready(self) -> bool:
        record, _ = self._buffer[0]
        if record.index <= self._state.order.index:
            return True
        return record.leader.digest in self._state.dag.accepted and self._is_vouched()

    def _is_vouched(self) -> bool:
        """Whoever names a later commit of the chain vouches for all before it."""
        members = 0
        for record, digest in self._buffer:
            members |= self._vouching.members_naming(record.index, digest)
        return self._state.committee.is_quorum(members)

    def _take_over(self, record: CommitRecord, digest: StepId) -> None:
        order = self._state.order
        if record.index <= order.index:  # our own commit rule was quicker
            known = order.digest_at(record.index)
            if known is not None and known != digest:
                self.drop()
            return
        leader = self._state.dag.accepted[record.leader.digest]
        self._state.rule.move_to(record.leader.round + 1)
        self._state.counters.synced_commits += 1
        made = self._committing.commit(leader)
        if commit_digest(self._state.network_id, made) != digest:
            faulty_max = self._state.committee.faulty_max
            self._state.outbox.add(Halt(f"more than {faulty_max} faulty members: they vouch for another commit {record.index}"))
