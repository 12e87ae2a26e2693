"""api.json: where the API of the node that runs in a folder listens; gone when it has stopped."""

from pathlib import Path

import msgspec

from node.errors import NodeError, NotRunningError, disk_error
from node.files import replace_file
from node.settings import Address

API_FILE_NAME = "api.json"


class _ApiFile(msgspec.Struct, frozen=True):
    host: str
    port: int


def write_api_address(folder: Path, address: Address) -> None:
    """Tell others on this machine where to ask. Raises NodeError."""
    content = msgspec.json.encode(_ApiFile(address.host, address.port))
    replace_file(folder / API_FILE_NAME, content, "write the API's address")


def read_api_address(folder: Path) -> Address:
    """Where the node of this folder says that its API listens. Raises NotRunningError, NodeError."""
    path = folder / API_FILE_NAME
    try:
        found = msgspec.json.decode(path.read_bytes(), type=_ApiFile)
    except FileNotFoundError as error:
        raise NotRunningError(f"no peer runs in {folder}", f"run_node.py start --data-dir {folder}") from error
    except OSError as error:
        raise disk_error("read", path, error) from error
    except msgspec.DecodeError as error:
        raise NodeError(f"{path} is damaged: {error}", f"remove it and start the peer again: rm {path}") from error
    return Address(found.host, found.port)
