"""A running testnet, disturbed in every way by the command `inject` in other processes."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from node.lab.cli.inject import find_testnet
from node.lab.testnet.control import CONTROL_FILE_NAME
from tests.node.real_peers import ROOT, hearing_interrupts

pytestmark = [pytest.mark.processes, pytest.mark.timeout(200)]

REPORT_SECONDS_MAX = 60


@dataclass
class RunningTestnet:
    """A testnet of four members that goes on until it is interrupted."""

    process: subprocess.Popen[str]
    folder: Path
    environment: dict[str, str]

    def inject(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(ROOT / "run_node.py"), "inject", *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False, env=self.environment, timeout=60)

    def done(self, *arguments: str) -> str:
        """What was said of a command that was done, after the testnet's folder."""
        ended = self.inject(*arguments)
        folder, said = ended.stdout.rstrip("\n").split(": ", 1)
        assert (ended.returncode, ended.stderr, folder) == (0, "", str(self.folder))
        return said

    def peers(self) -> list[dict]:
        return json.loads(find_testnet(self.folder).answer)["peers"]

    def wait_until(self, holds: Callable[[list[dict]], bool]) -> list[dict]:
        deadline = time.monotonic() + REPORT_SECONDS_MAX
        while time.monotonic() < deadline:
            peers = self.peers()
            if holds(peers):
                return peers
            time.sleep(0.2)
        raise AssertionError(f"not within {REPORT_SECONDS_MAX} s: {peers}")

    def wait_for_progress(self, heights: int = 2) -> None:
        """All peers that run come so much further than the furthest is now."""
        goal = max(peer["height"] or 0 for peer in self.peers()) + heights
        self.wait_until(lambda peers: all((peer["height"] or 0) >= goal for peer in peers if peer["state"] == "running"))

    def interrupt(self) -> tuple[int, dict]:
        """Exit code and outcome."""
        self.process.send_signal(signal.SIGINT)
        output, _ = self.process.communicate(timeout=60)
        return self.process.returncode, json.loads(output.splitlines()[-1])


@pytest.fixture(scope="module")
def testnet() -> Iterator[RunningTestnet]:
    """Found by its user alone: the folder for temporary files is its own. The last test interrupts it."""
    with tempfile.TemporaryDirectory(prefix="kubrat") as temporary:
        folder = Path(temporary) / "net"
        environment = {**os.environ, "TMPDIR": temporary}
        command = [sys.executable, str(ROOT / "run_node.py"), "testnet", "--consensus", "total-order", "--until-interrupted"]
        command += ["--until-accuracy", "0.05", "--deadline", "360", "--json"]
        command += ["--data-dir", str(folder)]
        with (Path(temporary) / "testnet.log").open("w") as log, hearing_interrupts():
            process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True, env=environment)
        testnet = RunningTestnet(process, folder, environment)
        try:
            while not (folder / CONTROL_FILE_NAME).exists():
                assert process.poll() is None, "the testnet ended"
                time.sleep(0.1)
            testnet.wait_until(lambda peers: all(peer["state"] == "running" for peer in peers))
            yield testnet
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGINT)
                process.communicate(timeout=60)


def states(peers: list[dict]) -> list[str]:
    return [peer["state"] for peer in peers]


