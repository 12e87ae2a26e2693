"""Peers as a user starts them: by hand, in folders of their own, killed and started again."""

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open

from node.common.errors import EXIT_INTERRUPTED
from node.rules.network_file import read_network_file
from node.rules.network_rules import network_id
from node.storage.remembered_addresses import REMEMBER_SECONDS
from tests.node.real_peers import ROOT, RunningPeer, Watched, free_port, hearing_interrupts, processes_of_session, run

pytestmark = [pytest.mark.processes, pytest.mark.timeout(280)]


def made_network(folder: Path) -> Path:
    """The first peer's folder, with the rules of a new digits network whose puzzles take little memory and time."""
    made = run("init", str(folder), "--block-interval-ms", "250", "--finality-depth", "16")
    assert made.returncode == 0, made.stderr
    path = folder / "network.toml"
    rules = re.sub(r"puzzle_memory_kib = \d+", "puzzle_memory_kib = 1024", path.read_text())
    path.write_text(re.sub(r"start_attempts = \d+", "start_attempts = 64", rules))
    return folder


@pytest.fixture
def network_folder(tmp_path: Path) -> Path:
    return made_network(tmp_path / "one")


@pytest.fixture(scope="module")
def nobody() -> str:
    """An address where nobody listens."""
    return f"127.0.0.1:{free_port()}"


@pytest.fixture(scope="module")
def lone_peer(tmp_path_factory: pytest.TempPathFactory, nobody: str) -> Iterator[RunningPeer]:
    """A peer that runs while others come and go; the last test that uses it stops it."""
    peer = RunningPeer.start(made_network(tmp_path_factory.mktemp("lone") / "peer"), "--peer", nobody)
    with stopped_in_the_end(peer):
        peer.wait_until(lambda status: status["height"] >= 3)
        yield peer


@contextlib.contextmanager
def stopped_in_the_end(*peers: RunningPeer) -> Iterator[None]:
    try:
        yield
    finally:
        for peer in peers:
            if peer.process.poll() is None:
                peer.kill()


def join(tmp_path: Path, name: str, network: Path, *others: RunningPeer) -> RunningPeer:
    """A further peer with a new folder."""
    dial = [argument for other in others for argument in ("--peer", f"127.0.0.1:{other.port}")]
    return RunningPeer.start(tmp_path / name, "--network", str(network / "network.toml"), *dial)


BURIED = 6
"""So many blocks below the head nothing is undone among four peers that have met."""


def digest_at(status: dict, height: int) -> str | None:
    steps = (*status["steps"], *status["final_steps"])
    return next((step["state_digest"] for step in steps if step["height"] == height), None)


def assert_agree(*peers: Watched) -> None:
    """All hold the same state at the highest final height that they share, or below their heads if that is higher."""
    statuses = [peer.status() for peer in peers]
    height = max(min(status["final_height"] for status in statuses), min(status["height"] for status in statuses) - BURIED)
    digests = {digest_at(status, height) for status in statuses}
    assert len(digests) == 1, f"at height {height}: {digests}"
    assert None not in digests


