"""What people are told of strangers: seldom enough that no stranger fills a log or a disk, and how much was left out."""

from collections.abc import Callable

from node.net.rates import TokenBucket

NOTES_PER_SECOND = 0.2
"""Of 200 bytes each: 3 MB of log a day, whatever strangers do."""

NOTES_BURST = 10
"""What goes wrong once, or for one reason, is told at once."""


class SeldomNotes:
    """One kind of notes. `clock`: monotonic, in seconds."""

    def __init__(self, note: Callable[[str], None], clock: Callable[[], float], burst: int = NOTES_BURST) -> None:
        self._note = note
        self._clock = clock
        self._bucket = TokenBucket(NOTES_PER_SECOND, burst, clock())
        self._left_out = 0

    def say(self, text: str) -> None:
        """Tell it, or count it and tell the number with the next one."""
        if not self._bucket.take(1, self._clock()):
            self._left_out += 1
            return
        self._note(f"{text} (and {self._left_out} more like it)" if self._left_out else text)
        self._left_out = 0
