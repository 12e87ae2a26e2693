import re
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from node.cli import main
from node.cli.group import COMMANDS

ROOT = Path(__file__).parents[3]

LIST_MODULES = """
import sys
from node.cli import main
try:
    main(sys.argv[1:])
except SystemExit as ended:
    print("exit", ended.code)
print("modules", *sorted(name for name in sys.modules if "." not in name))
"""


@pytest.mark.parametrize("arguments", [["--help"], ["--version"]])
def test_help_imports_nothing_heavy(arguments: list[str]) -> None:
    command = [sys.executable, "-c", LIST_MODULES, *arguments]
    output = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    modules = set(output.splitlines()[-1].split()[1:])
    assert "exit 0" in output
    assert "click" in modules
    heavy = {"torch", "aiohttp", "numpy", "rich", "msgspec", "cryptography", "sqlite3", "asyncio", "uvloop"}
    assert modules & heavy == set()


@pytest.mark.slow
@pytest.mark.parametrize("name", [*COMMANDS])
def test_every_command_s_help_imports_no_torch(name: str) -> None:
    command = [sys.executable, "-c", LIST_MODULES, name, "--help"]
    output = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    modules = set(output.splitlines()[-1].split()[1:])
    assert "exit 0" in output
    assert modules & {"torch", "aiohttp", "uvloop"} == set()


def test_the_script_shows_every_command() -> None:
    output = subprocess.run(
        [sys.executable, "run_node.py", "--help"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    for name, line in COMMANDS.items():
        assert f"  {name:<{max(map(len, COMMANDS)) + 2}}{line}" in output


def test_each_name_is_a_command_of_that_name() -> None:
    context = click.Context(main)
    names = []
    for name in COMMANDS:
        command = main.get_command(context, name)
        assert command is not None
        names.append(command.name)
    assert names == list(COMMANDS)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["ini"], "error: No such command 'ini'.\nfix: see .venv/bin/python run_node.py --help\n"),
        (
            ["--verbos"],
            "error: No such option '--verbos'. Did you mean '--version'?\nfix: see .venv/bin/python run_node.py --help\n",
        ),
        (["keygen"], "error: Missing argument 'PATH'.\nfix: see .venv/bin/python run_node.py keygen --help\n"),
    ],
)
def test_a_mistake_in_the_arguments_has_the_form_of_all_errors(arguments: list[str], told: str) -> None:
    result = CliRunner().invoke(main, arguments)
    assert (result.exit_code, result.stdout, result.stderr) == (2, "", told)


def test_no_arguments_at_all_show_the_help() -> None:
    result = CliRunner().invoke(main, [])
    assert result.exit_code == 2
    assert "Commands:" in result.output


@pytest.mark.parametrize("name", [*COMMANDS])
def test_every_help_names_each_default_and_nothing_that_only_a_program_would_say(name: str) -> None:
    command = main.get_command(click.Context(main), name)
    assert command is not None
    context = click.Context(command, info_name=name, max_content_width=400, terminal_width=400)
    text = command.get_help(context)
    assert re.findall(r"\b(?:None|inf|nan|UNSET|Sentinel|True|False)\b|<function", text) == []
    for option in command.params:
        default = option.get_default(context)
        if (
            isinstance(option, click.Option)
            and isinstance(default, str | int | float)
            and default is not False
            and default != ""
        ):
            record = option.get_help_record(context)
            assert record is not None
            assert "default: " in record[1].lower(), f"{option.opts} has a default that its help does not tell"
