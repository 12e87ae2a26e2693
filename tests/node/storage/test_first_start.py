from pathlib import Path

import pytest

from learning.task import ParameterBlock
from node.common.errors import NodeError
from node.common.files import KEY_FILE_NAME
from node.storage.export import store_layout
from node.storage.first_start import first_folder
from node.storage.folder import NodeFolder
from node.storage.identity import create_identity
from tests.node.example_network import example_rules


def start(path: Path, *, comes_to_run: bool) -> None:
    """A first start that fails, after its peer has run or before."""
    with pytest.raises(NodeError, match="it ends"):
        _failing(path, comes_to_run=comes_to_run)


def _failing(path: Path, *, comes_to_run: bool) -> None:
    with first_folder(path, example_rules()):
        if comes_to_run:
            with NodeFolder.open(path) as folder:
                store_layout(folder.store, (ParameterBlock("x", (3,), 1),))
        raise NodeError("it ends", None)


def test_a_first_start_that_fails_leaves_no_folder(tmp_path: Path) -> None:
    start(tmp_path / "peer", comes_to_run=False)
    assert list(tmp_path.iterdir()) == []
    start(tmp_path / "peer", comes_to_run=False)


def test_what_a_person_had_put_there_stays(tmp_path: Path) -> None:
    peer = tmp_path / "peer"
    peer.mkdir()
    key = create_identity(peer / KEY_FILE_NAME)
    (peer / "notes").write_text("mine")
    start(peer, comes_to_run=False)
    assert {path.name for path in peer.iterdir()} == {KEY_FILE_NAME, "notes"}
    assert NodeFolder.create(peer, example_rules()).peer_id == key.peer_id


def test_the_folder_of_a_peer_that_has_run_stays(tmp_path: Path) -> None:
    start(tmp_path / "peer", comes_to_run=True)
    with NodeFolder.open(tmp_path / "peer") as folder:
        assert folder.rules == example_rules()
