"""Members of a total order as real processes: killed, stopped, restored from an old backup, watched by an observer."""

import json
import random
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.node.forked_peers import ForkedPeer, forked_members
from tests.node.real_peers import RunningPeer, Watched, run

pytestmark = [pytest.mark.processes, pytest.mark.timeout(290)]

KILLS = 10
"""Each takes a second or two on an idle machine: until it answers, and while it lives."""


@pytest.fixture(scope="module")
def four_members(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[ForkedPeer]]:
    with forked_members(tmp_path_factory.mktemp("members") / "net", 4) as members:
        yield members


@pytest.fixture
def members(four_members: list[ForkedPeer]) -> list[ForkedPeer]:
    """All four run, and have learned something."""
    for member in four_members:
        if not member.peer.is_running:
            member.start()
    for member in four_members:
        member.wait_until(lambda status: status["height"] >= 3)
    return four_members


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


def catch_up(member: Watched, witness: Watched) -> None:
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


def test_seven_members_evolve_on_unequal_private_shards() -> None:
    """None of them sees more than a part of the classes well: the best alone comes to 75 % (docs/evolution/shards.md)."""
    ended = run(
        *("testnet", "--consensus", "total-order", "--nodes", "7", "--shards", "dirichlet:0.5", "--json"),
        *("--until-accuracy", "0.8", "--deadline", "200"),
    )
    assert ended.returncode == 0, ended.stderr
    document = json.loads(ended.stdout.splitlines()[-1])
    assert (document["agreed"], document["test_accuracy"] >= 0.8) == (True, True)
    assert {peer["state_digest"] for peer in document["peers"]} == {document["state_digest"]}


def test_seven_members_go_on_when_two_are_killed_and_wait_by_name_for_a_third(tmp_path: Path) -> None:
    with forked_members(tmp_path / "net", 7) as members:
        living = members[:5]
        before = members[0].wait_until(lambda status: status["height"] >= 4, seconds=120)
        members[5].kill()
        members[6].kill()
        members[0].wait_until(lambda status: status["height"] >= before["height"] + 6)
        assert_one_history(*living)
        names = [member.peer.peer_id for member in living]
        members[4].kill()
        waiting = members[0].wait_until(lambda status: names[4] in status["order"]["waiting_for"])
        assert set(waiting["order"]["waiting_for"]).isdisjoint(names[:4])
        stuck = members[0].wait_until(lambda status: True)["height"]
        time.sleep(3)
        assert members[0].wait_until(lambda status: True)["height"] <= stuck + 1
        members[4].start()
        members[0].wait_until(lambda status: status["height"] >= stuck + 3)
        catch_up(members[4], members[0])
        assert_one_history(*living)


def test_a_member_killed_again_and_again_never_contradicts_itself(members: list[ForkedPeer]) -> None:
    chance = random.Random(3)
    victim = members[3]
    for _ in range(KILLS):
        victim.kill()
        assert_one_history(*members[:3])
        victim.start()
        victim.wait_until(lambda status: True)
        time.sleep(chance.uniform(0, 1.5))
    catch_up(victim, members[0])
    assert_one_history(*members)


def test_a_folder_restored_from_an_old_backup_does_not_sign_twice(members: list[ForkedPeer], tmp_path: Path) -> None:
    victim, backup = members[3], tmp_path / "backup"
    victim.kill()
    shutil.copytree(victim.folder, backup)
    victim.start()
    catch_up(victim, members[0])
    now = members[0].wait_until(lambda status: True)["height"]
    members[0].wait_until(lambda status: status["height"] >= now + 9)
    victim.kill()
    for name in ("kubrat.db", "kubrat.db-wal", "kubrat.db-shm"):
        (victim.folder / name).unlink(missing_ok=True)
        if (backup / name).exists():
            shutil.copy(backup / name, victim.folder / name)
    victim.start()
    catch_up(victim, members[0])
    assert_one_history(*members)


def test_an_observer_follows_without_a_vote(members: list[ForkedPeer], tmp_path: Path) -> None:
    host = members[0].wait_until(lambda status: True)["listen"]
    rules = str(members[0].folder.parent / "network.toml")
    watcher = RunningPeer.start(tmp_path / "watcher", "--network", rules, "--peer", host, "--observe")
    try:
        catch_up(watcher, members[0])
        status = watcher.wait_until(lambda status: True)
        assert (status["order"]["own_round"], status["blocks_led"]) == (0, 0)
        assert_one_history(*members, watcher)
    finally:
        watcher.kill()
