"""The contract of an ordering machine: the one shape that the real node, the simulator and the tests run.

A machine is pure: equal inputs in equal order give equal effects.
"""

from typing import Protocol

from consensus.effects import Effect
from consensus.inputs import Input
from consensus.types import Instant


class OrderingProtocol(Protocol):
    """Turns inputs into effects. Equal inputs in equal order give equal effects."""

    def start(self, now: Instant) -> tuple[Effect, ...]:
        """Called once, before any input."""
        ...

    def handle(self, event: Input, now: Instant) -> tuple[Effect, ...]:
        """What should be done about `event`."""
        ...
