"""What the pages for users say: their commands, and the other blocks of text between fences."""

import re
import shlex
from pathlib import Path

ROOT = Path(__file__).parents[1]

PAGES = ("README.md", "docs/commands.md", "docs/tasks.md", "docs/modes.md", "docs/faults.md", "docs/measured.md")


def page(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def blocks(name: str, language: str = "") -> list[str]:
    """The text between fences of this language."""
    found: list[str] = []
    opened: str | None = None
    for line in page(name).splitlines():
        if line.startswith("```"):
            opened = None if opened is not None else line.removeprefix("```")
            found += [""] if opened == language else []
        elif opened == language:
            found[-1] += line + "\n"
    return found


def commands(name: str) -> list[list[str]]:
    """The arguments of each call of ours on the page, and of each testnet by `make`, in their order."""
    found = []
    for line in (line for block in blocks(name) for line in block.replace("\\\n", " ").splitlines()):
        call = line.partition("run_node.py ")[2]
        made = re.match(r'make testnet(?: ARGS="([^"]*)")?$', line)
        if call:
            found.append(shlex.split(call, comments=True))
        elif made:
            found.append(["testnet", *shlex.split(made[1] or "")])
    return found
