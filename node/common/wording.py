"""Counts, durations and figures as a person reads them; None is a figure that is not known yet."""

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


UNKNOWN = "-"

ID_CHARACTERS_SHOWN = 8
"""32 bits tell the members of any network apart at a glance."""


def short(digest: str | None) -> str:
    """The beginning of an id or digest in hexadecimal."""
    return UNKNOWN if digest is None else digest[:ID_CHARACTERS_SHOWN]


def count(value: float | None) -> str:
    """A whole number with separators."""
    return UNKNOWN if value is None else f"{value:,.0f}"


def percent(share: float | None) -> str:
    """A share of one."""
    return UNKNOWN if share is None else f"{100 * share:.1f} %"


def finality(height: int | None, final_height: int | None, depth: int) -> str:
    """What is final of a chain, and what is not. `depth`: blocks on top after which a block is final; 0: every step is."""
    if depth == 0 or height is None or final_height is None:
        return f"height {count(final_height)}"
    undecided = height - final_height
    above = "the block above" if undecided == 1 else f"the {counted(undecided, 'block')} above"
    if final_height == 0:
        return f"nothing yet but the first model: a block is final once {depth:,} lie on top of it"
    return f"height {final_height:,}; {above} may still be undone"


def metric(name: str, value: float) -> str:
    """One of a task's figures for people, with its name."""
    return f"{name.replace('_', ' ')} {percent(value) if name.endswith('accuracy') else format(value, 'g')}"