def processes_of_group(group: int) -> dict[int, str]:
    """The state letters of the processes of a group, by process id."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                fields = (entry / "stat").read_text().rsplit(")", 1)[1].split()
                if int(fields[2]) == group:
                    found[int(entry.name)] = fields[0]
    return found


def stopped_processes(group: int) -> dict[int, str]:
    """Those of a group that was told to stop; one that runs on another core stops a moment later."""
    until = time.monotonic() + 5
    while "R" in processes_of_group(group).values() and time.monotonic() < until:
        time.sleep(0.01)
    return processes_of_group(group)


def test_a_partition_stops_a_total_order_and_a_heal_resumes_it_at_once(testnet: RunningTestnet) -> None:
    testnet.wait_until(lambda peers: all((peer["height"] or 0) >= 1 for peer in peers))
    assert testnet.done("--partition", "0,1/2,3") == "parted: peer-0, peer-1 / peer-2, peer-3"
    parted = testnet.wait_until(lambda peers: all(peer["peers_connected"] == 1 for peer in peers))
    assert [peer["group"] for peer in parted] == [0, 0, 1, 1]
    testnet.done("--restart", "1,2")  # both are told again, or they would meet
    testnet.wait_until(lambda peers: states(peers) == ["running"] * 4)
    before = testnet.wait_until(lambda peers: [peer["peers_connected"] for peer in peers] == [1, 1, 1, 1])
    time.sleep(3.0)
    after = testnet.peers()
    assert max(peer["height"] for peer in after) <= max(peer["height"] for peer in before) + 1
    assert [peer["peers_connected"] for peer in after] == [1, 1, 1, 1]
    assert testnet.done("--heal") == "healed: everybody reaches everybody again"
    healed_at = time.monotonic()
    testnet.wait_until(lambda peers: all(peer["peers_connected"] == 3 for peer in peers))
    assert time.monotonic() - healed_at < 10.0  # on a loaded machine; the peers meet within a second
    assert [peer["group"] for peer in testnet.peers()] == [None] * 4
    testnet.wait_for_progress()


def test_peers_are_killed_paused_resumed_restarted_and_corrupted_from_another_process(testnet: RunningTestnet) -> None:
    first = testnet.wait_until(lambda peers: all((peer["height"] or 0) >= 1 for peer in peers))

    assert testnet.done("--pause", "1") == "paused peer-1"
    assert states(testnet.peers()) == ["running", "paused", "running", "running"]
    stopped = stopped_processes(first[1]["pid"])
    assert (len(stopped), set(stopped.values())) == (2, {"T"})
    refused = testnet.inject("--pause", "1")
    assert (refused.returncode, refused.stderr) == (
        1,
        "error: cannot pause peer-1: it is paused\nfix: resume it with --resume\n",
    )
    testnet.wait_for_progress()
    assert testnet.done("--resume", "1") == "resumed peer-1"
    testnet.wait_for_progress()

    assert testnet.done("--kill", "2") == "killed peer-2"
    assert processes_of_group(first[2]["pid"]) == {}
    assert states(testnet.peers()) == ["running", "running", "killed", "running"]
    testnet.wait_for_progress()
    assert testnet.done("--restart", "2") == "restarted peer-2"
    restarted = testnet.peers()[2]
    assert (restarted["state"], restarted["pid"] != first[2]["pid"]) in {("starting", True), ("running", True)}
    testnet.wait_until(lambda peers: states(peers) == ["running"] * 4)
    testnet.wait_for_progress()

    assert testnet.done("--fault", "scores-inverted", "--nodes", "1") == "told peer-3 to misbehave: scores-inverted"
    testnet.wait_until(lambda peers: states(peers) == ["running"] * 4)
    said = testnet.done("--fault", "worst-candidate", "--peers", "0")
    assert said.endswith("WARNING: 4 peers can have 1 faulty among them, not 2: anything may happen")
    assert testnet.done("--fault", "", "--peers", "0") == "told peer-0 to be honest again; nobody counts on that"
    peers = testnet.wait_until(lambda peers: states(peers) == ["running"] * 4)
    assert [(peer["fault"], peer["was_faulty"]) for peer in peers] == [
        ("", True),
        ("", False),
        ("", False),
        ("scores-inverted", False),
    ]
    testnet.wait_for_progress()

    testnet.done("--pause", "2")
    code, outcome = testnet.interrupt()
    assert (code, outcome["agreed"]) == (1, False)  # one of the two honest ones is paused
    assert outcome["reason"].startswith("goal reached in agreement after ")
    assert outcome["reason"].endswith("interrupted, but no agreement is left")
    assert [command["said"].split(";")[0] for command in outcome["commands"]][-8:] == [
        "paused peer-1",
        "resumed peer-1",
        "killed peer-2",
        "restarted peer-2",
        "told peer-3 to misbehave: scores-inverted",
        "told peer-0 to misbehave: worst-candidate",
        "told peer-0 to be honest again",
        "paused peer-2",
    ]
    assert [peer["state"] for peer in outcome["peers"]] == ["running", "running", "paused", "running"]
