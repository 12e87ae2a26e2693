"""Figures as a person reads them in a terminal; None is a figure that is not known yet."""

from node.common.wording import counted

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
