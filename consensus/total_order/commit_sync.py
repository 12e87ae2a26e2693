"""Far behind: walk down the chain of commits from one that f + 1 members name, then replay it from our end on.

Nothing is fetched for a commit that is not certain: what the walk proves is remembered as rungs, and the commits between two
rungs are asked for when their turn comes. The blocks that they name are fetched and judged like all others, and the same
ordering runs over them; a quorum must attest what comes out, which must be the very commit (docs/protocol.md, 6).
"""

from consensus.effects import Halt
from consensus.seeded_choice import SeededChoice
from consensus.total_order.block import MARKS_AHEAD_MAX, Attestations, CommitMark
from consensus.total_order.commit_fetch import CommitFetch, Link
from consensus.total_order.committer import Committer
from consensus.total_order.context import State
from consensus.total_order.linearizer import CommitRecord, commit_digest
from consensus.total_order.messages import Commits
from consensus.total_order.peers import PeerRecord
from consensus.total_order.synchroniser import Synchroniser
from consensus.types import Instant, PeerId, StepId

BUFFER_MAX = MARKS_AHEAD_MAX
"""While so many commits are fetched and not taken over, no more are asked for. Members name a commit some four commits later,
so a buffer never waits for long."""

RANGE_ROUNDS_MAX = 32
"""Blocks of commits in the buffer that are fetched at once, in rounds of all members: 6,400 for 200, some 6 MB of notes. One
commit more may be on its way, which an honest member has made."""

RUNGS_MAX = 4_096
"""Certain commits remembered on the way down, 0.6 MB; some 64 commits apart, or fewer where a source gives little at a time. Of
more the highest are forgotten: the next attempt proves them again."""

STALLED_MS = 15_000
"""After so long without anything proven or taken over, the attempt is over: what was certain then may be had by nobody now."""

PAUSE_MS = 3_000
"""Between an attempt in which everybody has failed and the next."""


