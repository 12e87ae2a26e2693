"""How much one peer may send: token buckets."""

from dataclasses import dataclass

from node.common.bounded import BoundedMap
from node.net.wire import FloodError, UnsealedError


class TokenBucket:
    """`per_second` tokens flow in, at most `burst` are kept. Times are in seconds, of any clock that does not go back."""

    def __init__(self, per_second: float, burst: float, now: float) -> None:
        self._per_second = per_second
        self._burst = burst
        self._tokens = burst
        self._filled_at = now

    def remaining(self, now: float) -> float:
        """What could be taken now."""
        self._tokens = min(self._burst, self._tokens + (now - self._filled_at) * self._per_second)
        self._filled_at = now
        return self._tokens

    def take(self, tokens: float, now: float) -> bool:
        """Take the tokens if they are there."""
        if tokens > self.remaining(now):
            return False
        self._tokens -= tokens
        return True

    def spend(self, tokens: float, now: float) -> bool:
        """Take the tokens even if they are not there; whether they were. At most a whole burst is overdrawn."""
        is_covered = self.take(tokens, now)
        if not is_covered:
            self._tokens = max(self._tokens - tokens, -self._burst)
        return is_covered

    def charge(self, tokens: float) -> None:
        """Take the tokens, whatever is there: what is lacking is a debt of any size."""
        self._tokens -= tokens


class TokenBuckets:
    """A bucket for each name, of the last so many names."""

    def __init__(self, per_second: float, burst: float, count_max: int) -> None:
        self._per_second = per_second
        self._burst = burst
        self._buckets: BoundedMap[str, TokenBucket] = BoundedMap(count_max)

    def take(self, name: str, now: float) -> bool:
        """Take a token of this name if it is there."""
        bucket = self._buckets.get(name) or TokenBucket(self._per_second, self._burst, now)
        self._buckets.renew(name, bucket)
        return bucket.take(1, now)


@dataclass(frozen=True, slots=True)
class RateLimits:
    """What one connection may send us."""

    frames_per_second: float = 1_000
    """A block every half second needs about ten frames a second; the rest is room for catching up."""

    frames_burst: float = 5_000
    """What may have piled up while our event loop or our processor was busy for five seconds."""

    bytes_per_second: float = 8_388_608
    """Puzzles are verified at under 100 blocks a second: even 32 kB blocks cannot be used faster than 3 MiB/s."""

    bytes_burst: float = 33_554_432
    """32 of the largest messages at once."""

    controls_per_second: float = 4.0
    """Pings and pongs: an honest peer sends eight a minute. No account is charged for them."""

    controls_burst: float = 64.0
    """Many minutes' worth that come at once; 1 ms of our time."""


class Meter:
    """Holds one connection to its rate."""

    def __init__(self, limits: RateLimits, now: float) -> None:
        self._limits = limits
        self._frames = TokenBucket(limits.frames_per_second, limits.frames_burst, now)
        self._bytes = TokenBucket(limits.bytes_per_second, limits.bytes_burst, now)
        self._controls = TokenBucket(limits.controls_per_second, limits.controls_burst, now)

    def charge(self, size: int, now: float) -> None:
        """Count one frame of `size` bytes; raises FloodError above the rate."""
        if not self._frames.take(1, now):
            raise FloodError(f"more than {self._limits.frames_per_second:g} frames a second")
        if not self._bytes.take(size, now):
            raise FloodError(f"more than {self._limits.bytes_per_second:g} bytes a second")

    def charge_control(self, now: float) -> None:
        """Count one ping or pong; raises UnsealedError above the rate."""
        if not self._controls.take(1, now):
            raise UnsealedError(f"more than {self._limits.controls_per_second:g} pings or pongs a second")
