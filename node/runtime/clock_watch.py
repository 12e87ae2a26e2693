"""The clocks of this machine; what a replica is told of the wall clock, and what people hear of its jumps.

Looking costs two system calls that need no kernel, so the shell looks at every input: block times are right from the first
input after a jump on, and no timer of its own is needed.
"""

import time
from dataclasses import dataclass
from typing import Protocol

from consensus.protocol import ClockRead
from consensus.types import Instant

NEWS_MS = 5
"""A change of the offset that is worth telling: a clock that is slewed (at most 500 parts in a million) gets there in 10 s."""

JUMP_MS = 500
"""A change between two looks that people should hear of. Slewing does not come near it: timers look four times a second."""


class SystemClock:
    """The clocks of this machine. The zero is where the wall clock had it at the start, so that records stay readable."""

    def __init__(self) -> None:
        self._zero_ns = time.time_ns() - time.monotonic_ns()

    def now(self) -> Instant:
        """Milliseconds; whatever befalls the wall clock later, it goes on evenly."""
        return Instant((time.monotonic_ns() + self._zero_ns) // 1_000_000)

    def wall_offset_ms(self) -> int:
        """The wall clock reads `now + wall_offset_ms`."""
        return (time.time_ns() - time.monotonic_ns() - self._zero_ns) // 1_000_000


class WallOffset(Protocol):
    """How far the wall clock is from the clock that durations are measured with."""

    def wall_offset_ms(self) -> int:
        """The wall clock reads `now + wall_offset_ms`."""
        ...


@dataclass(frozen=True, slots=True)
class Jump:
    """The wall clock was put elsewhere, or the machine slept: forth where `by_ms` is positive."""

    by_ms: int
    number: int
    """Since the start; the first is 1."""

    def __str__(self) -> str:
        """As a note for people."""
        return f"the wall clock jumped by {self.by_ms / 1000:+,.1f} s (or this machine slept); deadlines are not moved by that"


class ClockWatch:
    """Looks at one wall clock for one replica."""

    def __init__(self, clock: WallOffset) -> None:
        self._clock = clock
        self._reported_ms = 0
        """As a machine takes it to be before it is told."""
        self._has_looked = False
        self.jump: Jump | None = None
        """The last one."""

    def news(self) -> ClockRead | None:
        """What the replica must hear before its start or its next input, if anything."""
        is_first, self._has_looked = not self._has_looked, True
        offset_ms = self._clock.wall_offset_ms()
        by_ms = offset_ms - self._reported_ms
        if abs(by_ms) < NEWS_MS:
            return None
        if abs(by_ms) >= JUMP_MS and not is_first:
            self.jump = Jump(by_ms, 1 if self.jump is None else self.jump.number + 1)
        self._reported_ms = offset_ms
        return ClockRead(offset_ms)
