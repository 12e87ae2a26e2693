"""Whether we have caught up with the heaviest proven chain that our peers know: before that nothing is final, nor stops us.

A start is an arrival, too: who was away may have missed much. Once arrived, only blocks that are proven and really arriving
keep us from leading.
"""

from consensus.proof_of_work.chain import Chain
from consensus.proof_of_work.messages import Place
from consensus.proof_of_work.outlook import Outlook
from consensus.proof_of_work.peers import LONG_AGO
from consensus.proof_of_work.sync import Synchroniser
from consensus.protocol import Halt
from consensus.types import Height, Instant

LAG_BLOCKS = 8
"""So far behind, a block of our own would only be a burden to others."""

ARRIVAL_MS_MIN = 10_000
"""So long after the start peers are still connecting and saying what they have: a mere claim keeps us from leading, and nothing
becomes final. Later a claim would let a liar stop us."""

LEADING_PATIENCE_MS = 30_000
"""So long may proven blocks far above our head keep us from leading while none of them becomes checked."""

PATIENCE_PER_CHECK_MS = 10_000
"""Each checked block earns so much again: who gives one body at a time stops nobody for long."""

STEP_MS_MAX = 1_000
"""Between two inputs at most so much patience is lost: a process that was stopped has not waited."""


class Arrival:
    """Decides from what is proven whether to lead, to finalise, and to halt."""

    def __init__(self, chain: Chain, outlook: Outlook, sync: Synchroniser) -> None:
        self._chain = chain
        self._outlook = outlook
        self._sync = sync
        self._has_arrived = False
        self._may_arrive_at = LONG_AGO
        self._patience_ms = LEADING_PATIENCE_MS
        self._seen_at = LONG_AGO

    def start(self, now: Instant) -> None:
        """Called once: a peer that starts may be far behind."""
        self._may_arrive_at = Instant(now + ARRIVAL_MS_MIN)
        self._seen_at = now

    def block_checked(self) -> None:
        """What is far ahead is really arriving."""
        self._patience_ms = min(LEADING_PATIENCE_MS, self._patience_ms + PATIENCE_PER_CHECK_MS)

    def look(self, now: Instant) -> None:
        """Called once at every input."""
        elapsed_ms = min(STEP_MS_MAX, max(0, now - self._seen_at))
        self._seen_at = now
        is_behind = self._is_behind()
        self._patience_ms = max(0, self._patience_ms - elapsed_ms) if is_behind else LEADING_PATIENCE_MS
        if not self._has_arrived and not is_behind:
            self._has_arrived = self._outlook.has_minimum_work and self._knows_what_peers_have(now)

    def is_catching_up(self, now: Instant) -> bool:
        """Whether leading would be of no use."""
        if not self._outlook.has_minimum_work:
            return True
        if now < self._may_arrive_at and self._sync.is_fetching_headers(now):
            return True
        return self._patience_ms > 0 and self._is_behind()

    def may_finalise(self, height: Height, now: Instant) -> bool:
        """Whether the block at this height of the head's branch can be called final, if it is deep enough."""
        if not self._outlook.has_minimum_work or self._sync.audit.is_under_way:
            return False
        if not self._has_arrived and not self._knows_what_peers_have(now):
            return False
        heaviest = self._outlook.heaviest
        if heaviest.id == self._chain.tree.head.id:
            return True
        return self._chain.is_on_branch(Place(height, self._chain.main_id(height)), heaviest)

    def reason_to_halt(self) -> Halt | None:
        """A heavier branch from below the final block, once we have arrived and its bodies were looked at."""
        return self._sync.audit.verdict() if self._has_arrived else None

    def _is_behind(self) -> bool:
        return self._outlook.heaviest.height > self._chain.tree.head.height + LAG_BLOCKS

    def _knows_what_peers_have(self, now: Instant) -> bool:
        return now >= self._may_arrive_at and not self._sync.is_fetching_headers(now)
