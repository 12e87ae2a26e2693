"""The shape that most faults of a replica share: an honest replica, and what becomes of all that it hears and says."""

from collections.abc import Callable
from typing import Protocol

from consensus.inputs import Input
from consensus.protocol import OrderingProtocol
from consensus.types import Instant, PeerId
from learning.learner import LearnerAnswer
from node.runtime.learner_line import Awaited
from node.runtime.replica import OuterEffect, ReplicaPort, Serving

Effects = tuple[OuterEffect, ...]


class Bend(Protocol):
    """A fault. Its own timers are called "fault/..."; each input is heard first, and what follows is said, even nothing."""

    def hear(self, event: Input, now: Instant) -> tuple[Input, ...]:
        """What the honest replica hears in place of this input: nothing, later ones too, or itself."""
        ...

    def say(self, effects: Effects, now: Instant) -> Effects:
        """What is done in place of what the honest replica wants done."""
        ...


class BentReplica:
    """Implements `node.runtime.replica.ReplicaPort`."""

    def __init__(self, honest: ReplicaPort, bend: Bend, serving: Callable[[PeerId], Serving] | None = None) -> None:
        """`serving`: how who asks for large bytes is answered, where that is part of the fault."""
        self._honest = honest
        self._bend = bend
        self._serving = serving

    @property
    def ordering(self) -> OrderingProtocol:
        """The honest machine."""
        return self._honest.ordering

    @property
    def awaited(self) -> Awaited | None:
        """As an honest peer."""
        return self._honest.awaited

    def serving(self, peer: PeerId) -> Serving:
        """As bent, where the fault has a say in it."""
        return self._honest.serving(peer) if self._serving is None else self._serving(peer)

    def start(self, now: Instant) -> Effects:
        """As bent."""
        return self._bend.say(self._honest.start(now), now)

    def handle(self, event: Input, now: Instant) -> Effects:
        """As bent."""
        effects: Effects = ()
        for heard in self._bend.hear(event, now):
            effects += self._honest.handle(heard, now)
        return self._bend.say(effects, now)

    def answered(self, answer: LearnerAnswer, now: Instant) -> Effects:
        """As bent."""
        return self._bend.say(self._honest.answered(answer, now), now)
