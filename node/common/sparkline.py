"""How a figure has changed, in a few characters."""

from collections.abc import Sequence

SPARK_WIDTH = 24
BARS = "▁▂▃▄▅▆▇█"


def sampled(values: Sequence[float]) -> tuple[float, ...]:
    """The newest value of each of SPARK_WIDTH equal parts; all where there are fewer."""
    width = min(SPARK_WIDTH, len(values))
    return tuple(values[(place + 1) * len(values) // width - 1] for place in range(width))


def sparkline(values: Sequence[float]) -> str:
    """What is sampled of them as bars, the lowest of them the lowest bar; nothing of one value."""
    if len(values) < 2:
        return ""
    shown = sampled(values)
    lowest, span = min(shown), max(shown) - min(shown)
    return "".join(BARS[round((len(BARS) - 1) * (value - lowest) / span) if span > 0 else 0] for value in shown)
