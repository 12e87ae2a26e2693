"""One peer's database as others may read it, while the peer runs and after its end: what is new in it, or all of it."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from node.common.errors import NodeError
from node.storage.batch_writer import checksum
from node.storage.store import BUSY_SECONDS_MAX, version_of
from node.storage.tables import PAYLOAD_TABLE

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
        self.has_opened = False
        """Whether there was a database at the last reading."""
        self._told: dict[Place, int] = {}
        """Checksums: a row that comes back as it was is no news."""

    def news(self) -> News:
        """One consistent view of the database; nothing where there is none. Raises DamagedStoreError, NodeError."""
        with opened(self._path) as connection:
            self.has_opened = connection is not None
            if connection is None:
                return News()
            stored = dict(_checked_place(*row) for row in connection.execute("SELECT kind, key, checksum FROM records"))
            fresh = sorted(place for place, number in stored.items() if self._told.get(place) != number)
            rows = tuple(_row(connection, place, stored[place]) for place in fresh)
        self._told.update(stored)
        return News(rows, tuple(sorted(stored)))


class StoredRecords:
    """All rows of a database as its node finds them at a restart. Implements `node.runtime.composition.PeerRows`."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def get(self, table: str, key: bytes) -> bytes | None:
        """What was recorded under (table, key)."""
        found = self._connection.execute(_VALUE_QUERY, (table, key)).fetchone()
        return None if found is None else _bytes(table, found[0])

    def records(self, table: str) -> Iterator[tuple[bytes, bytes]]:
        """All (key, value) of a table, by key. Raises DamagedStoreError."""
        query = "SELECT key, value FROM records WHERE kind = ? ORDER BY key"
        for key, value in self._connection.execute(query, (table,)):
            yield _bytes(table, key), _bytes(table, value)


_VALUE_QUERY = "SELECT value FROM records WHERE kind = ? AND key = ?"


def _row(connection: sqlite3.Connection, place: Place, stored: int) -> Row:
    table, key = place
    if table == PAYLOAD_TABLE:
        return Row(table, key, b"")
    value = _bytes(f"{table} {key.hex()[:16]}", connection.execute(_VALUE_QUERY, place).fetchone()[0])
    if checksum(table, key, value) != stored:
        raise DamagedStoreError(f"the checksum of {table} {key.hex()[:16]} is wrong")
    return Row(table, key, value)


def _checked_place(table: object, key: object, stored: object) -> tuple[Place, int]:
    """SQLite keeps a value of any type in any column (sqlite.org/datatype3.html); a node writes these alone."""
    if not isinstance(table, str) or not isinstance(key, bytes) or not isinstance(stored, int):
        raise DamagedStoreError(f"a row of {table!r} has the key {key!r} and the checksum {stored!r}")
    return (table, key), stored


def _bytes(where: str, found: object) -> bytes:
    if not isinstance(found, bytes):
        raise DamagedStoreError(f"{where} holds {found!r} where bytes were written")
    return found


@contextmanager
def opened(path: Path) -> Iterator[sqlite3.Connection | None]:
    """One consistent view of a database; None where there is none, or its tables are not there yet.

    Raises DamagedStoreError, NodeError.
    """
    if not path.exists():
        yield None
        return
    with _explained(path), closing(_connection(path)) as connection:
        connection.execute("BEGIN")
        yield connection if version_of(path, connection) else None


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
        raise NodeError(f"database {path} cannot be read: {error}", "let no peer run on it meanwhile, and try again") from error
