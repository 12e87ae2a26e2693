"""What README.md and the pages beside it tell people to type is understood; what takes no network runs here as it stands.

What starts peers runs in tests/node/test_pages_as_processes.py.
"""

import importlib.util
import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from node.cli import main
from node.cli.group import COMMANDS
from node.lab.faults.catalogue import FAULTS
from tests.pages import PAGES, ROOT, commands, page

ALL_COMMANDS = [pytest.param(arguments, id=f"{name}: {' '.join(arguments)}") for name in PAGES for arguments in commands(name)]

README_LINES_MAX = 150


@pytest.mark.parametrize("arguments", ALL_COMMANDS)
def test_a_command_of_a_page_is_understood(arguments: list[str]) -> None:
    result = CliRunner().invoke(main, [*arguments, "--help"])  # options and arguments are looked at before help is given
    assert (result.exit_code, result.stderr) == (0, "")


def test_the_pages_show_how_each_command_is_called() -> None:
    assert {arguments[0] for name in PAGES for arguments in commands(name)} == set(COMMANDS)
    assert len(commands("README.md")) >= 8


@pytest.mark.parametrize("name", ["README.md", "docs/commands.md"])
def test_what_makes_folders_and_keys_runs_as_it_stands(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    runner = CliRunner()
    keys = iter([runner.invoke(main, ["keygen", f"{number}.pem"]).stdout.split()[0] for number in range(4)])
    made = [arguments for arguments in commands(name) if arguments[0] in {"init", "keygen"}]
    for number, arguments in enumerate(made):
        Path(str(number)).mkdir()
        monkeypatch.chdir(tmp_path / str(number))  # each as if it were the first: nothing is ever overwritten
        result = runner.invoke(main, [next(keys) if argument == "KEY" else argument for argument in arguments])
        assert (result.exit_code, result.stderr) == (0, ""), arguments
        monkeypatch.chdir(tmp_path)
    assert made


@pytest.mark.slow
def test_the_scenario_that_a_page_simulates_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    arguments = next(arguments for arguments in commands("docs/faults.md") if arguments[0] == "simulate")
    result = CliRunner().invoke(main, arguments)
    assert (result.exit_code, result.stdout.split()[0]) == (0, "Pass")


def test_a_module_that_a_page_runs_is_there() -> None:
    modules = {name for text in map(page, PAGES) for name in re.findall(r"-m (node\.[\w.]+)", text)}
    assert modules == {"node.lab.store_audit", "node.lab.simulation.swarm"}
    for name in modules:
        assert importlib.util.find_spec(f"{name}.__main__")


def test_the_readme_is_short_and_counts_the_faults_as_they_are() -> None:
    assert len(page("README.md").splitlines()) <= README_LINES_MAX
    for name in ("README.md", "docs/faults.md"):
        assert f" {len(FAULTS)}" in page(name)
