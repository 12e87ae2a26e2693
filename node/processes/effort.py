"""What a learner's time goes into, by its own clock: told now and then, and never while it waits."""

from dataclasses import dataclass
from enum import Enum, auto

REPORT_SECONDS = 1.0
"""How often it is told at most."""


class Work(Enum):
    """What a stretch of time has gone into."""

    RANKING = auto()
    """Finding something of our own: mutations are ranked, gradients computed."""
    SCORING = auto()
    """Measuring what others offer, or a slate with it."""
    OTHER = auto()
    """Following steps, and all else that is asked."""


@dataclass(frozen=True, slots=True)
class LearnerEffort:
    """Seconds since the learner has started; what is left of the time it has waited."""

    busy_s: float = 0.0
    """Whatever it did, the other two included."""
    ranking_s: float = 0.0
    scoring_s: float = 0.0


class Stopwatch:
    """Adds up stretches of work. All times in seconds, by one clock that never goes back."""

    def __init__(self, now_s: float) -> None:
        self._spent = dict.fromkeys(Work, 0.0)
        self._told_s = now_s

    def add(self, work: Work, began_s: float, now_s: float) -> LearnerEffort | None:
        """One stretch that has just ended; all of them together, where it is time to tell."""
        self._spent[work] += now_s - began_s
        if now_s - self._told_s < REPORT_SECONDS:
            return None
        self._told_s = now_s
        return LearnerEffort(sum(self._spent.values()), self._spent[Work.RANKING], self._spent[Work.SCORING])
