"""Each module runs one network, whose stores its tests tamper with."""

import shutil
from pathlib import Path

import pytest

from tests.node.lab.store_audit.folders import Folders


@pytest.fixture
def folders(original: Folders, tmp_path: Path) -> Folders:
    """A copy of the module's `original`."""
    shutil.copytree(original.root, tmp_path / "copy")
    return Folders(tmp_path / "copy", original.rules, original.network_id, original.signers, original.ids)
