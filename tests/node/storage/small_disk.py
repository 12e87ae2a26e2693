"""A disk of a few pages, that can be filled or made read-only: a tmpfs, where root may mount one."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

DISK_KIB = 256


@contextmanager
def small_disk(path: Path) -> Iterator[Path]:
    """Mounts DISK_KIB of memory at `path`; skips the test where that is not allowed."""
    path.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={DISK_KIB}k", "tmpfs", str(path)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode != 0:
        pytest.skip("only root may mount a small disk")
    try:
        yield path
    finally:
        subprocess.run(["umount", "--lazy", str(path)], check=True)


def fill(disk: Path) -> None:
    """Leave no byte free."""
    with (disk / "ballast").open("wb", buffering=0) as ballast:
        try:
            while True:
                ballast.write(bytes(1_024))
        except OSError:
            return


def make_read_only(disk: Path) -> None:
    """Nothing can be written from now on."""
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
