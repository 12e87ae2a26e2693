"""One peer's database as others may read it, while the peer runs and after its end: what has been recorded since last time."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from node.errors import NodeError
from node.replica import PAYLOAD_TABLE
from node.store import BUSY_SECONDS_MAX, SCHEMA_VERSION, checksum

Place = tuple[str, bytes]
"""Table and key of a row."""


class DamagedStoreError(Exception):
    """A row is not what was written; the message says which."""


@dataclass(frozen=True, slots=True)
class Row:
    """One record. Of a large payload, which is named by its digest, the value is left out."""

    table: str
    key: bytes
    value: bytes


@dataclass(frozen=True, slots=True)
class News:
    """`rows`: new or changed since the last reading, by table and key. `places`: of all rows that are there now."""

    rows: tuple[Row, ...] = ()
    places: tuple[Place, ...] = ()


class StoreReader:
    """Remembers which rows it has told; what a wiped or an old disk has lost stays told."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._told: dict[Place, int] = {}
        """Checksums: a row that comes back as it was is no news."""

    def news(self) -> News:
        """One consistent view of the database; nothing where there is none. Raises DamagedStoreError, NodeError."""
        if not self._path.exists():
            return News()
        with _explained(self._path), closing(_connection(self._path)) as connection:
            connection.execute("BEGIN")
            if connection.execute("PRAGMA user_version").fetchone()[0] != SCHEMA_VERSION:
                return News()  # its tables are not there yet
            stored: dict[Place, int] = {
                (table, key): number for table, key, number in connection.execute("SELECT kind, key, checksum FROM records")
            }
            fresh = sorted(place for place, number in stored.items() if self._told.get(place) != number)
            rows = tuple(_row(connection, place, stored[place]) for place in fresh)
        self._told.update(stored)
        return News(rows, tuple(sorted(stored)))


def _row(connection: sqlite3.Connection, place: Place, stored: int) -> Row:
    table, key = place
    if table == PAYLOAD_TABLE:
        return Row(table, key, b"")
    query = "SELECT value FROM records WHERE kind = ? AND key = ?"
    value: bytes = connection.execute(query, place).fetchone()[0]
    if checksum(table, key, value) != stored:
        raise DamagedStoreError(f"the checksum of {table} {key.hex()[:16]} is wrong")
    return Row(table, key, value)


def _connection(path: Path) -> sqlite3.Connection:
    """For reading alone: in WAL mode it never blocks the peer that writes."""
    return sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True, timeout=BUSY_SECONDS_MAX, isolation_level=None)


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.DatabaseError as error:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # absent where the error comes from the Python module itself
        if code in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}:
            raise DamagedStoreError(str(error)) from error
        raise NodeError(f"database {path} cannot be read: {error}") from error
