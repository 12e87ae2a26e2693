"""Where a node's log goes: standard error, one line an event, with the time."""

import logging
import sys

FORMAT = "%(asctime)s %(levelname)s %(message)s"


def configure_logging(level: str) -> None:
    """Log at "debug", "info", "warning" or "error" and above; replaces an earlier configuration."""
    logging.basicConfig(stream=sys.stderr, level=level.upper(), format=FORMAT, force=True)
    logging.getLogger("asyncio").setLevel(logging.WARNING)
