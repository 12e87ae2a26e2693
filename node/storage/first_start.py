"""The folder that a peer's first start makes: where that start fails before the peer has run, nothing of it is left behind."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from node.common.errors import NodeError
from node.rules.network_rules import NetworkRules
from node.storage.export import has_run
from node.storage.folder import NodeFolder


@contextmanager
def first_folder(path: Path, rules: NetworkRules) -> Iterator[None]:
    """A new peer's folder, for its first start. Raises NodeError.

    It stays once its peer has run: what was signed with its key is known to others then. A key that lay there always stays.
    """
    before = frozenset(path.iterdir()) if path.is_dir() else None
    NodeFolder.create(path, rules)
    try:
        yield
    except NodeError:
        if not _has_run(path):
            _clear(path, before)
        raise


def _has_run(path: Path) -> bool:
    """What cannot be looked into may have run."""
    try:
        with NodeFolder.open(path) as folder:
            return has_run(folder.store)
    except NodeError:
        return True


def _clear(path: Path, before: frozenset[Path] | None) -> None:
    for made in path.iterdir():
        if made not in (before or ()):
            made.unlink()
    if before is None:
        path.rmdir()