def assert_no_process_is_left(peer: RunningPeer) -> None:
    """The workers see their pipe close within a few milliseconds, and the server that they were forked from ends last."""
    deadline = time.monotonic() + 10
    while (left := processes_of_session(peer.process.pid)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert left == []


def test_two_peers_find_each_other_and_a_late_third_catches_up_and_leads(tmp_path: Path, network_folder: Path) -> None:
    one = RunningPeer.start(network_folder)
    one.wait_until(lambda status: status["height"] >= 1)
    two = join(tmp_path, "two", network_folder, one)
    with stopped_in_the_end(one, two):
        two.wait_until(lambda status: len(status["peers"]) == 1 and status["height"] >= 10)
        three = join(tmp_path, "three", network_folder, two)
        with stopped_in_the_end(three):
            status = three.wait_until(lambda status: status["blocks_led"] >= 1 and len(status["peers"]) == 2)
            assert status["height"] > 10
            three.wait_until(lambda status: status["final_height"] >= 10)
            assert_agree(one, two, three)
            assert [peer.stop() for peer in (one, two, three)] == [0, 0, 0]


def test_a_killed_peer_leaves_no_process_and_goes_on_from_its_head(tmp_path: Path, network_folder: Path) -> None:
    one = RunningPeer.start(network_folder)
    one.wait_until(lambda status: status["height"] >= 1)
    two = join(tmp_path, "two", network_folder, one)
    with stopped_in_the_end(one, two):
        before = two.wait_until(lambda status: status["height"] >= 25 and status["final_height"] >= 5)
        time.sleep(REMEMBER_SECONDS)
        two.kill()
        assert_no_process_is_left(two)
        again = RunningPeer.start(two.folder)  # it remembers where the others are
        with stopped_in_the_end(again):
            first = again.wait_until(lambda status: status["height"] >= before["height"])
            assert digest_at(first, before["final_height"]) in (digest_at(before, before["final_height"]), None)
            # of steps before the one that it started from it tells no digest
            again.wait_until(lambda status: status["final_height"] >= first["height"] + 5 and status["peers"])
            assert_agree(one, again)


def test_an_honest_peer_loads_nothing_that_tries_it(network_folder: Path) -> None:
    one = RunningPeer.start(network_folder, environment={"PYTHONPROFILEIMPORTTIME": "1"})  # in all its processes
    with stopped_in_the_end(one):
        one.wait_until(lambda status: status["height"] >= 1)
        assert one.stop() == 0
    for module in ("node.runtime.driver", "node.processes.puzzle", "learning.evolution.search"):
        assert f"{module}\n" in one.log
    assert "node.lab" not in one.log


def test_an_observer_follows_and_never_leads(tmp_path: Path, lone_peer: RunningPeer) -> None:
    rules = ("--network", str(lone_peer.folder / "network.toml"))
    watcher = RunningPeer.start(tmp_path / "watcher", *rules, "--peer", f"127.0.0.1:{lone_peer.port}", "--observe")
    with stopped_in_the_end(watcher):
        status = watcher.wait_until(lambda status: status["height"] >= 12)
        assert (status["is_observer"], status["blocks_led"], status["candidates_per_second"]) == (True, 0, 0.0)


def test_a_peer_of_another_network_is_told_which_fields_differ(tmp_path: Path, lone_peer: RunningPeer) -> None:
    assert run("init", str(tmp_path / "other"), "--block-interval-ms", "1000").returncode == 0
    other = RunningPeer.start(tmp_path / "other", "--peer", f"127.0.0.1:{lone_peer.port}")
    with stopped_in_the_end(other):
        status = other.wait_until(lambda status: any("block_interval_ms" in note for note in status["notes"]))
        note = next(note for note in status["notes"] if "block_interval_ms" in note)
        assert "block_interval_ms is 1000 here, 250 there" in note


def test_an_unreachable_peer_is_tried_again_and_said(lone_peer: RunningPeer, nobody: str) -> None:
    lone_peer.wait_until(lambda status: any(nobody in note for note in status["notes"]))


def test_a_data_folder_that_is_in_use_is_refused(lone_peer: RunningPeer) -> None:
    ended = run("start", "--data-dir", str(lone_peer.folder), "--listen", "127.0.0.1:0")
    assert ended.returncode == 2
    assert f"pid {lone_peer.process.pid}" in ended.stderr


def test_the_model_is_exported_with_its_origin_while_running_and_after(tmp_path: Path, lone_peer: RunningPeer) -> None:
    folder = str(lone_peer.folder)
    lone_peer.wait_until(lambda status: status["height"] >= 40 and status["final_height"] > 0)  # not in its first seconds
    live = run("export", str(tmp_path / "live.safetensors"), "--data-dir", folder)
    assert live.returncode == 0, live.stderr
    final = run("export", str(tmp_path / "final.safetensors"), "--data-dir", folder, "--final", "--json")
    assert final.returncode == 0, final.stderr
    assert json.loads(final.stdout)["is_final"]
    head = lone_peer.status()
    assert lone_peer.stop() == 0
    stopped = run("export", str(tmp_path / "stopped.safetensors"), "--data-dir", folder, "--json")
    assert stopped.returncode == 0, stopped.stderr
    document = json.loads(stopped.stdout)
    assert document["height"] >= head["height"]
    assert document["final_height"] == document["height"] - 16
    assert not document["is_final"]
    kept = run("export", str(tmp_path / "kept.safetensors"), "--data-dir", folder, "--final")
    assert kept.returncode == 0, kept.stderr
    for name in ("live", "final", "stopped", "kept"):
        with safe_open(tmp_path / f"{name}.safetensors", framework="np") as model:
            assert model.metadata()["network_id"] == network_id(read_network_file(lone_peer.folder / "network.toml")).hex()
            assert model.metadata()["task"] == "digits"
            assert sum(np.asarray(model.get_tensor(key)).size for key in model.keys()) == 4_810  # noqa: SIM118 - safetensors


def test_ctrl_c_stops_in_good_order(network_folder: Path) -> None:
    one = RunningPeer.start(network_folder)
    with stopped_in_the_end(one):
        one.wait_until(lambda status: status["height"] >= 1)
        one.process.send_signal(signal.SIGINT)
        assert one.process.wait(timeout=20) == 0
        assert "Traceback" not in one.log
        assert not (network_folder / "api.json").exists()
        assert_no_process_is_left(one)


def test_a_port_in_use_is_named_with_the_way_out(network_folder: Path) -> None:
    port = free_port()
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", port))
        holder.listen()
        ended = run("start", "--data-dir", str(network_folder), "--listen", f"127.0.0.1:{port}")
    assert ended.returncode == 2
    assert f"127.0.0.1:{port}" in ended.stderr
    assert "fix:" in ended.stderr
    assert "Traceback" not in ended.stderr


BAD_TASKS = {
    "raises": "def score(parameters): raise RuntimeError('no data here')",
    "is_nan": "def score(parameters): return float('nan')",
    "is_text": "def score(parameters): return 'good'",
}


@pytest.mark.parametrize("kind", sorted(BAD_TASKS))
def test_a_broken_task_of_the_users_is_told_without_a_traceback(tmp_path: Path, kind: str) -> None:
    source = (
        "from learning.task import ParameterBlock\nfrom learning.tasks.black_box import ScoreTask\n"
        f"{BAD_TASKS[kind]}\n"
        "task = ScoreTask('bad', (ParameterBlock('w', (3,), 1),), score, bytes(32))\n"
    )
    (tmp_path / f"bad_task_{kind}.py").write_text(source)
    made = run("init", str(tmp_path / "peer"), "--task", f"bad_task_{kind}:task", cwd=tmp_path)
    ended = made if made.returncode else run("start", "--data-dir", str(tmp_path / "peer"), cwd=tmp_path)
    assert ended.returncode == 2, ended.stderr
    assert ended.stderr.startswith("error: task 'bad': scores ")
    assert "Traceback" not in ended.stderr


OWN_TASK = """
from learning.task import ParameterBlock
from learning.tasks.black_box import BlackBoxTask

def valley():
    return BlackBoxTask("valley", 4, lambda points: -(points * points).sum(axis=1))
"""


def test_a_task_from_elsewhere_runs_once_it_is_named_and_a_restart_does_not_ask_again(tmp_path: Path) -> None:
    (tmp_path / "valley_for_test.py").write_text(OWN_TASK)
    made = run("init", str(tmp_path / "one"), "--task", "valley_for_test:valley", cwd=tmp_path)
    assert made.returncode == 0, made.stderr
    assert "--peer HOST:7600 --trust-task valley_for_test:valley" in made.stdout
    joining = ("--network", str(tmp_path / "one" / "network.toml"))
    here = {"PYTHONPATH": str(tmp_path)}
    refused = RunningPeer.start(tmp_path / "two", *joining, environment=here)
    assert refused.process.wait(timeout=60) == 2
    assert "fix: if you know this code and want to run it, add --trust-task valley_for_test:valley" in refused.log
    for folder, arguments in (
        ("one", ()),  # whoever makes a network has named its task
        ("two", (*joining, "--trust-task", "valley_for_test:valley")),
        ("two", ()),
    ):
        peer = RunningPeer.start(tmp_path / folder, *arguments, environment=here)
        with stopped_in_the_end(peer):
            assert peer.wait_until(lambda status: status["height"] >= 1)["task"] == "valley_for_test:valley"
            assert peer.stop() == 0


def test_four_peers_learn_to_read_digits_and_agree() -> None:
    ended = run("testnet", "--nodes", "4", "--until-accuracy", "0.8", "--deadline", "150", "--json")
    assert ended.returncode == 0, ended.stderr
    document = json.loads(ended.stdout.splitlines()[-1])
    assert document["agreed"] is True
    assert document["test_accuracy"] >= 0.8
    assert {peer["state_digest"] for peer in document["peers"]} == {document["state_digest"]}
    assert {peer["height"] for peer in document["peers"]} == {document["height"]}
    assert document["bytes_sent_per_block"] < 2_000
    assert sum(peer["blocks_led"] for peer in document["peers"]) >= document["height"] * 0.5


def test_one_of_four_is_killed_in_mid_run_and_catches_up_by_itself(tmp_path: Path) -> None:
    folder = tmp_path / "testnet"
    command = [sys.executable, str(ROOT / "run_node.py"), "testnet", "--until-accuracy", "1", "--deadline", "100"]
    command += ["--data-dir", str(folder), "--keep", "--json"]
    with hearing_interrupts():
        testnet = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        first, third = Watched(folder / "peer-0"), Watched(folder / "peer-3")
        before = third.wait_until(lambda status: status["height"] >= 12 and len(status["peers"]) == 3)
        time.sleep(REMEMBER_SECONDS)
        os.kill(int((folder / "peer-3" / "lock").read_text()), signal.SIGKILL)
        first.wait_until(lambda status: status["height"] >= before["height"] + 5)
        again = RunningPeer.start(folder / "peer-3")
        with stopped_in_the_end(again):
            again.wait_until(lambda status: status["height"] >= before["height"] + 5 and status["peers"])
            again.wait_until(lambda status: digest_at(status, before["height"] + 4) is not None)
            assert_agree(first, again)
    finally:
        testnet.send_signal(signal.SIGINT)
        output, _ = testnet.communicate(timeout=60)
    told = json.loads(output.splitlines()[-1])
    assert (testnet.returncode, told["reason"], told["goal_reached"]) == (EXIT_INTERRUPTED, "interrupted", False)


def test_a_deadline_that_passes_is_exit_code_1() -> None:
    ended = run("testnet", "--nodes", "1", "--until-accuracy", "1.0", "--deadline", "2", "--json")
    assert ended.returncode == 1
    assert "deadline" in json.loads(ended.stdout.splitlines()[-1])["reason"]


def test_a_task_without_accuracy_has_a_fitness_as_its_goal() -> None:
    ended = run("testnet", "--nodes", "2", "--task", "rosenbrock", "--until", "fitness>=-20", "--deadline", "90", "--json")
    assert ended.returncode == 0, ended.stderr
    document = json.loads(ended.stdout.splitlines()[-1])
    assert (document["agreed"], document["test_accuracy"]) == (True, None)
    assert document["fitness"] >= -20
