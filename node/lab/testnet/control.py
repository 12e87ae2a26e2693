"""How a running testnet is found and asked: control.json in its folder, a pointer for this user, and what its API says."""

import contextlib
import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import msgspec
import psutil

from node.common.address import Address
from node.common.errors import EXIT_CANNOT_NOW, NodeError, disk_error
from node.common.files import replace_file
from node.common.wording import command_text

CONTROL_FILE_NAME = "control.json"

PEERS_PATH = "/v1/peers"
EVENTS_PATH = "/v1/events"

TOKEN_BYTES = 16
"""Whoever can read the file may command; 128 bits are not guessed."""


class NoTestnetError(NodeError):
    """No testnet runs where one was expected."""

    def __init__(self, message: str) -> None:
        super().__init__(message, f"start one: {command_text('testnet', '--until-interrupted')}", EXIT_CANNOT_NOW)


class ControlFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where the supervisor of a running testnet listens; one that was killed leaves it behind."""

    host: str
    port: int
    pid: int
    token: str
    """Sent along with every request."""

    @property
    def address(self) -> Address:
        """Where the supervisor listens."""
        return Address(self.host, self.port)


class PeerReport(msgspec.Struct, frozen=True):
    """One peer of a running testnet."""

    number: int
    name: str
    id: str
    state: str
    """absent, starting, running, silent, paused, killed or stopped."""
    pid: int | None
    fault: str
    was_faulty: bool
    group: int | None
    """Its side of the partition, from 0."""
    height: int | None
    state_digest: str | None
    test_accuracy: float | None
    peers_connected: int
    data_dir: str


class CommandReport(msgspec.Struct, frozen=True):
    """What was done to the peers, in words; `seconds` since they were started."""

    seconds: float
    said: str


class TestnetReport(msgspec.Struct, frozen=True):
    """A running testnet."""

    __test__ = False

    folder: str
    pid: int
    seconds: float
    consensus: str
    learning: str
    agreed_height: int | None
    peers: tuple[PeerReport, ...]
    commands: tuple[CommandReport, ...]


class Refusal(msgspec.Struct, frozen=True):
    """Why an event was refused: a NodeError on its way."""

    message: str
    fix: str | None
    exit_code: int


@contextlib.contextmanager
def published(root: Path, control: ControlFile) -> Iterator[None]:
    """The testnet can be found while this lasts. Raises NodeError."""
    path, pointer = root / CONTROL_FILE_NAME, _pointers() / str(control.pid)
    replace_file(path, msgspec.json.encode(control), "write the control file", mode=0o600)
    try:
        replace_file(pointer, os.fsencode(root), "write the pointer to the testnet", mode=0o600)
        yield
    finally:
        path.unlink(missing_ok=True)
        pointer.unlink(missing_ok=True)


def control_of(root: Path) -> ControlFile:
    """How to command the testnet in this folder. Raises NoTestnetError where its supervisor is gone, NodeError."""
    path = root / CONTROL_FILE_NAME
    try:
        found = msgspec.json.decode(path.read_bytes(), type=ControlFile)
    except FileNotFoundError as error:
        raise NoTestnetError(f"no testnet runs in {root}") from error
    except OSError as error:
        raise disk_error("read", path, error) from error
    except msgspec.DecodeError as error:
        raise NodeError(f"{path} is damaged: {error}", "stop the testnet with Ctrl-C, and start it again") from error
    if not psutil.pid_exists(found.pid):
        raise NoTestnetError(f"the testnet in {root} (pid {found.pid}) was killed")
    return found


def running_folders() -> tuple[Path, ...]:
    """The folders of this user's testnets that run, or did until they were killed, in alphabetical order."""
    pointers = _pointers()
    folders = []
    for pointer in sorted(pointers.iterdir()):
        if not pointer.name.isdecimal():
            continue
        if not psutil.pid_exists(int(pointer.name)):
            pointer.unlink(missing_ok=True)  # of a testnet that was killed
            continue
        with contextlib.suppress(FileNotFoundError):  # it has ended in this moment
            folders.append(Path(os.fsdecode(pointer.read_bytes())))
    return tuple(sorted(folders))


def _pointers() -> Path:
    """A folder for this user's testnets, wherever they lie. Raises NodeError where somebody else could write in it."""
    folder = Path(tempfile.gettempdir()) / f"kubrat-{os.getuid()}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
    except OSError as error:
        raise disk_error("make the folder", folder, error) from error
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o022:
        raise NodeError(f"{folder} is not a folder of yours alone", "remove it, or set TMPDIR to a folder of your own")
    return folder
