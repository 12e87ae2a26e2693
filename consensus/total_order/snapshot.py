"""So far behind that replaying would take too long: take over a state that f + 1 members have signed.

They sign (commit index, commit digest, state digest) in their blocks, so one honest member stands for it. The chain of commits
above the garbage horizon comes with it, checked against the digest: the next commits depend on what it has ordered.
"""

from dataclasses import dataclass

from consensus.encoding import encode
from consensus.protocol import FetchState, Record, Restore, Send
from consensus.total_order.archive import BASE_TABLE, index_key, record_of_commit
from consensus.total_order.block import Checkpoint
from consensus.total_order.committing import Committing
from consensus.total_order.dice import Dice
from consensus.total_order.messages import Commits, GetCommits
from consensus.total_order.order import CommitRecord, chain_digests
from consensus.total_order.peers import PeerRecord
from consensus.total_order.state import State
from consensus.total_order.vouching import Vouching
from consensus.types import Digest, Height, Instant, PeerId, StepId

SNAPSHOT_BEHIND = 2_000
"""Commits behind an agreed checkpoint from which on the state is fetched instead: replaying so many costs minutes of search
results to apply, and hundreds of megabytes of blocks in a large committee."""

ANSWER_MS = 3_000
"""After so long another peer is asked."""

STATE_MS = 120_000
"""After so long the state is asked for again, of the newest checkpoint: 100 MB at 10 Mbit a second."""


@dataclass(slots=True)
class Joining:
    """One attempt."""

    checkpoint: Checkpoint
    signers: int
    first: int
    """Index of the first commit that is needed."""
    source: PeerId
    asked_at: Instant
    records: list[CommitRecord]
    number: int = 0
    """Of the request under way; numbers are never used twice."""
    state_asked_at: Instant | None = None


class Snapshot:
    """Joins the order at a checkpoint."""

    def __init__(self, state: State, dice: Dice, vouching: Vouching, committing: Committing, behind_min: int) -> None:
        self._state = state
        self._dice = dice
        self._vouching = vouching
        self._committing = committing
        self._behind_min = behind_min
        self._joining: Joining | None = None

    @property
    def is_joining(self) -> bool:
        """Whether a state is on its way: catching up by commits would be wasted."""
        return self._joining is not None

    def tick(self, now: Instant) -> None:
        """Begin, or try another source."""
        joining = self._joining
        if joining is not None:
            asked_at, patience_ms = joining.asked_at, ANSWER_MS
            if joining.state_asked_at is not None:
                asked_at, patience_ms = joining.state_asked_at, STATE_MS
            if now < asked_at + patience_ms:
                return
            self._joining = None
        self._begin(now)

    def take(self, record: PeerRecord, answer: Commits, now: Instant) -> bool:
        """An answer to GetCommits; False when it is not for us."""
        joining = self._joining
        if joining is None or answer.number != joining.number or joining.state_asked_at is not None:
            return False
        record.commit_requests.answered(answer.number)
        joining.records += answer.records
        last = joining.records[-1].index if joining.records else 0
        if not answer.records:
            self._joining = None
        elif last >= joining.checkpoint.index:
            self._check(joining, now)
        else:
            self._ask(joining, last + 1, now)
        return True

    def state_held(self, step: StepId, content: bytes) -> bool:
        """The state is here: the order goes on from there. False when it is not the one we wait for, which changes nothing."""
        joining = self._joining
        if joining is None or joining.checkpoint.digest != step or joining.state_asked_at is None:
            return False
        self._joining = None
        if joining.checkpoint.index > self._state.order.index:
            self._state.outbox.add(Restore(step, content))
            self._adopt(joining)
        return True

    def left(self, peer: PeerId) -> None:
        """The peer is gone."""
        if self._joining is not None and self._joining.source == peer and self._joining.state_asked_at is None:
            self._joining = None

    # --- inside ---

    def _begin(self, now: Instant) -> None:
        best = self._vouching.best_checkpoint()
        candidates = self._state.peers.connected_members()
        if best is None or not candidates or best[0].index < self._state.order.index + self._behind_min:
            return
        first = max(1, best[0].index - self._state.rules.gc_depth)
        self._joining = Joining(best[0], best[1], first, self._dice.pick(candidates), now, [])
        self._ask(self._joining, first, now)

    def _ask(self, joining: Joining, first: int, now: Instant) -> None:
        record = self._state.peers.get(joining.source)
        assert record is not None, "an attempt ends when its source leaves"
        joining.asked_at = now
        joining.number = record.commit_requests.send({}, Instant(now + ANSWER_MS))
        self._state.outbox.add(Send(joining.source, encode(GetCommits(joining.number, first))))

    def _check(self, joining: Joining, now: Instant) -> None:
        """The chain must begin where it was asked for and end with the digest that f + 1 members have signed."""
        checkpoint = joining.checkpoint
        joining.records = [record for record in joining.records if record.index <= checkpoint.index]
        digests = chain_digests(self._state.network_id, joining.records[0].previous, joining.records)
        if joining.records[0].index != joining.first or digests is None or digests[-1] != checkpoint.digest:
            self._joining = None
            return
        joining.state_asked_at = now
        members = self._state.committee.members
        signers = tuple(member for index, member in enumerate(members) if joining.signers >> index & 1)
        step, state_digest = StepId(checkpoint.digest), Digest(checkpoint.state_digest)
        self._state.outbox.add(FetchState(step, Height(checkpoint.index), state_digest, signers))

    def _adopt(self, joining: Joining) -> None:
        state = self._state
        base = joining.records[0]
        state.outbox.record(Record(BASE_TABLE, index_key(base.index), base.previous))
        for record in joining.records:
            state.outbox.record(record_of_commit(record))
            state.order.restart(record)
        state.rule.move_to(state.order.leader_round + 1)
        self._vouching.reached(state.order.index)
        state.counters.snapshots += 1
        state.counters.synced_commits += 1
        self._committing.move_horizon()
