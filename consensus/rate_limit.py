"""How much of our time one peer may use: a bucket of tokens, by the clock readings that a machine is handed."""

from enum import Enum

from consensus.types import Instant


class Spending(Enum):
    """Whether a budget covers what a peer asks of us."""

    COVERED = "covered"
    OVERDRAWN = "ignored"
    FLOODING = "refused"


class TokenBucket:
    """A bucket of tokens that refills with time, in whole thousandths of a token."""

    def __init__(self, burst: int, per_second: int, debt_max: int, now: Instant) -> None:
        """`burst`: tokens at the start, and at most; `debt_max`: tokens overdrawn at which the peer counts as flooding."""
        self._burst = burst * 1000
        self._debt_max = debt_max
        self._per_second = per_second
        self._tokens = self._burst
        self._filled_at = now

    def spend(self, now: Instant) -> Spending:
        """Take one token. What is overdrawn counts as debt, to be refilled before anything else is covered."""
        self._refill(now)
        is_covered = self._tokens >= 1000
        self._tokens -= 1000
        if is_covered:
            return Spending.COVERED
        return Spending.OVERDRAWN if self._tokens > -1000 * self._debt_max else Spending.FLOODING

    def left(self, now: Instant) -> int:
        """What could be spent now, in thousandths of a token; below zero: overdrawn."""
        self._refill(now)
        return self._tokens

    def has_tokens(self, count: int, now: Instant) -> bool:
        """Whether so many could be spent now."""
        self._refill(now)
        return self._tokens >= 1000 * count

    def take(self, count: int, now: Instant) -> bool:
        """Spend so many tokens where all of them are there; nothing is overdrawn."""
        is_covered = self.has_tokens(count, now)
        if is_covered:
            self._tokens -= 1000 * count
        return is_covered

    def give_back(self, count: int) -> None:
        """What was taken has turned out to cost nothing."""
        self._tokens = min(self._burst, self._tokens + 1000 * count)

    def _refill(self, now: Instant) -> None:
        elapsed_ms = max(0, now - self._filled_at)
        self._tokens = min(self._burst, self._tokens + elapsed_ms * self._per_second)
        self._filled_at = now
