"""What README.md and docs/faults.md tell people to type happens, word for word, on real processes."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from node.lab.testnet.control import CONTROL_FILE_NAME
from tests.node.real_peers import ROOT, Watched, free_port, hearing_interrupts, run
from tests.pages import blocks, commands

pytestmark = [pytest.mark.processes, pytest.mark.timeout(200)]

SOON = ("--until-accuracy", "0.05", "--deadline", "60")
"""A goal that the first steps reach: what is tried is the command, and other tests try the learning."""


@pytest.fixture(autouse=True)
def our_code_wherever_a_command_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """The process that workers are forked from imports what is installed, where the folder that it starts in holds no code."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))


def calls_of_testnet(name: str) -> list[list[str]]:
    return [arguments for arguments in commands(name) if arguments[0] == "testnet"]


@pytest.mark.parametrize("arguments", calls_of_testnet("README.md"), ids=" ".join)
def test_a_testnet_of_the_readme_ends_in_agreement(arguments: list[str], tmp_path: Path) -> None:
    (module,) = blocks("README.md", "python")
    (tmp_path / "my_task.py").write_text(module)

    ended = run(*arguments, *SOON, cwd=tmp_path)

    assert (ended.returncode, ended.stderr) == (0, "")
    assert "goal reached in agreement" in ended.stdout


def test_what_the_readme_says_of_several_machines_happens(tmp_path: Path) -> None:
    init, start, join, status, export = (one for one in commands("README.md") if one[0] != "testnet")
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    second.mkdir()
    assert run(*init, cwd=first).returncode == 0

    port = free_port()
    peers = [started(start, first, port)]
    try:
        Watched(first / "my-peer").wait_until(lambda shown: shown["height"] >= 1)
        shutil.copy(first / "my-peer" / "network.toml", second)
        joining = [f"127.0.0.1:{port}" if argument == "FIRST-MACHINE:7600" else argument for argument in join]
        peers.append(started(joining, second, free_port()))
        Watched(second / "my-peer").wait_until(lambda shown: shown["height"] >= 2 and len(shown["peers"]) == 1)

        shown = run(*status, cwd=second)
        assert (shown.returncode, "1 connected peer" in shown.stdout) == (0, True)
        assert run(*export, cwd=second).returncode == 0
        assert (second / "model.safetensors").is_file()
    finally:
        for peer in peers:
            peer.send_signal(signal.SIGINT)
            assert peer.wait(timeout=30) == 0


def started(arguments: list[str], folder: Path, port: int) -> subprocess.Popen[bytes]:
    """A peer by this command, in this folder; at a port that nobody else takes."""
    command = [sys.executable, str(ROOT / "run_node.py"), *arguments, "--listen", f"127.0.0.1:{port}"]
    with hearing_interrupts():
        return subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def test_what_the_page_of_faults_injects_into_a_running_testnet_happens(tmp_path: Path) -> None:
    (testnet,) = (arguments for arguments in calls_of_testnet("docs/faults.md") if "--until-interrupted" in arguments)
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    call = [sys.executable, str(ROOT / "run_node.py")]
    with hearing_interrupts():
        process = subprocess.Popen([*call, *testnet], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment)
    try:
        until(lambda: any(tmp_path.glob(f"*/{CONTROL_FILE_NAME}")))
        until(lambda: states(call, environment) == ["running"] * 5)
        for injected in (arguments for arguments in commands("docs/faults.md") if arguments[0] == "inject"):
            ended = subprocess.run([*call, *injected], capture_output=True, text=True, env=environment, timeout=60, check=False)
            assert (ended.returncode, ended.stderr) == (0, ""), injected
        until(lambda: all(state.startswith("running") for state in states(call, environment)))
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(timeout=60)


def states(call: list[str], environment: dict[str, str]) -> list[str]:
    answer = subprocess.run(
        [*call, "inject", "--json"], capture_output=True, text=True, env=environment, timeout=60, check=True
    )
    return [peer["state"] for peer in json.loads(answer.stdout)["peers"]]


def until(holds: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.2)
