"""Members of a total order as real processes: killed, stopped, restored from an old backup, watched by an observer."""

import contextlib
import json
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from node.storage.remembered_addresses import REMEMBER_SECONDS
from tests.node.real_peers import ROOT, RunningPeer, Watched, hearing_interrupts, run

pytestmark = [pytest.mark.processes, pytest.mark.timeout(290)]

KILLS = 10
"""Each took 14 s in the suite on two cores: with a start, and a wait until it answers."""


@contextlib.contextmanager
def members_testnet(folder: Path, nodes: int) -> Iterator[list[Watched]]:
    """A testnet that goes on until the test is over; its members can be killed, and started again by hand."""
    command = [sys.executable, str(ROOT / "run_node.py"), "testnet", "--consensus", "total-order", "--nodes", str(nodes)]
    command += ["--until-accuracy", "1", "--deadline", "900", "--data-dir", str(folder), "--keep", "--json"]
    with (folder.parent / "testnet.log").open("w") as log, hearing_interrupts():
        testnet = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=log)
    try:
        yield [Watched(folder / f"peer-{number}", supervisor=testnet) for number in range(nodes)]
    finally:
        testnet.send_signal(signal.SIGINT)
        testnet.wait(timeout=60)


def kill(member: Watched) -> None:
    """kill -9, and wait until its lock is free."""
    process = psutil.Process(int((member.folder / "lock").read_text()))
    process.kill()
    gone, _ = psutil.wait_procs([process], timeout=10)
    assert gone, f"{process} outlives kill -9"


def digests_by_height(status: dict) -> dict[int, str]:
    return {step["height"]: step["state_digest"] for step in status["steps"]}


def assert_one_history(*members: Watched) -> None:
    """No two members tell different states for one generation, and nobody was seen to sign twice."""
    seen: dict[int, str] = {}
    for member in members:
        status = member.wait_until(lambda _: True)  # on a busy machine one question may go unanswered
        assert status["order"]["equivocators"] == []
        for height, digest in digests_by_height(status).items():
            assert seen.setdefault(height, digest) == digest, f"two states of generation {height}"


def catch_up(member: RunningPeer, witness: Watched) -> None:
    """The member reaches what the witness has now, and goes on."""
    goal = witness.wait_until(lambda status: True)["height"]
    member.wait_until(lambda status: status["height"] > goal)


def test_four_members_learn_to_read_digits_in_a_testnet() -> None:
    ended = run("testnet", "--consensus", "total-order", "--until-accuracy", "0.85", "--deadline", "120", "--json")
    assert ended.returncode == 0, ended.stderr
    document = json.loads(ended.stdout.splitlines()[-1])
    assert document["agreed"] is True
    assert {peer["state_digest"] for peer in document["peers"]} == {document["state_digest"]}
    assert document["bytes_sent_per_block"] < 20_000


def test_seven_members_go_on_when_two_are_killed_and_wait_by_name_for_a_third(tmp_path: Path) -> None:
    with members_testnet(tmp_path / "net", 7) as members:
        living = members[:5]
        before = members[0].wait_until(lambda status: status["height"] >= 4, seconds=120)
        kill(members[5])
        kill(members[6])
        members[0].wait_until(lambda status: status["height"] >= before["height"] + 6)
        assert_one_history(*living)
        names = [member.wait_until(lambda status: True)["peer_id"] for member in living]
        kill(members[4])
        waiting = members[0].wait_until(lambda status: names[4] in status["order"]["waiting_for"])
        assert set(waiting["order"]["waiting_for"]).isdisjoint(names[:4])
        stuck = members[0].wait_until(lambda status: True)["height"]
        time.sleep(3)
        assert members[0].wait_until(lambda status: True)["height"] <= stuck + 1
        again = RunningPeer.start(members[4].folder)
        try:
            members[0].wait_until(lambda status: status["height"] >= stuck + 3)
            catch_up(again, members[0])
            assert_one_history(*members[:4], again)
        finally:
            again.kill()


def test_a_member_killed_again_and_again_never_contradicts_itself(tmp_path: Path) -> None:
    chance = random.Random(3)
    with members_testnet(tmp_path / "net", 4) as members:
        victim = members[3]
        members[0].wait_until(lambda status: status["height"] >= 2, seconds=120)
        kill(victim)
        for _ in range(KILLS - 1):
            again = RunningPeer.start(victim.folder)
            try:
                again.wait_until(lambda status: True)
                time.sleep(chance.uniform(0, 1.5))
            finally:
                again.kill()
            assert_one_history(*members[:3])
        again = RunningPeer.start(victim.folder)
        try:
            catch_up(again, members[0])
            assert_one_history(*members[:3], again)
        finally:
            again.kill()


def test_a_folder_restored_from_an_old_backup_does_not_sign_twice(tmp_path: Path) -> None:
    with members_testnet(tmp_path / "net", 4) as members:
        victim = members[3]
        members[0].wait_until(lambda status: status["height"] >= 3, seconds=120)
        time.sleep(2 * REMEMBER_SECONDS)
        kill(victim)
        backup = tmp_path / "backup"
        shutil.copytree(victim.folder, backup)
        again = RunningPeer.start(victim.folder)
        try:
            catch_up(again, members[0])
            members[0].wait_until(lambda status: status["height"] >= 12)
        finally:
            again.kill()
        for name in ("kubrat.db", "kubrat.db-wal", "kubrat.db-shm"):
            (victim.folder / name).unlink(missing_ok=True)
            if (backup / name).exists():
                shutil.copy(backup / name, victim.folder / name)
        restored = RunningPeer.start(victim.folder)
        try:
            catch_up(restored, members[0])
            assert_one_history(*members[:3], restored)
        finally:
            restored.kill()


def test_an_observer_follows_without_a_vote(tmp_path: Path) -> None:
    with members_testnet(tmp_path / "net", 4) as members:
        host = members[0].wait_until(lambda status: status["height"] >= 2, seconds=120)["listen"]
        rules = str(tmp_path / "net" / "network.toml")
        watcher = RunningPeer.start(tmp_path / "watcher", "--network", rules, "--peer", host, "--observe")
        try:
            catch_up(watcher, members[0])
            status = watcher.wait_until(lambda status: True)
            assert (status["order"]["own_round"], status["blocks_led"]) == (0, 0)
            assert_one_history(*members, watcher)
        finally:
            watcher.kill()
