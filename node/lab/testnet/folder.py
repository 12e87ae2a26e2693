"""A testnet's own folder, where the folders of its peers lie."""

import contextlib
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from node.common.errors import NodeError, disk_error
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
