"""api.json: where the API of the node that runs in a folder listens, and who it is; gone when it has stopped in good order."""

import os
import shlex
from pathlib import Path

import msgspec
import psutil

from node.common.address import Address
from node.common.errors import NodeError, NotRunningError, disk_error
from node.common.files import replace_file, why_no_node_folder
from node.common.wording import command_text

API_FILE_NAME = "api.json"

PEER_HEADER = "Kubrat-Peer"
"""In every answer of the API: the id of the peer that answers, in hexadecimal."""


class ApiFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a running node leaves in its folder. A node that was killed leaves it behind."""

    host: str
    port: int
    peer_id: str
    """Hexadecimal; who answers at the address with another id has come after this node's end."""
    pid: int

    @property
    def address(self) -> Address:
        """Where the API listens, or did."""
        return Address(self.host, self.port)


def write_api_file(folder: Path, address: Address, peer_id: str) -> None:
    """Tell others on this machine where to ask this process. Raises NodeError."""
    content = msgspec.json.encode(ApiFile(address.host, address.port, peer_id, os.getpid()))
    replace_file(folder / API_FILE_NAME, content, "write the API's address")


def read_api_file(folder: Path) -> ApiFile:
    """What the node of this folder says of itself. Raises NotRunningError where no process of that id is left, NodeError."""
    path, fix = folder / API_FILE_NAME, command_text("start", "--data-dir", folder)
    try:
        found = msgspec.json.decode(path.read_bytes(), type=ApiFile)
    except FileNotFoundError as error:
        raise NotRunningError(*(why_no_node_folder(folder) or (f"no peer runs in {folder}", fix))) from error
    except OSError as error:
        raise disk_error("read", path, error) from error
    except msgspec.DecodeError as error:
        raise NodeError(
            f"{path} is damaged: {error}", f"remove it and start the peer again: {shlex.join(['rm', str(path)])}"
        ) from error
    if not psutil.pid_exists(found.pid):  # it may be a later process of this id: its answer says
        raise NotRunningError(f"no peer runs in {folder}: its last one (pid {found.pid}) was killed", fix)
    return found
