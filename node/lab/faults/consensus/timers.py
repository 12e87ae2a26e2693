"""A fault's own timers: the honest replica never hears of them."""

from consensus.inputs import Input, TimerFired


def is_timer(event: Input, name: str) -> bool:
    """Whether this is the timer of that name."""
    return isinstance(event, TimerFired) and event.name == name
