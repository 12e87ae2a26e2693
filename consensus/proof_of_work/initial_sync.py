"""Whether we have caught up with the heaviest proven chain that our peers know: before that nothing is final, nor stops us.

A start is an arrival, too: who was away may have missed much. Once arrived, only blocks that are proven and really arriving
keep us from leading.
"""

from consensus.effects import Halt
from consensus.proof_of_work.chain import Chain
from consensus.proof_of_work.head_candidates import HeadCandidates
from consensus.proof_of_work.header_sync import HeaderSync
from consensus.proof_of_work.messages import Place
from consensus.proof_of_work.peers import LONG_AGO
from consensus.types import Height, Instant, StepId

LAG_BLOCKS = 8
"""So far behind, a block of our own would only be a burden to others."""

ARRIVAL_MS_MIN = 10_000
"""So long after the start peers are still connecting and saying what they have: a mere claim keeps us from leading, and nothing
becomes final. Later a claim would let a liar stop us."""

LEADING_PATIENCE_MS = 30_000
"""So long may proven blocks far above our head keep us from leading while none of them becomes checked."""

PATIENCE_PER_CHECK_MS = 10_000
"""Before we have arrived each checked block of the branch far ahead earns so much again: learners are slow.

After that only one block interval: a branch that keeps us from leading has to come faster than it can be mined, so that who has
a lead and gives one body at a time cannot hold it.
"""

PATIENCE_RETURNS = 20
"""While we are not behind, a twentieth of the time: so much of our work can leads stop, however often they are shown."""

HEADERS_PATIENCE_MS = 600_000
"""So long in all may claims of more headers keep a newcomer from arriving: twice as long as 64 silent peers take that are asked
one after the other. Each peer has a patience, too, but a key that comes anew costs nothing."""

PATIENCE_PER_HEADER_MS = 8
"""Each proven header above all before earns so much again: one that gets 125 a second waits for the end of any chain."""

STEP_MS_MAX = 1_000
"""Between two inputs at most so much patience is lost: a process that was stopped has not waited."""


class InitialSync:
    """Decides from what is proven whether to lead, to finalise, and to halt."""

    def __init__(self, chain: Chain, candidates: HeadCandidates, header_sync: HeaderSync, block_interval_ms: int) -> None:
        self._chain = chain
        self._candidates = candidates
        self._header_sync = header_sync
        self._has_arrived = False
        self._may_arrive_at = LONG_AGO
        self._block_interval_ms = block_interval_ms
        self._patience = LEADING_PATIENCE_MS * PATIENCE_RETURNS
        """In parts of a millisecond."""
        self._headers_patience_ms = HEADERS_PATIENCE_MS
        self._highest = chain.tree.head.height
        """Of what was ever proven."""
        self._seen_at = LONG_AGO

    def start(self, now: Instant) -> None:
        """Called once: a peer that starts may be far behind."""
        self._may_arrive_at = Instant(now + ARRIVAL_MS_MIN)
        self._seen_at = now

    def on_block_checked(self, step: StepId) -> None:
        """If it belongs to what is far ahead, that is really arriving."""
        link = self._chain.tree.link(step)
        if link is None or not self._is_behind():
            return
        if self._chain.is_on_branch(Place(link.height, step), self._candidates.heaviest):
            self._earn((self._block_interval_ms if self._has_arrived else PATIENCE_PER_CHECK_MS) * PATIENCE_RETURNS)

    def look(self, now: Instant) -> None:
        """Look how far we are; called once at every input."""
        elapsed_ms = min(STEP_MS_MAX, max(0, now - self._seen_at))
        self._seen_at = now
        is_behind = self._is_behind()
        self._earn(-elapsed_ms * PATIENCE_RETURNS if is_behind else elapsed_ms)
        if not self._has_arrived:
            self._wait_for_headers(elapsed_ms, now)
            self._has_arrived = not is_behind and self._candidates.has_minimum_work and self._knows_what_peers_have(now)

    def is_catching_up(self, now: Instant) -> bool:
        """Whether leading would be of no use."""
        if not self._candidates.has_minimum_work:
            return True
        if now < self._may_arrive_at and self._header_sync.is_fetching_headers(now):
            return True
        return self._patience > 0 and self._is_behind()

    def may_finalise(self, height: Height, now: Instant) -> bool:
        """Whether the block at this height of the head's branch can be called final, if it is deep enough."""
        if not self._candidates.has_minimum_work or self._header_sync.audit.is_under_way:
            return False
        if not self._has_arrived and not self._knows_what_peers_have(now):
            return False
        heaviest = self._candidates.heaviest
        if heaviest.id == self._chain.tree.head.id:
            return True
        return self._chain.is_on_branch(Place(height, self._chain.main_id(height)), heaviest)

    def reason_to_halt(self) -> Halt | None:
        """A heavier branch from below the final block, once we have arrived and its bodies were looked at."""
        return self._header_sync.audit.verdict() if self._has_arrived else None

    def _is_behind(self) -> bool:
        return self._candidates.heaviest.height > self._chain.tree.head.height + LAG_BLOCKS

    def _knows_what_peers_have(self, now: Instant) -> bool:
        is_waiting = self._headers_patience_ms > 0 and self._header_sync.is_fetching_headers(now)
        return now >= self._may_arrive_at and not is_waiting

    def _wait_for_headers(self, elapsed_ms: int, now: Instant) -> None:
        height = self._candidates.heaviest.height
        earned_ms = max(0, height - self._highest) * PATIENCE_PER_HEADER_MS
        self._highest = max(self._highest, height)
        spent_ms = elapsed_ms if self._header_sync.is_fetching_headers(now) else 0
        self._headers_patience_ms = min(HEADERS_PATIENCE_MS, max(0, self._headers_patience_ms + earned_ms - spent_ms))

    def _earn(self, patience: int) -> None:
        self._patience = max(0, min(LEADING_PATIENCE_MS * PATIENCE_RETURNS, self._patience + patience))
