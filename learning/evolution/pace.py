"""How long a member ranks: as long as a share of what the rest of a generation takes, by a clock that it is handed.

Ranking is in every generation's way, and what more of it gains falls: of four times as many mutations a direction is better,
not four times as good. So who waits for others for long ranks on, and where evaluations are costly the number of members does
it. Nothing that is agreed on depends on the clock.
"""

from collections import deque
from collections.abc import Callable

Clock = Callable[[], float]
"""Seconds, from any start."""

RESTS_KEPT = 8
"""Of the last generations."""

REST_ASSUMED = 0.2
"""Before a whole generation was seen: members of a local network need half as long. Two weak first lists cost a network that
can rank 8 λ a tenth of its time; where evaluations are costly this is time for none beyond λ."""

RANKING_SHARE = 0.25
"""Of the rest of a generation. Four times as many mutations save about a fourth of the generations on digits, so that a fourth
to a third of the rest is best spent; half of it was slower with one member and with four."""


def stands_still() -> float:
    """The clock of who ranks a fixed number, or has nothing to wait for."""
    return 0.0


class Pace:
    """Of one member: what its generations take besides ranking."""

    def __init__(self, clock: Clock) -> None:
        self.now = clock
        self._began: float | None = None
        """The present generation; None: the first one, which begins when the network does."""
        self._ranked = 0.0
        """In the present generation, for the lists that were submitted in it."""
        self._rests: deque[float] = deque(maxlen=RESTS_KEPT)

    def generation_ends(self) -> None:
        """And the next one begins."""
        now = self.now()
        if self._began is not None:
            self._rests.append(max(0.0, now - self._began - self._ranked))
        self._began, self._ranked = now, 0.0

    def list_ends(self, ranked: float) -> None:
        """A list was submitted, for which we have ranked so long."""
        self._ranked += ranked

    def has_time(self, ranked: float) -> bool:
        """Whether who has ranked so long goes on. The lower median: one generation that was long in coming changes nothing."""
        rests = sorted(self._rests) or [REST_ASSUMED]
        return ranked < RANKING_SHARE * rests[(len(rests) - 1) // 2]
