"""Large payloads, read by a worker process straight from its peer's store: they need not cross a pipe."""

import sqlite3
from pathlib import Path

from node.storage.store import BUSY_SECONDS_MAX, checksum, corrupt
from node.storage.tables import PAYLOAD_TABLE


class StoredPayloads:
    """Reads payloads by digest (`learning.gradient.ledger.Gradients`). Opened at the first reading."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection: sqlite3.Connection | None = None

    def payload(self, digest: bytes) -> bytes | None:
        """The bytes of this digest, or None where they are not held. Raises CorruptStoreError."""
        if self._connection is None:
            self._connection = sqlite3.connect(f"file:{self._path}?mode=ro", uri=True, timeout=BUSY_SECONDS_MAX)
        query = "SELECT value, checksum FROM records WHERE kind = ? AND key = ?"
        found: tuple[bytes, int] | None = self._connection.execute(query, (PAYLOAD_TABLE, digest)).fetchone()
        if found is None:
            return None
        if found[1] != checksum(PAYLOAD_TABLE, digest, found[0]):
            raise corrupt(self._path, f"the payload {digest.hex()[:16]} is not what was written")
        return found[0]
