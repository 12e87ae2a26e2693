"""How this program was called: whatever command it prints works as it is, typed again in the same folder."""

import os
import shlex
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

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