class CommitSync:
    """At most one attempt at a time."""

    def __init__(
        self, state: State, choice: SeededChoice, synchroniser: Synchroniser, attestations: Attestations, committer: Committer
    ) -> None:
        self._state = state
        self._synchroniser = synchroniser
        self._attestations = attestations
        self._committer = committer
        self._fetch = CommitFetch(state, choice)
        self._behind_min = max(2, state.rules.gc_depth // 2)
        self._rungs: list[CommitMark] = []
        """Certain commits above the buffer, the lowest last."""
        self._buffer: list[Link] = []
        self._pursued = 0
        """Commits of the buffer whose blocks are asked for."""
        self._giver: PeerId | None = None
        """Who gave the newest part of the buffer."""
        self._progress_at = Instant(0)
        self._begin_at = Instant(0)

    @property
    def behind_by(self) -> int:
        """Commits that an honest member has and we have not."""
        return max(0, self._attestations.certain_index() - self._state.order.index)

    def tick(self, now: Instant) -> None:
        """Begin, go on, or give up."""
        if not self._rungs and not self._buffer:
            if self.behind_by >= self._behind_min and now >= self._begin_at:
                self._begin(now)
        elif now >= self._progress_at + STALLED_MS:
            self.drop()
        else:
            self._fetch.tick(now)
            self._pursue(now)
            self._go_on(now)

    def leave(self, peer: PeerId) -> None:
        """The peer is gone."""
        self._fetch.leave(peer)

    def take(self, peer: PeerId, record: PeerRecord, answer: Commits, now: Instant) -> None:
        """Take in an answer to GetCommits."""
        links = self._fetch.take(peer, record, answer, now)
        if links and self._rungs:
            self._giver, self._progress_at = peer, now
            self._climb(links)
            self._pursue(now)
        self._go_on(now)

    def advance(self, now: Instant) -> bool:
        """Take over what has arrived and is attested; whether there was anything."""
        has_advanced = False
        while self._buffer and self._is_next_ready():
            self._pursued = max(0, self._pursued - 1)
            self._take_over(*self._buffer.pop(0))
            self._progress_at = now
            has_advanced = True
        return has_advanced

    def drop(self) -> None:
        """Give up the attempt."""
        self._rungs.clear()
        self._buffer.clear()
        self._pursued = 0
        self._fetch.begin()
        self._synchroniser.drop_range()

    # --- inside ---

    def _begin(self, now: Instant) -> None:
        certain = self._attestations.certain_commit()
        if certain is not None:
            self._rungs = [certain]
            self._progress_at = now
            self._fetch.begin()
            self._go_on(now)

    def _go_on(self, now: Instant) -> None:
        """Ask for what lies between our end and the lowest rung. Our own commit rule may have gone on meanwhile."""
        end, _ = self._end()
        while self._rungs and self._rungs[-1].index <= end:
            self._rungs.pop()
        if not self._rungs and self._buffer and self.behind_by >= self._behind_min:
            self._aim_higher(end)
        if not self._rungs or self._fetch.is_waiting or len(self._buffer) >= BUFFER_MAX:
            return
        if not self._fetch.ask(end + 1, self._rungs[-1], now):
            self._begin_at = Instant(now + PAUSE_MS)
            self.drop()

    def _aim_higher(self, end: int) -> None:
        """Go on to a commit that is certain by now: whoever is still far behind hears nothing that attests the last ones of
        the buffer, since blocks that name them lie in the commits after them, and newer ones name commits far above.
        """
        certain = self._attestations.certain_commit()
        if certain is not None and certain.index > end:
            self._rungs.append(certain)

    def _climb(self, links: list[Link]) -> None:
        """Commits that lead up to the lowest rung: they follow our end, or give a rung below."""
        index, digest = self._end()
        first, _ = links[0]
        if first.index > index + 1:
            self._rungs.append(CommitMark(first.index - 1, first.previous))
            del self._rungs[:-RUNGS_MAX]
            return
        self._rungs.pop()
        fresh = [link for link in links if link[0].index > index]
        if fresh and fresh[0][0].previous != digest:
            self._contradict(index)
            return
        self._buffer += fresh

    def _pursue(self, now: Instant) -> None:
        """Fetch the blocks of the commits in the buffer, a bounded number of them at a time."""
        room = RANGE_ROUNDS_MAX * self._state.committee.size
        while self._giver is not None and self._pursued < len(self._buffer) and self._synchroniser.missing_of_range < room:
            record, _ = self._buffer[self._pursued]
            self._synchroniser.want_range(record.references, self._giver, now)
            self._pursued += 1

    def _end(self) -> tuple[int, StepId]:
        """The last commit that we have or hold in the buffer."""
        if self._buffer:
            record, digest = self._buffer[-1]
            return record.index, digest
        return self._state.order.index, self._state.order.digest

    def _is_next_ready(self) -> bool:
        record, _ = self._buffer[0]
        if record.index <= self._state.order.index:
            return True
        return record.leader.digest in self._state.dag.accepted and self._is_attested()

    def _is_attested(self) -> bool:
        """Whoever names a later commit of the chain attests all before it."""
        members = 0
        for record, digest in self._buffer:
            members |= self._attestations.members_naming(record.index, digest)
        return self._state.committee.is_quorum(members)

    def _take_over(self, record: CommitRecord, digest: StepId) -> None:
        order = self._state.order
        if record.index <= order.index:  # our own commit rule was quicker
            known = order.digest_at(record.index)
            if known is not None and known != digest:
                self._contradict(record.index)
            return
        leader = self._state.dag.accepted[record.leader.digest]
        self._state.rule.move_to(record.leader.round + 1)
        self._state.counters.synced_commits += 1
        made = self._committer.commit(leader)
        if commit_digest(self._state.network_id, made) != digest:
            self._contradict(record.index)

    def _contradict(self, index: int) -> None:
        faulty_max = self._state.committee.faulty_max
        self._state.effects.add(
            Halt(f"more than {faulty_max} of the members are faulty: they vouch for another commit {index}")
        )
