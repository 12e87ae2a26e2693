"""`init` for a total order: keys made, or gathered by hand."""

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from node.cli import main
from node.rules.network_file import read_network_file
from node.rules.network_rules import Consensus
from node.storage.identity import load_identity

ALICE, BOB = "ab" * 32, "cd" * 32


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["init", *arguments])


def test_members_get_a_folder_a_key_and_the_same_rules(tmp_path: Path) -> None:
    result = run(str(tmp_path / "net"), "--members", "4")
    assert result.exit_code == 0, result.stderr
    folders = [tmp_path / "net" / f"member-{number}" for number in range(4)]
    rules = [read_network_file(folder / "network.toml") for folder in folders]
    keys = tuple(load_identity(folder / "identity.pem").peer_id.hex() for folder in folders)
    assert all(other == rules[0] for other in rules)
    assert (rules[0].consensus, rules[0].total_order.members) == (Consensus.TOTAL_ORDER, keys)
    assert "1 may be faulty" in " ".join(result.stdout.split())


def test_where_one_member_s_folder_is_there_already_none_is_made(tmp_path: Path) -> None:
    assert run(str(tmp_path / "net" / "member-2")).exit_code == 0
    result = run(str(tmp_path / "net"), "--members", "4")
    assert result.exit_code == 2
    assert f"{tmp_path / 'net' / 'member-2'} is a node's folder already" in result.stderr
    assert [path.name for path in (tmp_path / "net").iterdir()] == ["member-2"]


def test_keys_gathered_by_hand_are_the_members(tmp_path: Path) -> None:
    result = run(str(tmp_path / "peer"), "--member", ALICE, "--member", BOB)
    assert result.exit_code == 0, result.stderr
    assert read_network_file(tmp_path / "peer" / "network.toml").total_order.members == (ALICE, BOB)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--members", "3", "--tolerate", "1"], "error: of 3 members 0 may be faulty; for 1 there must be 4\n"),
        (["--members", "2", "--member", ALICE], "error: --members makes new keys, --member names given ones\n"),
        (["--member", ALICE, "--member", ALICE], "the same key as members[0]; allowed is each key once"),
        (["--member", "xyz"], "error: total_order.members[0] is 'xyz'; allowed is a public key"),
        (["--members", "201"], "201 is not in the range 1<=x<=200"),
    ],
)
def test_members_that_make_no_sense_are_told_and_nothing_is_made(tmp_path: Path, arguments: list[str], told: str) -> None:
    result = run(str(tmp_path / "peer"), *arguments)
    assert result.exit_code == 2
    assert told in result.stderr
    assert not (tmp_path / "peer").exists()


def test_members_make_their_own_keys_and_an_outsider_is_told_that_it_decides_nothing(tmp_path: Path) -> None:
    keys = [CliRunner().invoke(main, ["keygen", str(tmp_path / name / "identity.pem")]).stdout.strip() for name in "ab"]
    first = run(str(tmp_path / "a"), "--member", keys[0], "--member", keys[1])
    assert first.exit_code == 0, first.stderr
    assert keys[0] in first.stdout
    assert "none of the network's members" not in first.stdout
    assert "On the machine of each other member, with its key as my-peer/identity.pem, with a copy of" in first.stdout
    second = run(str(tmp_path / "b"), "--network", str(tmp_path / "a" / "network.toml"))
    assert keys[1] in second.stdout
    outsider = run(str(tmp_path / "c"), "--network", str(tmp_path / "a" / "network.toml"))
    assert "none of the network's members: it will follow and check, and decide nothing" in outsider.stdout
