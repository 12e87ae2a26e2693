"""So far behind that replaying would take too long: take over a state that f + 1 members have signed (docs/protocol.md, 6).

They sign (commit index, commit digest, state digest) in their blocks, so one honest member stands for it. The chain of commits
above the garbage horizon comes with it, walked down from the digest: the next commits depend on what it has ordered. And newer
blocks build on it: so its blocks are fetched at once, by their names, and not one round after the other as each names the one
before (a member 300 ms away that did so fell behind again before it had them all).
"""

from dataclasses import dataclass, field

from consensus.effects import FetchState, Record, Restore
from consensus.seeded_choice import SeededChoice
from consensus.total_order.block import Attestations, Checkpoint, CommitMark
from consensus.total_order.commit_fetch import CommitFetch
from consensus.total_order.committer import Committer
from consensus.total_order.context import State
from consensus.total_order.linearizer import CommitRecord
from consensus.total_order.messages import Commits
from consensus.total_order.peers import PeerRecord
from consensus.total_order.records import BASE_TABLE, index_key, record_of_commit
from consensus.total_order.synchroniser import Synchroniser
from consensus.types import Digest, Height, Instant, PeerId, StepId

SNAPSHOT_BEHIND = 2_000
"""Commits behind an agreed checkpoint from which on the state is fetched instead: replaying so many costs minutes of search
results to apply, and hundreds of megabytes of blocks in a large committee."""

CHAIN_MS = 60_000
"""After so long without the whole chain the attempt is over: by then there is a newer checkpoint, whose state is still kept."""

PAUSE_MS = 3_000
"""Between an attempt in which everybody has failed and the next: replaying may go on."""

STATE_MS = 120_000
"""After so long the state is asked for again, of the newest checkpoint: 100 MB at 10 Mbit a second."""


@dataclass(slots=True)
class Joining:
    """One attempt to go on from a checkpoint."""

    checkpoint: Checkpoint
    signers: int
    first: int
    """Index of the first commit that is needed: gc_depth below the checkpoint's."""
    wanted: CommitMark
    """The next commit down the chain: certain, since a commit that is certain names it."""
    until: Instant
    records: list[CommitRecord] = field(default_factory=list)
    """Those above it, in order."""
    state_asked_at: Instant | None = None


