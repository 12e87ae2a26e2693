"""Virtual time: a heap of what will happen, what each peer's own clock shows, and the cores that computing keeps busy.

Without a price nothing here takes time. A learner has its own process and its own prices (`node.lab.simulation.links`).
"""

import heapq
from collections.abc import Callable
from dataclasses import dataclass

from consensus.types import Instant
from node.rules.network_rules import Consensus

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


SIGNED_BYTES = 288
"""A header of proof of work, or a small block of a total order: about so many bytes of a message for each signature in it."""

_SIGNED_WORK_TAGS = frozenset({0, 1, 4, 6})
"""Blocks, contributions, headers, blocks that were asked for (`consensus.proof_of_work.messages`)."""

_SIGNED_ORDER_TAGS = frozenset({0, 2, 4, 6})
"""Blocks in all the messages that carry them (`consensus.total_order.messages`)."""


@dataclass(frozen=True, slots=True)
class Prices:
    """Of one ordinary core, in microseconds and nanoseconds; all 0: nothing takes time."""

    message_us: int = 0
    """To take a message off a connection, and to look at any other input of the machine."""
    byte_ns: int = 0
    """To unseal, decode and hash a byte that comes, or to encode one that goes."""
    signature_us: int = 0
    """To verify one."""
    puzzle_us: int = 0
    """To verify one, in the puzzle's process, which mines in the time that is left."""

    @property
    def are_due(self) -> bool:
        """Whether the event loop's work takes any time."""
        return bool(self.message_us or self.byte_ns or self.signature_us)

    def taking_us(self, size: int) -> int:
        """Of any frame that comes."""
        return self.message_us + size * self.byte_ns // 1000

    def sending_us(self, size: int) -> int:
        """Of a message that goes."""
        return size * self.byte_ns // 1000

    def judging_us(self, message: bytes, consensus: Consensus) -> int:
        """Of the signatures in a message of the ordering protocol, at most."""
        tags = _SIGNED_WORK_TAGS if consensus is Consensus.PROOF_OF_WORK else _SIGNED_ORDER_TAGS
        is_signed = len(message) > 1 and message[1] in tags  # a short array whose first item is the tag
        return self.message_us + is_signed * max(1, len(message) // SIGNED_BYTES) * self.signature_us


NO_PRICES = Prices()


@dataclass(slots=True)
class Core:
    """Does one thing after the other. Times are true time."""

    free_at_us: int = 0
    worked_us: int = 0
    """In all."""

    def take(self, now_ms: int, cost_us: float) -> int:
        """Do something more; in how many ms it is done."""
        start_us = max(self.free_at_us, 1000 * now_ms)
        self.free_at_us = start_us + round(cost_us)
        self.worked_us += round(cost_us)
        return -(-self.free_at_us // 1000) - now_ms

    def backlog_ms(self, now_ms: int) -> int:
        """How long it is busy from now on."""
        return max(0, -(-self.free_at_us // 1000) - now_ms)
