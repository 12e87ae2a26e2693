"""A testnet's own folder, where the folders of its peers lie, and their databases: lost, copied, replaced by an old copy."""

import contextlib
import shutil
import sqlite3
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from node.common.errors import EXIT_CANNOT_NOW, NodeError, disk_error
from node.common.files import STORE_FILE_NAME
from node.lab.testnet.peer import TestnetPeer
from node.lab.testnet.settings import TestnetSettings


@contextlib.contextmanager
def testnet_folder(settings: TestnetSettings) -> Iterator[Path]:
    """Made where the settings say, or in a temporary place; removed afterwards unless it is to be kept. Raises NodeError."""
    root = Path(tempfile.mkdtemp(prefix="kubrat-testnet-")) if settings.data_dir is None else _make(settings.data_dir)
    try:
        yield root.resolve()
    finally:
        if not settings.is_kept:
            _remove(root)


def _make(root: Path) -> Path:
    try:
        root.mkdir(parents=True, exist_ok=True)
        is_empty = not any(root.iterdir())
    except OSError as error:
        raise disk_error("make the folder", root, error) from error
    if not is_empty:
        raise NodeError(f"--data-dir {root} is not empty", "choose a new folder, or remove the old testnet")
    return root


def _remove(root: Path) -> None:
    """What cannot be removed, like a mounted folder, is named and left: how the testnet ended counts more."""
    try:
        shutil.rmtree(root)
    except OSError as error:
        sys.stderr.write(f"cannot remove {root}: {error.strerror}\n")


BACKUP_NAME = "backup.db"
"""In the peer's folder; the last copy counts."""

STORE_SUFFIXES = ("", "-wal", "-shm")
"""A database in write-ahead mode is three files (sqlite.org/wal.html)."""


def wipe(peer: TestnetPeer) -> None:
    """Lose its database; key and redo log stay. The peer must not run. Raises NodeError."""
    assert not peer.is_running, "nobody writes what is removed"
    for suffix in STORE_SUFFIXES:
        _remove_file(_store(peer).with_name(STORE_FILE_NAME + suffix))


def back_up(peer: TestnetPeer) -> None:
    """Copy its database as it is at this moment, whether the peer runs or not. Raises NodeError."""
    store, backup = _store(peer), _backup(peer)
    if not store.exists():
        raise NodeError(f"{peer.name} has no database yet", "wait until it has started", EXIT_CANNOT_NOW)
    try:
        with contextlib.closing(sqlite3.connect(store)) as source, contextlib.closing(sqlite3.connect(backup)) as target:
            source.backup(target)
    except sqlite3.Error as error:
        raise NodeError(f"cannot copy {store}: {error}", "try again", EXIT_CANNOT_NOW) from error


def check_backup(peer: TestnetPeer) -> None:
    """Raises NodeError where there is no copy."""
    if not _backup(peer).exists():
        raise NodeError(f"there is no copy of {peer.name}'s database", "make one with --back-up", EXIT_CANNOT_NOW)


def restore_backup(peer: TestnetPeer) -> None:
    """Put the copy in place of its database. The peer must not run. Raises NodeError."""
    wipe(peer)
    try:
        shutil.copyfile(_backup(peer), _store(peer))
    except OSError as error:
        raise disk_error("write the old database", _store(peer), error) from error


def _store(peer: TestnetPeer) -> Path:
    return peer.settings.data_dir / STORE_FILE_NAME


def _backup(peer: TestnetPeer) -> Path:
    return peer.settings.data_dir / BACKUP_NAME


def _remove_file(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise disk_error("remove", path, error) from error