class StateSync:
    """Joins the order at a checkpoint."""

    def __init__(  # noqa: PLR0917 - each is another thing
        self,
        state: State,
        choice: SeededChoice,
        synchroniser: Synchroniser,
        attestations: Attestations,
        committer: Committer,
        behind_min: int,
    ) -> None:
        self._state = state
        self._choice = choice
        self._synchroniser = synchroniser
        self._attestations = attestations
        self._committer = committer
        self._behind_min = behind_min
        self._fetch = CommitFetch(state, choice)
        self._joining: Joining | None = None
        self._begin_at = Instant(0)
        self.learner_waits_at: int | None = None
        """The commit whose payloads our learner lacks: nobody may have them any more, while our order goes on."""

    @property
    def is_joining(self) -> bool:
        """Whether a state is on its way: catching up by commits would be wasted."""
        return self._joining is not None

    def tick(self, now: Instant) -> None:
        """Begin, go on, or give up."""
        joining = self._joining
        if joining is None:
            self._begin(now)
        elif now >= (joining.until if joining.state_asked_at is None else joining.state_asked_at + STATE_MS):
            self._joining = None
            self._begin(now)
        else:
            self._fetch.tick(now)
            self._go_on(joining, now)

    def take(self, peer: PeerId, record: PeerRecord, answer: Commits, now: Instant) -> bool:
        """An answer to GetCommits; False when it is not for us."""
        joining = self._joining
        if joining is None or not self._fetch.is_asked(answer.number):
            return False
        links = self._fetch.take(peer, record, answer, now)
        if links:
            joining.records = [link for link, _ in links] + joining.records
            lowest = joining.records[0]
            joining.wanted = CommitMark(lowest.index - 1, lowest.previous)
        self._go_on(joining, now)
        return True

    def on_state(self, step: StepId, content: bytes, now: Instant) -> bool:
        """The state is here: the order goes on from there. False when it is not the one we wait for, which changes nothing."""
        joining = self._joining
        if joining is None or joining.checkpoint.digest != step or joining.state_asked_at is None:
            return False
        self._joining = None
        if joining.checkpoint.index > self._state.order.index:
            self._state.effects.add(Restore(step, content))
            self._adopt(joining)
            self._fetch_blocks(joining, now)
        elif self._learner_index < joining.checkpoint.index:
            self._state.effects.add(Restore(step, content))
        return True

    def on_state_failure(self, state_digest: bytes, now: Instant) -> None:
        """Nobody gives the state, which may be gone by now: the next attempt is for the newest checkpoint."""
        joining = self._joining
        if joining is not None and joining.state_asked_at is not None and joining.checkpoint.state_digest == state_digest:
            self._joining, self._begin_at = None, Instant(now + PAUSE_MS)

    def leave(self, peer: PeerId) -> None:
        """The peer is gone."""
        self._fetch.leave(peer)

    # --- inside ---

    @property
    def _learner_index(self) -> int:
        """The last commit that our learner can be told of."""
        index = self._state.order.index
        return index if self.learner_waits_at is None else min(index, self.learner_waits_at - 1)

    def _begin(self, now: Instant) -> None:
        best = self._attestations.best_checkpoint()
        if now < self._begin_at or best is None or best[0].index < self._learner_index + self._behind_min:
            return
        checkpoint, signers = best
        has_chain = checkpoint.index <= self._state.order.index  # and the learner alone is behind
        first = checkpoint.index + 1 if has_chain else max(1, checkpoint.index - self._state.rules.gc_depth)
        wanted = CommitMark(checkpoint.index, checkpoint.digest)
        self._joining = Joining(checkpoint, signers, first, wanted, Instant(now + CHAIN_MS))
        self._fetch.begin()
        self._go_on(self._joining, now)

    def _go_on(self, joining: Joining, now: Instant) -> None:
        if joining.state_asked_at is not None or self._fetch.is_waiting:
            return
        if joining.wanted.index < joining.first:
            joining.state_asked_at = now
            self._ask_state(joining)
        elif not self._fetch.ask(joining.first, joining.wanted, now):
            self._joining, self._begin_at = None, Instant(now + PAUSE_MS)

    def _ask_state(self, joining: Joining) -> None:
        """Of those who have signed it, by lot: a slow one may not be the first each time. Who is connected comes first."""
        checkpoint, state = joining.checkpoint, self._state
        signers = [index for index in range(state.committee.size) if joining.signers >> index & 1]
        drawn = sorted(self._choice.shuffled(signers), key=lambda index: not state.peers.is_connected(index))
        peers = tuple(state.committee.members[index] for index in drawn)
        step, state_digest = StepId(checkpoint.digest), Digest(checkpoint.state_digest)
        state.effects.add(FetchState(step, Height(checkpoint.index), state_digest, peers))

    def _fetch_blocks(self, joining: Joining, now: Instant) -> None:
        """Those that the order holds above the new horizon."""
        sources = self._state.peers.connected_members()
        if sources:
            for record in joining.records:
                self._synchroniser.want_range(record.references, self._choice.pick(sources), now)

    def _adopt(self, joining: Joining) -> None:
        state = self._state
        base = joining.records[0]
        state.effects.record(Record(BASE_TABLE, index_key(base.index), base.previous))
        for record in joining.records:
            state.effects.record(record_of_commit(record))
            state.order.restart(record)
        state.rule.move_to(state.order.leader_round + 1)
        state.counters.snapshots += 1
        state.counters.synced_commits += 1
        self._committer.on_checkpoint()
