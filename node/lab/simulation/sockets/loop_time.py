"""The time of an event loop, as peers' clocks count it."""

import asyncio

from consensus.types import Instant
from node.lab.simulation.timeline import Action


class LoopTime:
    """Implements `TrueTime`."""

    def __init__(self, loop: asyncio.AbstractEventLoop, start: Instant) -> None:
        self.start = start
        self._loop = loop

    @property
    def now(self) -> Instant:
        """Milliseconds since 1970; a timer for a whole millisecond fires within it, however its fraction is rounded."""
        return Instant(self.start + int(self._loop.time() * 1000 + 0.001))

    def after(self, delay_ms: int, action: Action) -> None:
        """Let `action` happen in `delay_ms`, at the earliest now."""
        self._loop.call_later(max(0, delay_ms) / 1000, action)
