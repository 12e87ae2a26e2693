"""What is said to people: commands that work as they are, counts, durations, figures; None is a figure that is not known yet.

Whatever command this program prints can be typed again in the same folder.
"""

import os
import shlex
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from node.common.goal import MetricGoal

SCRIPT = "run_node.py"
INSTALLED_COMMAND = "kubrat"
"""Where the node was installed, there is no script."""

OTHERWISE = (".venv/bin/python", SCRIPT)
"""As the README has it: where somebody else's program runs our code, like a test."""


def command_text(*arguments: object) -> str:
    """What to type, in a POSIX shell, for `kubrat ARGUMENTS` in the way in which this process was called."""
    return shlex.join([*_program(sys.argv[0], sys.orig_argv), *map(str, arguments)])


def with_our_code() -> dict[str, str]:
    """The environment for a Python of our own (started with -P) that finds this very code, from whatever folder."""
    root = str(Path(__file__).resolve().parents[2])
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))}


def _program(called: str, words: Sequence[str]) -> Sequence[str]:
    """`called` is what the interpreter runs, `words` are the whole command line as the system has it."""
    name = Path(called).name
    if name == INSTALLED_COMMAND:
        found = shutil.which(INSTALLED_COMMAND)
        is_found = found is not None and Path(found).resolve() == Path(called).resolve()
        return (INSTALLED_COMMAND,) if is_found else (_from_here(called),)
    if name != SCRIPT:
        return OTHERWISE
    return (_from_here(words[0]), _from_here(called))


def _from_here(path: str) -> str:
    """Relative where it lies inside the current folder: what a person types, and what fits on a line."""
    absolute = Path(path)
    here = Path.cwd()
    return str(absolute.relative_to(here)) if absolute.is_absolute() and absolute.is_relative_to(here) else path


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
    return f"{metric_name(name)} {metric_value(name, value)}"


def metric_name(name: str) -> str:
    """For people."""
    return name.replace("_", " ")


def metric_value(name: str, value: float) -> str:
    """In percent where the name says that it is a share."""
    return percent(value) if is_share(name) else format(value, "g")


def is_share(name: str) -> bool:
    """Whether a figure of this name is one of 0 to 1."""
    return name.endswith("accuracy")


def goal_bound(goal: MetricGoal) -> str:
    """What is to be reached of the goal's metric: "90.0 % or more"."""
    return f"{metric_value(goal.metric, goal.value)} or {'less' if goal.is_lowest_best else 'more'}"
