"""When to create the next block, and when to wait for a leader.

A member enters round r + 1 with a quorum of blocks of round r and its own, so it leaves out no round: free jumping is a
liveness hole of the original protocol. Rules as in Starfish (ePrint 2025/567); the wait adapts, since Delta is not known.
"""

from dataclasses import dataclass

from consensus.total_order.rules import TotalOrderRules
from consensus.types import Instant

SILENT_ROUNDS = 3
"""A leader that is disconnected and has no block in so many rounds is not waited for: its blocks may still come over others."""

BARREN_ROUNDS = 6
"""Beyond so many rounds (and the faulty members in a row) since the last commit, Delta is taken for too short: a commit takes
three rounds, and an undecided slot waits for three more."""

SHRINK_SHARE = 32
"""Each commit takes this share off what Delta has grown: slower than it grows (by half), so that it does not swing."""


@dataclass(frozen=True, slots=True)
class Readiness:
    """What the graph says of the round that we are in."""

    has_leader: bool
    """The leader block of the round before is here, or its leader is not waited for."""
    is_leader_before_settled: bool
    """A quorum of votes, or of non-votes, for the leader of two rounds before: our block would help to decide."""
    is_late: bool
    """A quorum has blocks of this round already."""
    is_idle: bool
    """Nobody has anything to say."""


class Pacemaker:
    """Keeps the time of one member. All times in ms."""

    def __init__(self, rules: TotalOrderRules, faulty_max: int) -> None:
        self._rules = rules
        self._barren_rounds = BARREN_ROUNDS + faulty_max
        self.delta_ms = rules.delta_ms_min
        self.round = 0
        """The round that we are in: its block is the next one we create, or the last one we have created."""
        self._entered_at = Instant(0)
        self._created_at: Instant | None = None
        self._rounds_since_commit = 0

    @property
    def timeout_ms(self) -> int:
        """How long a round waits for a leader."""
        return 2 * self.delta_ms

    def enter(self, round_number: int, now: Instant) -> None:
        """A quorum of the round before is here, and our own block of it."""
        if round_number != self.round:
            self.round = round_number
            self._entered_at = now
        self._forgive_clock(now)

    def due_at(self, readiness: Readiness, now: Instant) -> Instant:
        """When to create the block of the round entered; not later than `now`: at once."""
        if readiness.is_late:
            return now
        interval_ms = self._rules.idle_interval_ms if readiness.is_idle else self._rules.round_interval_ms
        earliest = now if self._created_at is None else Instant(self._created_at + interval_ms)
        if readiness.has_leader and readiness.is_leader_before_settled:
            return earliest
        return Instant(max(earliest, self._entered_at + self.timeout_ms))

    def created(self, readiness: Readiness, now: Instant) -> None:
        """Our block of the round entered exists. If it had to wait in vain, and nothing commits, the wait was too short."""
        self._created_at = now
        self._rounds_since_commit += 1
        has_timed_out = not (readiness.is_late or (readiness.has_leader and readiness.is_leader_before_settled))
        if has_timed_out and self._rounds_since_commit > self._barren_rounds:
            self.delta_ms = min(self._rules.delta_ms_max, self.delta_ms + (self.delta_ms + 1) // 2)

    def committed(self) -> None:
        """Something was committed: the wait shrinks slowly."""
        self._rounds_since_commit = 0
        excess_ms = self.delta_ms - self._rules.delta_ms_min
        self.delta_ms -= (excess_ms + SHRINK_SHARE - 1) // SHRINK_SHARE

    def _forgive_clock(self, now: Instant) -> None:
        """A clock that was put back must not make us wait for it."""
        self._entered_at = min(self._entered_at, now)
        if self._created_at is not None:
            self._created_at = min(self._created_at, now)
