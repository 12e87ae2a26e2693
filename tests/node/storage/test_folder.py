import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from node.common.errors import NodeError, NotRunningError
from node.common.files import KEY_FILE_NAME, NETWORK_FILE_NAME, STORE_FILE_NAME
from node.common.wording import command_text
from node.rules.network_file import network_text, write_network_file
from node.rules.network_rules import network_id
from node.storage.api_address import API_FILE_NAME, ApiFile, read_api_file
from node.storage.folder import LOCK_FILE_NAME, NodeFolder
from node.storage.identity import create_identity, load_identity
from node.storage.store import CorruptStoreError
from tests.node.example_network import example_rules
from tests.node.storage.small_disk import fill, make_read_only, small_disk

ROOT = Path(__file__).parents[3]

HOLDER = """
import sys
from pathlib import Path
from node.storage.folder import NodeFolder
with NodeFolder.open(Path(sys.argv[1])):
    print("open", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def made(tmp_path: Path) -> Path:
    path = tmp_path / "peer"
    NodeFolder.create(path, example_rules())
    return path


def test_a_made_folder_opens_with_its_key_and_rules(tmp_path: Path) -> None:
    identity = NodeFolder.create(tmp_path / "a" / "peer", example_rules())
    with NodeFolder.open(tmp_path / "a" / "peer") as folder:
        assert (folder.identity.peer_id, folder.rules) == (identity.peer_id, example_rules())
        assert folder.store.meta("peer_id") == identity.peer_id.hex()
    assert (tmp_path / "a" / "peer").stat().st_mode & 0o777 == 0o700


def test_a_folder_keeps_the_key_that_lies_in_it(tmp_path: Path) -> None:
    identity = create_identity(tmp_path / KEY_FILE_NAME)
    assert NodeFolder.create(tmp_path, example_rules()).peer_id == identity.peer_id


def test_a_folder_is_never_made_twice(made: Path) -> None:
    key = (made / KEY_FILE_NAME).read_bytes()
    with pytest.raises(NodeError, match="is a node's folder already, and is never overwritten"):
        NodeFolder.create(made, example_rules(seed=8))
    assert (made / KEY_FILE_NAME).read_bytes() == key


def test_a_file_where_the_folder_should_be_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(NodeError, match="file is a file, not a folder"):
        NodeFolder.create(tmp_path / "file", example_rules())
    with pytest.raises(NodeError, match="a part of the path is a file"):
        NodeFolder.create(tmp_path / "file" / "peer", example_rules())


def test_any_other_folder_is_refused_with_the_way_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(NodeError, match=f"is not a node's folder: it holds no {NETWORK_FILE_NAME}") as caught:
        NodeFolder.open(tmp_path)
    assert caught.value.fix == f"check the path, or make a new peer there: {command_text('init', tmp_path)}"


def test_a_folder_that_is_not_there_is_told_from_one_of_another_kind(tmp_path: Path) -> None:
    with pytest.raises(NodeError, match=f"there is no folder {tmp_path / 'pear'}") as caught:
        NodeFolder.open(tmp_path / "pear")
    assert caught.value.fix == f"check the path, or make a new peer there: {command_text('init', tmp_path / 'pear')}"


@pytest.mark.parametrize("has_rules", [False, True])
def test_of_a_folder_that_holds_peers_folders_one_is_to_be_named(tmp_path: Path, *, has_rules: bool) -> None:
    for number in (10, 2, 0, 1):
        NodeFolder.create(tmp_path / f"peer-{number}", example_rules())
    if has_rules:  # as a testnet's folder has them
        write_network_file(tmp_path / NETWORK_FILE_NAME, example_rules())
    with pytest.raises(NodeError, match=r"is not a node's folder, but holds some: peer-0, peer-1, peer-2, \.\.\.") as caught:
        NodeFolder.open(tmp_path)
    assert caught.value.fix == f"name one of them: --data-dir {tmp_path / 'peer-0'}"


def test_a_peer_that_lost_its_rules_is_not_to_make_a_new_network(made: Path) -> None:
    with NodeFolder.open(made):
        pass
    (made / NETWORK_FILE_NAME).unlink()
    with pytest.raises(NodeError, match="has lost its network") as caught:
        NodeFolder.open(made)
    assert caught.value.fix == "copy network.toml there from another peer of the network"


def test_without_its_key_a_folder_s_rules_make_another_peer(made: Path) -> None:
    (made / KEY_FILE_NAME).unlink()
    with pytest.raises(NodeError, match=f"there is no key {made / KEY_FILE_NAME}") as caught:
        NodeFolder.open(made)
    another = command_text("init", made.with_name("my-peer"), "--network", made / NETWORK_FILE_NAME)
    assert caught.value.fix == f"restore it from your copy; without it, make another peer: {another}"


def test_a_folder_opens_again_after_it_was_closed(made: Path) -> None:
    for _ in range(3):
        with NodeFolder.open(made):
            pass


def test_a_folder_opens_with_the_network_file_it_was_made_from(made: Path, tmp_path: Path) -> None:
    write_network_file(tmp_path / "same.toml", example_rules())
    with NodeFolder.open(made, tmp_path / "same.toml") as folder:
        assert folder.rules == example_rules()


def test_another_network_is_refused_with_both_ids_and_the_fields_that_differ(made: Path, tmp_path: Path) -> None:
    other = example_rules(block_interval_ms=900)
    write_network_file(tmp_path / "other.toml", other)
    with pytest.raises(NodeError, match="belongs to another network") as caught:
        NodeFolder.open(made, tmp_path / "other.toml")
    assert network_id(example_rules()).hex() in caught.value.message
    assert network_id(other).hex() in caught.value.message
    assert "differ in proof_of_work.block_interval_ms: ours 500, theirs 900 (ours: the folder's)" in caught.value.message


def test_rules_edited_after_the_first_start_are_refused(made: Path) -> None:
    with NodeFolder.open(made):
        pass
    (made / NETWORK_FILE_NAME).write_text(network_text(example_rules(block_interval_ms=900)))
    with pytest.raises(NodeError, match=r"proof_of_work.block_interval_ms: ours 500, theirs 900"):
        NodeFolder.open(made)


def test_another_key_is_refused_with_both_peer_ids(made: Path) -> None:
    with NodeFolder.open(made) as folder:
        first = folder.identity.peer_id.hex()
    (made / KEY_FILE_NAME).unlink()
    second = create_identity(made / KEY_FILE_NAME).peer_id.hex()
    with pytest.raises(NodeError, match="belongs to another key") as caught:
        NodeFolder.open(made)
    assert f"its database is of peer {first}, {KEY_FILE_NAME} is of peer {second}" in caught.value.message


def test_a_folder_in_use_names_the_process_that_holds_it(made: Path) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(made)], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "open\n"
    with pytest.raises(NodeError, match=rf"is locked by a running peer \(pid {holder.pid}\)"):
        NodeFolder.open(made)
    holder.kill()
    holder.communicate()
    with NodeFolder.open(made):  # the lock of a killed process is gone with it
        assert int((made / LOCK_FILE_NAME).read_text()) == os.getpid()


def test_a_folder_that_failed_to_open_is_not_left_locked(made: Path) -> None:
    (made / KEY_FILE_NAME).chmod(0o644)
    with pytest.raises(NodeError, match=r"can be read by others"):
        NodeFolder.open(made)
    (made / KEY_FILE_NAME).chmod(0o600)
    with NodeFolder.open(made):
        pass


def test_a_missing_key_is_told(made: Path) -> None:
    (made / KEY_FILE_NAME).unlink()
    with pytest.raises(NodeError, match="there is no key"):
        NodeFolder.open(made)


def test_a_corrupt_database_is_told_and_the_peer_starts_afresh_without_it(made: Path) -> None:
    identity = load_identity(made / KEY_FILE_NAME)
    (made / STORE_FILE_NAME).write_bytes(b"garbage" * 1_000)
    with pytest.raises(CorruptStoreError, match="is corrupt"):
        NodeFolder.open(made)
    for path in made.glob(f"{STORE_FILE_NAME}*"):
        path.unlink()
    with NodeFolder.open(made) as folder:
        assert folder.identity.peer_id == identity.peer_id


def test_a_read_only_folder_is_told(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk") as disk:
        NodeFolder.create(disk / "peer", example_rules())
        with NodeFolder.open(disk / "peer"):
            pass
        make_read_only(disk)
        with pytest.raises(NodeError, match=r"cannot lock the folder with .*: the file system is read-only"):
            NodeFolder.open(disk / "peer")
        with pytest.raises(NodeError, match=r"cannot make the folder .*: the file system is read-only"):
            NodeFolder.create(disk / "other", example_rules())


def test_a_full_disk_is_told_and_leaves_no_half_of_a_key(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk") as disk:
        (disk / "peer").mkdir()
        fill(disk)
        with pytest.raises(NodeError, match=r"cannot write the key .*: the disk is full"):
            NodeFolder.create(disk / "peer", example_rules())
        assert list((disk / "peer").iterdir()) == []


def test_a_full_disk_is_told_at_the_first_opening(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk") as disk:
        NodeFolder.create(disk / "peer", example_rules())
        fill(disk)
        with pytest.raises(NodeError, match="the disk is full"):
            NodeFolder.open(disk / "peer")


def test_the_api_s_address_is_there_while_it_listens(made: Path) -> None:
    with NodeFolder.open(made) as folder:
        folder.write_api_address("127.0.0.1", 4711)
        assert read_api_file(made) == ApiFile("127.0.0.1", 4711, folder.identity.peer_id.hex(), os.getpid())
        folder.remove_api_address()
        with pytest.raises(NotRunningError, match="no peer runs in"):
            read_api_file(made)
        folder.write_api_address("127.0.0.1", 4712)
    assert not (made / API_FILE_NAME).exists()


@pytest.mark.parametrize("content", ["", "{}", json.dumps({"host": 1, "port": 2}), "[1"])
def test_a_damaged_api_file_is_told(made: Path, content: str) -> None:
    (made / API_FILE_NAME).write_text(content)
    with pytest.raises(NodeError, match=r"api.json is damaged: "):
        read_api_file(made)


def test_what_a_killed_node_left_behind_is_gone_once_the_folder_is_opened(made: Path) -> None:
    (made / API_FILE_NAME).write_text("left behind")
    with NodeFolder.open(made):
        assert not (made / API_FILE_NAME).exists()
