"""What may be asked of a comparison."""

from collections.abc import Sequence

from node.lab.studies.plots import check_plots


class ReproduceError(ValueError):
    """What was asked for is out of range; the message names the field, the value found and what is allowed."""


def check_request(parts: Sequence[str], allowed: Sequence[str], seeds: int, processes: int) -> None:
    """Raises ReproduceError, and NodeError where nothing could be drawn: before hours of runs, not after them."""
    unknown = [part for part in parts if part not in allowed]
    if unknown or not parts:
        raise ReproduceError(f"parts are {', '.join(unknown) or 'none'}, allowed {', '.join(allowed)}")
    if seeds < 1 or processes < 1:
        raise ReproduceError(f"seeds is {seeds} and processes {processes}, allowed 1 or more of each")
    check_plots()
