"""What people are told of outsiders: seldom enough that no outsider fills a log or a disk, and how much was left out."""

import logging
import traceback
from collections.abc import Callable

from aiohttp.http_exceptions import HttpProcessingError

from node.net.rates import TokenBucket

NOTES_PER_SECOND = 0.2
"""Of 200 bytes each: 3 MB of log a day, whatever outsiders do."""

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


class _Notes(logging.Handler):
    """Malformed requests are an outsider's affair. What is left is ours: named by its kind and its place in our code."""

    def __init__(self, note: Callable[[str], None], clock: Callable[[], float]) -> None:
        super().__init__(logging.ERROR)
        self._notes = SeldomNotes(note, clock)

    def emit(self, record: logging.LogRecord) -> None:
        """Leave out message and arguments: they hold what the client sent."""
        error = record.exc_info[1] if record.exc_info else None
        if not isinstance(error, HttpProcessingError):
            self._notes.say(f"a request over HTTP failed: {_place_of(error)}")


def _place_of(error: BaseException | None) -> str:
    if error is None:
        return "no reason is known"
    frames = traceback.extract_tb(error.__traceback__)
    place = f" at {frames[-1].filename}:{frames[-1].lineno}" if frames else ""
    return f"{type(error).__name__}{place}"


def logger_of_requests(note: Callable[[str], None], clock: Callable[[], float]) -> logging.Logger:
    """For aiohttp's `logger`. It belongs to no other logger, so nothing else is told. `clock`: monotonic, in seconds."""
    logger = logging.Logger("requests", logging.ERROR)
    logger.addHandler(_Notes(note, clock))
    return logger
