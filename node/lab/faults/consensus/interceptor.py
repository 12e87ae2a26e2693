"""The shape that most faults of a replica share: an honest replica, and what becomes of all that it hears and says."""

from typing import Protocol

from consensus.protocol import Input, OrderingProtocol, TimerFired
from consensus.types import Instant
from learning.learner import LearnerAnswer
from node.runtime.coupling import OuterEffect, ReplicaPort
from node.runtime.learner_queue import Awaited

Effects = tuple[OuterEffect, ...]


class ReplicaInterceptor(Protocol):
    """A fault. Its own timers are called "fault/..."; each input is heard first, and what follows is said, even nothing."""

    def hear(self, event: Input, now: Instant) -> tuple[Input, ...]:
        """What the honest replica hears in place of this input: nothing, later ones too, or itself."""
        ...

    def say(self, effects: Effects, now: Instant) -> Effects:
        """What is done in place of what the honest replica wants done."""
        ...


class InterceptedReplica:
    """Implements `node.runtime.coupling.ReplicaPort`."""

    def __init__(self, honest: ReplicaPort, interceptor: ReplicaInterceptor) -> None:
        self._honest = honest
        self._interceptor = interceptor

    @property
    def ordering(self) -> OrderingProtocol:
        """The honest machine."""
        return self._honest.ordering

    @property
    def awaited(self) -> Awaited | None:
        """As an honest peer."""
        return self._honest.awaited

    def start(self, now: Instant) -> Effects:
        """As bent."""
        return self._interceptor.say(self._honest.start(now), now)

    def handle(self, event: Input, now: Instant) -> Effects:
        """As bent."""
        effects: Effects = ()
        for heard in self._interceptor.hear(event, now):
            effects += self._honest.handle(heard, now)
        return self._interceptor.say(effects, now)

    def handle_answer(self, answer: LearnerAnswer, now: Instant) -> Effects:
        """As bent."""
        return self._interceptor.say(self._honest.handle_answer(answer, now), now)


def is_timer(event: Input, name: str) -> bool:
    """Whether this is the timer of that name."""
    return isinstance(event, TimerFired) and event.name == name
