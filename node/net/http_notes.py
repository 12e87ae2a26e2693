"""What our HTTP servers say of requests that went wrong: little, seldom, and nothing that a client wrote."""

import logging
import traceback
from collections.abc import Callable

from aiohttp.http_exceptions import HttpProcessingError

from node.net.notes import SeldomNotes


class _Notes(logging.Handler):
    """Malformed requests are a stranger's affair. What is left is ours: named by its kind and its place in our code."""

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
