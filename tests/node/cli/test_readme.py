"""What README.md tells people to type is understood."""

import re
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner

from node.cli import main

README = (Path(__file__).parents[3] / "README.md").read_text()


def commands() -> list[list[str]]:
    """The arguments of each call of ours, and of each testnet by `make`."""
    joined = README.replace("\\\n", " ")
    lines = [line for block in re.findall(r"```\n(.*?)```", joined, re.DOTALL) for line in block.splitlines()]
    calls = [line.partition("run_node.py ")[2] for line in lines if "run_node.py " in line]
    made = re.findall(r'make testnet ARGS="([^"]*)"', README)
    return [shlex.split(call, comments=True) for call in [*calls, *(f"testnet {arguments}" for arguments in made)]]


@pytest.mark.parametrize("arguments", commands(), ids=" ".join)
def test_a_command_of_the_readme_is_understood(arguments: list[str]) -> None:
    result = CliRunner().invoke(main, [*arguments, "--help"])  # options and arguments are looked at before help is given
    assert (result.exit_code, result.stderr) == (0, "")


def test_the_readme_shows_how_each_command_is_called() -> None:
    assert len(commands()) >= 15
