"""A node's folder: its key, its network's rules, its database, its lock, and where its API listens while it runs."""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from filelock import BaseFileLock, FileLock, Timeout

from node.common.address import Address
from node.common.errors import NodeError, disk_error
from node.common.files import KEY_FILE_NAME, NETWORK_FILE_NAME, STORE_FILE_NAME, make_folder, why_no_node_folder
from node.rules.network_file import read_network_file, write_network_file
from node.rules.network_rules import NetworkRules, RuleFields, differences, network_id_of_fields, rule_fields
from node.storage.api_address import API_FILE_NAME, write_api_file
from node.storage.identity import Identity, create_identity, load_identity
from node.storage.store import Store

LOCK_FILE_NAME = "lock"

HOLDER_CHARACTERS_MAX = 20
"""Of a process id; whatever else lies there is not for people."""

_META_PEER = "peer_id"
_META_RULES = "rules"


def link_weights(folder: Path, weights: Path | None) -> None:
    """So that a peer of this folder finds the weights that its network starts from, wherever it runs. Raises NodeError."""
    if weights is None:
        return
    link = folder / weights.name
    try:
        link.symlink_to(weights.resolve())
    except FileExistsError:  # they lie there already
        return
    except OSError as error:
        raise disk_error("link the weights", link, error) from error


@dataclass(frozen=True, slots=True)
class NodeFolder:
    """An open, locked folder; a context manager. Nobody else can open it meanwhile, not even by mistake."""

    path: Path
    identity: Identity
    rules: NetworkRules
    store: Store
    _lock: BaseFileLock

    @staticmethod
    def is_node_folder(path: Path) -> bool:
        """Whether `create` has finished there."""
        return (path / NETWORK_FILE_NAME).exists()

    @staticmethod
    def check_new(path: Path) -> None:
        """Raises NodeError where there is a node's folder already: another network's rules may be the only copy."""
        if NodeFolder.is_node_folder(path):
            raise NodeError(f"{path} is a node's folder already, and is never overwritten", "choose another folder")

    @staticmethod
    def create(path: Path, rules: NetworkRules) -> Identity:
        """Make the folder, its key (or keep the one that lies there) and its copy of the rules. Never overwrites.

        Raises NodeError.
        """
        identity = NodeFolder.create_key(path)
        write_network_file(path / NETWORK_FILE_NAME, rules)
        return identity

    @staticmethod
    def create_key(path: Path) -> Identity:
        """The first half of `create`: the folder with its key, before the rules are known. Raises NodeError."""
        NodeFolder.check_new(path)
        make_folder(path)
        key = path / KEY_FILE_NAME
        return load_identity(key) if key.exists() else create_identity(key)

    @classmethod
    def open(cls, path: Path, network_file: Path | None = None) -> Self:
        """Lock and check the folder; `network_file`, when given, must hold the same rules as the folder's own copy.

        Raises NodeError: no such folder, locked, another network's, another key's, read-only, disk full, corrupt database.
        """
        _check_node_folder(path)
        lock = _lock(path)
        try:
            (path / API_FILE_NAME).unlink(missing_ok=True)  # of a node that was killed
            identity = load_identity(path / KEY_FILE_NAME)
            rules = read_network_file(path / NETWORK_FILE_NAME)
            if network_file is not None:
                _check_network(path, rule_fields(rules), rule_fields(read_network_file(network_file)))
            store = _open_store(path, identity, rules)
        except BaseException:
            lock.release()
            raise
        return cls(path, identity, rules, store, lock)

    def write_api_address(self, host: str, port: int) -> None:
        """Tell `status` and `export` where this node's API listens. Raises NodeError."""
        write_api_file(self.path, Address(host, port), self.identity.peer_id.hex())

    def remove_api_address(self) -> None:
        """The API listens no more."""
        (self.path / API_FILE_NAME).unlink(missing_ok=True)

    def close(self) -> None:
        """Flush, and let others in."""
        self.remove_api_address()
        self.store.close()
        self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.close()


def _check_node_folder(path: Path) -> None:
    wrong = why_no_node_folder(path)
    if wrong is not None:
        raise NodeError(*wrong)


def _lock(path: Path) -> BaseFileLock:
    """The system frees the lock when the process ends, however it ends; until then the file says which process holds it."""
    lock_path = path / LOCK_FILE_NAME
    lock = FileLock(lock_path, mode=0o600, thread_local=False)
    try:
        lock.acquire(blocking=False)
        lock_path.write_text(f"{os.getpid()}\n", encoding="ascii")
    except Timeout as error:
        fix = "stop that peer, or use another --data-dir: one key must never run twice"
        raise NodeError(f"{path} is locked by a running peer (pid {_holder(lock_path)})", fix) from error
    except OSError as error:
        lock.release()
        raise disk_error("lock the folder with", lock_path, error) from error
    return lock


def _holder(lock_path: Path) -> str:
    try:
        return lock_path.read_text(encoding="ascii", errors="replace").strip()[:HOLDER_CHARACTERS_MAX] or "unknown"
    except OSError:
        return "unknown"


def _open_store(path: Path, identity: Identity, rules: NetworkRules) -> Store:
    """The database, which belongs to one key and one network from its first opening on."""
    store = Store.open(path / STORE_FILE_NAME)
    try:
        _check_owner(path, store, identity)
        _check_rules(path, store, rules)
    except BaseException:
        store.close()
        raise
    return store


def _check_owner(path: Path, store: Store, identity: Identity) -> None:
    ours = identity.peer_id.hex()
    owner = store.meta(_META_PEER)
    if owner is None:
        store.set_meta(_META_PEER, ours)
    elif owner != ours:
        raise NodeError(
            f"the folder {path} belongs to another key: its database is of peer {owner}, {KEY_FILE_NAME} is of peer {ours}",
            f"restore the key of peer {owner[:8]}, or use a new --data-dir for this one",
        )


def _check_rules(path: Path, store: Store, rules: NetworkRules) -> None:
    stored = store.meta(_META_RULES)
    if stored is None:
        store.set_meta(_META_RULES, json.dumps(rule_fields(rules)))
    else:
        _check_network(path, tuple((field, value) for field, value in json.loads(stored)), rule_fields(rules))


def _check_network(path: Path, ours: RuleFields, theirs: RuleFields) -> None:
    if ours == theirs:
        return
    raise NodeError(
        f"the folder {path} belongs to another network: it is of {network_id_of_fields(ours).hex()}, "
        f"the rules given are of {network_id_of_fields(theirs).hex()}; "
        f"they differ in {'; '.join(differences(ours, theirs))} (ours: the folder's)",
        "use a new --data-dir for another network, or restore the network file that this folder was made with",
    )
