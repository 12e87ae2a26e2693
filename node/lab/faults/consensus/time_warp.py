"""A clock that is ahead: block times lie at the edge of what others accept, or beyond it."""

from dataclasses import replace

from consensus.effects import SetTimer
from consensus.protocol import Input, OrderingProtocol
from consensus.types import Instant
from learning.learner import LearnerAnswer
from node.lab.faults.consensus.interceptor import Effects
from node.runtime.coupling import ReplicaPort
from node.runtime.learner_queue import Awaited


class TimeWarp:
    """Lives `ahead_ms` in the future, and dates all its blocks so. Implements `ReplicaPort`.

    Source: the "timejacking" and "time warp" attacks on Bitcoin (culubas, "Timejacking & Bitcoin", 2011; ArtForz, 2011).
    Powers: none; anybody may set a clock.
    """

    def __init__(self, honest: ReplicaPort, ahead_ms: int) -> None:
        self._honest = honest
        self._ahead_ms = ahead_ms

    @property
    def ordering(self) -> OrderingProtocol:
        """The honest machine."""
        return self._honest.ordering

    @property
    def awaited(self) -> Awaited | None:
        """As an honest peer."""
        return self._honest.awaited

    def start(self, now: Instant) -> Effects:
        """By its own clock."""
        return self._in_our_time(self._honest.start(self._in_its_time(now)))

    def handle(self, event: Input, now: Instant) -> Effects:
        """By its own clock."""
        return self._in_our_time(self._honest.handle(event, self._in_its_time(now)))

    def handle_answer(self, answer: LearnerAnswer, now: Instant) -> Effects:
        """By its own clock."""
        return self._in_our_time(self._honest.handle_answer(answer, self._in_its_time(now)))

    def _in_its_time(self, now: Instant) -> Instant:
        return Instant(now + self._ahead_ms)

    def _in_our_time(self, effects: Effects) -> Effects:
        """Its timers are the shell's to fire, by the true clock."""
        return tuple(
            replace(effect, at=Instant(effect.at - self._ahead_ms)) if isinstance(effect, SetTimer) else effect
            for effect in effects
        )
