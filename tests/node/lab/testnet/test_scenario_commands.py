"""Scenarios for real processes: the same files as for the simulator, what cannot be done here refused, the rest done."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from node.cli import main
from node.common.errors import NodeError
from node.lab.testnet.chaos import read_script, remarks

SCENARIOS = Path(__file__).parents[4] / "docs" / "scenarios"

HEAD = """
name = "here"
consensus = "total-order"
learning = "evolution"
peers = 4
duration_s = 40
"""

ALLOWED = "crash, restart, join, pause, resume, wipe, back-up, restore-old-disk, misbehave, partition, heal"


def script(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "script.toml"
    path.write_text(HEAD + text)
    return path


def told(tmp_path: Path, text: str) -> str:
    """Why a file is refused, without its name."""
    path = script(tmp_path, text)
    with pytest.raises(NodeError) as caught:
        read_script(path)
    return caught.value.message.removeprefix(f"{path}: ")


@pytest.mark.parametrize(
    ("kind", "fields", "why"),
    [
        ("disk-lies", "peers = [1]\nunsynced_ms = 5", "the system keeps what a killed process has written"),
        ("disk-full", "peers = [1]", "all peers share this machine's disk"),
        ("slow", "peers = [1]\nfactor = 2", "all peers share this machine's processors"),
        ("clock", "peers = [1]\noffset_ms = 9", "all peers share this machine's clock"),
        ("kill-at", "peers = [1]\neffect = 9", "no process can be ended between two chosen effects"),
        ("cut", "senders = [1]\nreceivers = [2]", "a partition of processes holds in both directions; take partition"),
        ("reset", "peers = [1]", "the connections of a process are its own"),
    ],
)
def test_what_only_a_simulator_can_do_is_refused_with_its_reason(tmp_path: Path, kind: str, fields: str, why: str) -> None:
    text = f'[[event]]\nat_s = 1\nkind = "heal"\n[[event]]\nat_s = 2\nkind = "{kind}"\n{fields}'
    text = text.replace('kind = "heal"', 'kind = "crash"\npeers = [0]') + "\n[expect]\nheights_min = 0"
    reason = f"which can only be simulated: {why}; allowed on real processes is {ALLOWED}"
    assert told(tmp_path, text) == f'[[event]] number 2: kind is "{kind}", {reason}'


def test_more_peers_than_a_machine_bears_are_refused(tmp_path: Path) -> None:
    path = script(tmp_path, "")
    path.write_text(path.read_text().replace("peers = 4", "peers = 65"))
    with pytest.raises(NodeError, match="peers is 65; allowed is 1 to 64 on real processes"):
        read_script(path)


def test_a_partition_that_parts_nobody_is_refused(tmp_path: Path) -> None:
    text = '[[event]]\nat_s = 1\nkind = "partition"\ngroups = [[0, 1, 2, 3]]\n[expect]\nheights_min = 0'
    assert told(tmp_path, text) == "[[event]] number 1: groups names all peers in one group; allowed are two groups or more"


def test_settings_of_the_simulator_are_told_not_to_be_heeded(tmp_path: Path) -> None:
    loud = remarks(read_script(script(tmp_path, "snapshot_behind = 9\n[links]\nms_max = 90\nsigma = 1")))
    assert [line.split(" is for the simulator")[0] for line in loud] == ["[links]", "snapshot_behind"]
    assert "ms_max, sigma" in loud[0]
    assert remarks(read_script(script(tmp_path, ""))) == ()


@pytest.mark.parametrize(
    ("arguments", "option"),
    [
        (["--nodes", "4"], "--nodes"),
        (["--consensus", "total-order"], "--consensus"),
        (["--learning", "evolution"], "--learning"),
        (["--faulty", "1", "--fault", "mute"], "--faulty"),
        (["--until-accuracy", "0.5"], "--until-accuracy"),
        (["--deadline", "9"], "--deadline"),
        (["--network", "network.toml"], "--network"),
        (["--strategy", "comma"], "--strategy"),
    ],
)
def test_options_that_are_for_the_file_to_say_contradict_it(tmp_path: Path, arguments: list[str], option: str) -> None:
    result = CliRunner().invoke(main, ["testnet", "--scenario", str(script(tmp_path, "")), *arguments])
    assert (result.exit_code, result.stdout) == (2, "")
    assert f"error: {option} contradicts --scenario" in result.stderr


def test_a_mistake_in_the_file_is_told_before_anything_starts(tmp_path: Path) -> None:
    path = script(tmp_path, "[[event]]\nat_s = 1\nkind = 'slow'\nfactor = 2\npeers = [1]")
    result = CliRunner().invoke(main, ["testnet", "--scenario", str(path)])
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith(f'error: {path}: [[event]] number 1: kind is "slow", which can only be simulated')


def test_how_to_part_is_of_no_use_without_a_scenario() -> None:
    result = CliRunner().invoke(main, ["testnet", "--partition-by", "refusal"])
    assert (result.exit_code, result.stderr) == (
        2,
        "error: --partition-by is of no use without --scenario\nfix: add --scenario FILE\n",
    )


@pytest.mark.parametrize("path", sorted(SCENARIOS.glob("real_*.toml")), ids=lambda path: path.stem)
def test_the_scenarios_for_real_processes_are_right(path: Path) -> None:
    assert remarks(read_script(path)) == ()
