"""Where a node's log goes: standard error, one line an event, with the time; bounded, whatever peers make the node say.

What a peer does may be worth a line, and peers may do it without end. So each place in the code that logs has its own budget:
a burst in full, then a line now and then that says how many like it were left out.
"""

import logging
import sys
import time
from collections import Counter
from collections.abc import Callable

from node.common.wording import agreeing, counted
from node.net.rates import TokenBucket

FORMAT = "%(asctime)s %(levelname)s %(message)s"

LINES_BURST = 200
"""From one place in the code at once: all that a person reads of one event."""

LINES_PER_SECOND = 0.1
"""From one place in the code for ever: with lines of 200 bytes less than 2 MB a day."""

LINE_CHARACTERS_MAX = 4_000
"""Of one message without its traceback; the longest of our own are a tenth of it."""


class LineBudget(logging.Filter):
    """Lets pass what each place in the code may say. `clock`: monotonic, in seconds. For one handler."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._budgets: dict[tuple[str, int], TokenBucket] = {}
        self._left_out: Counter[tuple[str, int]] = Counter()

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the line is written; it then says how many of its place were left out before it.

        A debug line always is: a person has asked for every one of them.
        """
        if record.levelno <= logging.DEBUG:
            return True
        place = (record.pathname, record.lineno)
        now = self._clock()
        budget = self._budgets.setdefault(place, TokenBucket(LINES_PER_SECOND, LINES_BURST, now))
        if not budget.take(1, now):
            self._left_out[place] += 1
            return False
        message = record.getMessage()
        if len(message) > LINE_CHARACTERS_MAX:
            message = f"{message[:LINE_CHARACTERS_MAX]} ... ({len(message)} characters)"
        left_out = self._left_out.pop(place, 0)
        told = f"{counted(left_out, 'line')} like this one {agreeing(left_out, 'was')} left out before it"
        record.msg = f"{message} ({told})" if left_out else message
        record.args = ()
        return True


def configure_logging(level: str) -> None:
    """Log at "debug", "info", "warning" or "error" and above; replaces an earlier configuration."""
    logging.basicConfig(stream=sys.stderr, level=level.upper(), format=FORMAT, force=True)
    for handler in logging.getLogger().handlers:
        handler.addFilter(LineBudget())
    logging.getLogger("asyncio").setLevel(logging.WARNING)
