"""Virtual time: a heap of what will happen, and what each peer's own clock shows meanwhile."""

import heapq
from collections.abc import Callable
from dataclasses import dataclass

from consensus.types import Instant

Action = Callable[[], None]


class Timeline:
    """True time in ms. What is due at one instant happens in the order in which it was planned."""

    def __init__(self, start: Instant) -> None:
        self.start = start
        self.now = start
        self._instants: list[int] = []
        """A heap of those that something is due at: thousands of peers share each of them."""
        self._due: dict[int, list[Action]] = {}

    def after(self, delay_ms: int, action: Action) -> None:
        """Let `action` happen in `delay_ms`, at the earliest now."""
        at = self.now + max(0, delay_ms)
        due = self._due.get(at)
        if due is None:
            heapq.heappush(self._instants, at)
            self._due[at] = [action]
        else:
            due.append(action)

    def run_until(self, end: int) -> None:
        """Let time pass up to and including `end`."""
        while self._instants and self._instants[0] <= end:
            at = heapq.heappop(self._instants)
            self.now = Instant(at)
            for action in self._due[at]:  # it grows while it is gone through: by what is planned for this very instant
                action()
            del self._due[at]
        self.now = Instant(max(self.now, end))


@dataclass(frozen=True, slots=True)
class LocalClock:
    """A machine's clocks: one that at worst goes too fast or too slow, and a wall clock that may be put anywhere."""

    offset_ms: int = 0
    """The wall clock is ahead of the other one by this."""
    drift_ppm: int = 0
    """In so many millionths both have gone too fast since `since`."""
    since: int = 0
    drifted_ms: int = 0
    """By so much they were ahead before."""

    def now(self, true: Instant) -> Instant:
        """What durations are measured with. Whole numbers, so that it is the same on every machine."""
        return Instant(true + self.drifted_ms + (true - self.since) * self.drift_ppm // 1_000_000)

    def put(self, true: Instant, offset_ms: int, drift_ppm: int) -> "LocalClock":
        """From now on the wall clock is ahead by `offset_ms`, and both drift so. What measures durations does not jump."""
        return LocalClock(offset_ms, drift_ppm, true, self.now(true) - true)
