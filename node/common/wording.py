"""Counts and durations as a person says them."""

IRREGULAR = {"is": "are", "has": "have", "it": "they", "was": "were"}
"""Words that a count changes beside nouns, which take an s."""

SECONDS_SHOWN_MAX = 120.0
MINUTES_SHOWN_MAX = 120.0
HOURS_SHOWN_MAX = 48.0
"""Up to so many of a unit the next larger one is not spoken of."""


def counted(number: int, noun: str) -> str:
    """How many of what: "1 peer", "0 peers", "1,234 blocks"."""
    return f"{number:,} {agreeing(number, noun)}"


def agreeing(number: int, word: str) -> str:
    """The word as it stands beside this number: "peer" or "peers", "is" or "are"."""
    return word if number == 1 else IRREGULAR.get(word, f"{word}s")


def duration(seconds: float) -> str:
    """How long: "19 s", "3 min", "5 h", "3 days"."""
    if seconds < SECONDS_SHOWN_MAX:
        return f"{seconds:.0f} s"
    if seconds < 60 * MINUTES_SHOWN_MAX:
        return f"{seconds // 60:.0f} min"
    if seconds < 3_600 * HOURS_SHOWN_MAX:
        return f"{seconds // 3_600:.0f} h"
    return f"{seconds // 86_400:,.0f} days"
