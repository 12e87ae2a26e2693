"""Files that are whole or not there, and what lies in a node's folder: read by commands that open nothing.

New files never overwrite, replaced ones change in one step.
"""

import contextlib
import os
from pathlib import Path

from node.common.errors import NodeError, disk_error
from node.common.wording import command_text


def write_new_file(path: Path, content: bytes, doing: str, mode: int) -> None:
    """Create `path` durably with these permissions. Raises NodeError when it exists or cannot be written.

    `doing` is what the user sees that we tried, like "write the key".
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    except FileExistsError as error:
        raise NodeError(f"{path} is there already, and is never overwritten", "choose another path, or move it away") from error
    except OSError as error:
        raise disk_error(doing, path, error) from error
    try:
        _write_durably(descriptor, content)
        _sync_folder(path.parent)
    except OSError as error:
        path.unlink()
        raise disk_error(doing, path, error) from error


def check_free(path: Path, *, is_forced: bool) -> None:
    """Raises NodeError where a file, or a link, lies in the place that a person gave; /dev/null and its like take anything."""
    if not is_forced and (path.is_file() or path.is_symlink()):
        raise NodeError(f"{path} is there already", "choose another path, or add --force to overwrite it")


def make_folder(path: Path) -> None:
    """For its owner alone, with those above it; one that is there stays as it is. Raises NodeError."""
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except FileExistsError as error:
        raise NodeError(f"{path} is a file, not a folder", "choose another folder") from error
    except OSError as error:
        raise disk_error("make the folder", path, error) from error


def replace_file(path: Path, content: bytes, doing: str, mode: int = 0o644) -> None:
    """Write `path`, with this mode, so that a reader sees the old content or the new, never a part. Raises NodeError."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
        _write_durably(descriptor, content)
        temporary.replace(path)
        _sync_folder(path.parent)
    except OSError as error:
        with contextlib.suppress(OSError):  # where it could not be made, it cannot be removed either
            temporary.unlink()
        raise disk_error(doing, path, error) from error


def _write_durably(descriptor: int, content: bytes) -> None:
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    """Without this a new name may be gone after a power cut, though its content was synced (man 2 fsync)."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


KEY_FILE_NAME = "identity.pem"
NETWORK_FILE_NAME = "network.toml"
STORE_FILE_NAME = "kubrat.db"
FRAME_FILE_NAME = "frame.safetensors"

NAMED_MAX = 3
"""Of the peers' folders inside a folder; a testnet has 64."""


def why_no_node_folder(path: Path) -> tuple[str, str] | None:
    """What is wrong with `path` as a peer's folder, and how to mend it; None where it is one."""
    is_given_key = (path / KEY_FILE_NAME).exists()
    if (path / NETWORK_FILE_NAME).exists() and is_given_key:
        return None
    inside = _folders_inside(path)
    if inside and not is_given_key:
        named = ", ".join(folder.name for folder in inside[:NAMED_MAX]) + (", ..." if len(inside) > NAMED_MAX else "")
        return f"{path} is not a node's folder, but holds some: {named}", f"name one of them: --data-dir {inside[0]}"
    if (path / NETWORK_FILE_NAME).exists():
        fix = f"restore it from your copy; without it, make another peer: {_init(path.with_name('my-peer'), path)}"
        return f"there is no key {path / KEY_FILE_NAME}", fix
    fix = f"check the path, or make a new peer there: {command_text('init', path)}"
    if not path.exists():
        return f"there is no folder {path}", fix
    if (path / STORE_FILE_NAME).exists():
        return f"{path} has lost its {NETWORK_FILE_NAME}", f"copy {NETWORK_FILE_NAME} there from another peer of the network"
    return f"{path} is not a node's folder: it holds no {NETWORK_FILE_NAME}", fix


def _init(new: Path, rules: Path) -> str:
    return command_text("init", new, "--network", rules / NETWORK_FILE_NAME)


def _folders_inside(path: Path) -> list[Path]:
    """Of peers: a testnet's, or those that `init --members` makes, in the order of their numbers."""
    found = [network_file.parent for network_file in path.glob(f"*/{NETWORK_FILE_NAME}")]
    return sorted(found, key=lambda folder: (len(folder.name), folder.name))
