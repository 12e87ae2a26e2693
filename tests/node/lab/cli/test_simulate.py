"""`simulate`: outcomes as exit codes, a hash that any process reproduces, and the command that replays a failure."""

import contextlib
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from node.cli import main
from node.lab.simulation.report import run_file
from tests.node.real_peers import hearing_interrupts

ROOT = Path(__file__).parents[4]

FULL_DISK = Path("/dev/full")

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


@pytest.mark.slow
def test_a_storm_passes_and_another_process_with_other_sets_repeats_it(stormy: str) -> None:
    result = simulate(stormy, "--seed", "3", "--json", "--repeat")
    told = json.loads(result.stdout)
    assert (result.exit_code, told["outcome"], told["reason"], told["seed"]) == (0, "Pass", "", 3)
    assert told["trace"] == told["repeated_trace"]
    assert told["connections_lost"] > 0


def test_a_trace_has_a_line_for_each_event(stormy: str, tmp_path: Path) -> None:
    trace = tmp_path / "trace.txt"
    told = json.loads(simulate(stormy, "--json", "--trace", str(trace)).stdout)
    lines = trace.read_text().splitlines()
    assert len(lines) == told["events"]
    assert lines[0].startswith("1800000000000 ")


def test_a_trace_overwrites_nothing_unless_told_to(stormy: str) -> None:
    before = Path(stormy).read_text()
    result = simulate(stormy, "--trace", stormy)
    told = f"error: {stormy} is there already\nfix: choose another path, or add --force to overwrite it\n"
    assert (result.exit_code, result.stderr, Path(stormy).read_text()) == (2, told, before)


@pytest.mark.slow
def test_no_progress_is_exit_code_1_and_tells_how_to_see_it_again(stormy: str) -> None:
    path = Path(stormy)
    path.write_text(STORMY.replace("calm_s = 10", "calm_s = 10\nheights_min = 1000"))
    result = simulate(stormy, "--seed", "5")
    assert result.exit_code == 1
    assert result.stdout.startswith("NoProgress after 18 s of virtual time")
    assert "expected 1000 or more" in result.stdout
    replay = f"replay: {sys.executable} {ROOT / 'run_node.py'} simulate {stormy} --seed 5"
    assert replay in result.stdout.splitlines()


def test_where_everybody_is_down_at_the_end_there_is_no_progress(stormy: str) -> None:
    down = STORMY.partition("[[event]]")[0] + "[[event]]\nat_s = 2\nkind = 'crash'\npeers = [0, 1, 2, 3, 4]\n"
    Path(stormy).write_text(down + "[expect]\ncalm_s = 10\n")
    result = simulate(stormy)
    assert (result.exit_code, result.stdout.splitlines()[1]) == (1, "  no honest peer is up at the end")


@pytest.mark.slow
def test_the_replay_command_runs_from_any_folder(stormy: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    brief = STORMY.partition("[[event]]")[0].replace("duration_s = 18", "duration_s = 1")
    Path(stormy).write_text(brief + "[expect]\ncalm_s = 1\nheights_min = 9\n")
    monkeypatch.chdir(tmp_path)
    told = simulate(Path(stormy).name).stdout.splitlines()
    command = shlex.split(told[-1].removeprefix("replay: "))
    (tmp_path / "elsewhere").mkdir()
    again = subprocess.run(command, cwd=tmp_path / "elsewhere", capture_output=True, text=True, check=False)
    assert (again.returncode, again.stdout.splitlines()[-2:]) == (1, told[-2:])


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


def test_sections_that_are_no_rules_of_a_network_are_told_with_their_file(stormy: str) -> None:
    Path(stormy).write_text(STORMY + "[proof_of_work]\nfinality_depth = 3\n")
    result = simulate(stormy)
    told = f"error: {stormy}: proof_of_work.contest_depth is 6; allowed is 1 to 2, below finality_depth"
    assert (result.exit_code, result.stderr.splitlines()) == (2, [told, "fix: put that right in the file"])


@pytest.mark.skipif(not FULL_DISK.exists(), reason="a device that is always full, as Linux has it")
def test_a_trace_that_the_disk_has_no_room_for_is_told_and_no_peer_is_to_blame(stormy: str) -> None:
    result = simulate(stormy, "--trace", str(FULL_DISK))
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("error: cannot write the trace /dev/full: the disk is full\nfix: free some space")


@pytest.mark.slow
@pytest.mark.parametrize("is_repeating", [False, True])
def test_an_interrupt_is_told_by_the_exit_code_alone(tmp_path: Path, is_repeating: bool) -> None:
    """The scenario comes through a pipe, so that a run waits for it: the first one, or the repeated one."""
    pipe = tmp_path / "pipe.toml"
    os.mkfifo(pipe)
    command = [sys.executable, ROOT / "run_node.py", "simulate", str(pipe), *(["--repeat"] if is_repeating else [])]
    with hearing_interrupts():
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)
    if is_repeating:
        pipe.write_text(STORMY.partition("[[event]]")[0].replace("duration_s = 18", "duration_s = 1") + "expect.calm_s = 1\n")
        wait_until_closed(pipe)
    with pipe.open("w"):  # once a run has opened its end
        os.killpg(process.pid, signal.SIGINT)
        told, complaints = process.communicate()
    assert (process.returncode, told, complaints) == (130, "", "")


def wait_until_closed(pipe: Path) -> None:
    """By whoever read it."""
    with contextlib.suppress(OSError):
        while True:
            os.close(os.open(pipe, os.O_WRONLY | os.O_NONBLOCK))
            time.sleep(0.01)


def test_a_scenario_that_is_not_there_is_told(tmp_path: Path) -> None:
    result = simulate(str(tmp_path / "none.toml"))
    assert (result.exit_code, "no such file" in result.stderr) == (2, True)
