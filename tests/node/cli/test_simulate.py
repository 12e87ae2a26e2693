"""`simulate`: verdicts as exit codes, a hash that any process reproduces, and the command that replays a failure."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from node.cli import main
from node.simulation.session import run_file

STORMY = """
name = "stormy"
consensus = "proof-of-work"
learning = "evolution"
peers = 5
duration_s = 18

[[event]]
at_s = 3
kind = "crash"
peers = [0, 1]

[[event]]
at_s = 5
kind = "restart"
peers = [0, 1]

[[event]]
at_s = 6
kind = "cut"
senders = [2]
receivers = [3, 4]

[[event]]
at_s = 8
kind = "heal"

[expect]
calm_s = 10
"""


def simulate(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["simulate", *arguments])


@pytest.fixture
def stormy(tmp_path: Path) -> str:
    path = tmp_path / "stormy.toml"
    path.write_text(STORMY)
    return str(path)


def test_a_storm_passes_and_another_process_with_other_sets_repeats_it(stormy: str) -> None:
    result = simulate(stormy, "--seed", "3", "--json", "--repeat")
    told = json.loads(result.stdout)
    assert (result.exit_code, told["verdict"], told["reason"], told["seed"]) == (0, "Pass", "", 3)
    assert told["trace"] == told["repeated_trace"]
    assert told["connections_lost"] > 0


def test_a_trace_has_a_line_for_each_event(stormy: str, tmp_path: Path) -> None:
    trace = tmp_path / "trace.txt"
    told = json.loads(simulate(stormy, "--json", "--trace", str(trace)).stdout)
    lines = trace.read_text().splitlines()
    assert len(lines) == told["events"]
    assert lines[0].startswith("1800000000000 ")


def test_no_progress_is_exit_code_1_and_tells_how_to_see_it_again(stormy: str) -> None:
    path = Path(stormy)
    path.write_text(STORMY.replace("calm_s = 10", "calm_s = 10\nheights_min = 1000"))
    result = simulate(stormy, "--seed", "5")
    assert result.exit_code == 1
    assert result.stdout.startswith("NoProgress after 18 s of virtual time")
    assert "expected 1000 or more" in result.stdout
    assert f"replay: python run_node.py simulate {stormy} --seed 5" in result.stdout.splitlines()


def test_a_repeated_run_with_another_trace_is_exit_code_3(stormy: str) -> None:
    result = run_file(Path(stormy), 1, None, lambda passed, duration: None).compared("another")
    assert (result.exit_code, result.lines[-1]) == (3, "the repeated run has another trace: another")


def test_more_liars_than_tolerated_are_said_loudly(stormy: str) -> None:
    Path(stormy).write_text(
        STORMY.partition("[[event]]")[0] + "[expect]\ncalm_s = 10\n[[faulty]]\nfault = 'mute'\npeers = [0, 1, 2]\n"
    )
    result = simulate(stormy)
    assert result.stdout.startswith("WARNING: 3 of 5 peers are faulty")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (("crash", "crsh"), 'error: {path}: [[event]] number 1: kind is "crsh"'),
        (("peers = 5", "peers = 2"), "error: {path}: [[event]] number 3: names peer 2; allowed is 0 to 1"),
    ],
)
def test_a_wrong_scenario_is_told_with_its_file(stormy: str, change: tuple[str, str], told: str) -> None:
    Path(stormy).write_text(STORMY.replace(*change))
    result = simulate(stormy)
    assert result.exit_code == 2
    assert result.stderr.startswith(told.format(path=stormy))


def test_a_scenario_that_is_not_there_is_told(tmp_path: Path) -> None:
    result = simulate(str(tmp_path / "none.toml"))
    assert (result.exit_code, "no such file" in result.stderr) == (2, True)
