"""For whose turns we still wait: a member that has kept us waiting for more than its share of the time has to make up for it.

A wait is charged to the leader that it is for, whatever became of it: one that stays mute, one that shows its block to a few
alone, and one that is always a little too late cost the same. What is charged is paid off by the time that passes.
"""

from consensus.types import Instant

SHARE = 4
"""All members' turns together may cost a fourth of our time: f of n members that are waited for without end cost a twelfth."""


class Patience:
    """Counts in 1 / (SHARE * n) ms, so that a millisecond that passes pays off one."""

    def __init__(self, size: int) -> None:
        self._units_per_ms = SHARE * size
        self._debts = [0] * size
        self._now = Instant(0)

    def charge(self, member: int, waited_ms: int) -> None:
        """We have waited so long for a turn of this member."""
        self._debts[member] += max(0, waited_ms) * self._units_per_ms

    def pay_off(self, now: Instant) -> None:
        """Time has passed. A clock that was put back pays nothing."""
        elapsed_ms = max(0, now - self._now)
        self._now = now
        self._debts = [max(0, debt - elapsed_ms) for debt in self._debts]

    def has_for(self, member: int, wait_ms: int) -> bool:
        """Whether we may wait for so long: it owes us less."""
        return self._debts[member] < wait_ms * self._units_per_ms
