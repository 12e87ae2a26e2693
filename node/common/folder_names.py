"""What lies in a node's folder, and what to say of a folder that is none: read by commands that open nothing."""

from pathlib import Path

from node.common.invocation import command_text

KEY_FILE_NAME = "identity.pem"
NETWORK_FILE_NAME = "network.toml"
STORE_FILE_NAME = "kubrat.db"

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
