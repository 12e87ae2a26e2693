from pathlib import Path

import pytest

from node.common.errors import NodeError
from node.common.files import replace_file, write_new_file
from tests.node.storage.small_disk import fill, small_disk


def test_a_new_file_is_never_overwritten(tmp_path: Path) -> None:
    write_new_file(tmp_path / "file", b"first", "write", mode=0o600)
    with pytest.raises(NodeError, match="is there already, and is never overwritten"):
        write_new_file(tmp_path / "file", b"second", "write", mode=0o600)
    assert (tmp_path / "file").read_bytes() == b"first"


def test_a_replaced_file_has_the_new_content_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    for content in (b"first", b"second, longer", b""):
        replace_file(tmp_path / "file", content, "write")
        assert {path: path.read_bytes() for path in tmp_path.iterdir()} == {tmp_path / "file": content}


def test_a_full_disk_keeps_the_old_content_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk") as disk:
        replace_file(disk / "file", b"old", "write")
        fill(disk)
        before = {path.name for path in disk.iterdir()}
        with pytest.raises(NodeError, match=r"cannot write the model .*: the disk is full"):
            replace_file(disk / "file", bytes(100_000), "write the model")
        assert (disk / "file").read_bytes() == b"old"
        assert {path.name for path in disk.iterdir()} == before


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(NodeError, match=r"cannot write the model .*: no such file or folder"):
        replace_file(tmp_path / "nowhere" / "file", b"", "write the model")


def test_a_folder_in_the_way_is_told_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    (tmp_path / "file").mkdir()
    with pytest.raises(NodeError, match=r"cannot write the model .*: it is a folder, not a file"):
        replace_file(tmp_path / "file", b"", "write the model")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_file_in_place_of_a_folder_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(NodeError, match=r"cannot write the model .*: a part of the path is a file, not a folder"):
        replace_file(tmp_path / "file" / "model", b"", "write the model")


def test_a_name_that_is_too_long_is_told(tmp_path: Path) -> None:
    with pytest.raises(NodeError, match=r"cannot write the model .*: the name is too long"):
        replace_file(tmp_path / ("a" * 255), b"", "write the model")
