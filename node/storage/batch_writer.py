"""Writes batches of rows: into the database and, so that they are durable with one cheap sync, into the redo log.

A batch is one transaction. It is synced in the log alone (`redo_log.py`), which costs a third of the processor time of a synced
commit; the database is synced once in many batches, and for large ones, and then a new log begins.
"""

import itertools
import secrets
import sqlite3
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from node.common.errors import disk_error
from node.storage.redo_log import REDO_LOG_NAME, LogContent, RedoLog, read_redo_log
from node.storage.tables import Row

Statement = tuple[str, tuple[tuple[str | bytes | int, ...], ...]]
"""SQL, and its parameters for each row."""

Meta = tuple[tuple[str, str], ...]
"""Facts about the database itself: (name, value)."""

LOGGED_BYTES_MAX = 65_536
"""A batch with more bytes in its values is synced in the database: writing a gradient twice would cost more than that."""

_INSERT_RECORD = "INSERT OR REPLACE INTO records (kind, key, value, checksum) VALUES (?, ?, ?, ?)"
_DELETE_RECORD = "DELETE FROM records WHERE kind = ? AND key = ?"
_INSERT_META = "INSERT OR REPLACE INTO meta (name, value) VALUES (?, ?)"
_META_OPENING = "opening"
"""Drawn at each opening of the database: a copy from an earlier one is known by it."""
_META_NUMBER = "batch"
"""Of the newest batch in the database."""


class BatchWriter:
    """Owns the connection that writes. Every method raises sqlite3.Error and NodeError; after either it must not be used."""

    def __init__(self, path: Path, connection: sqlite3.Connection, content: LogContent, number: int) -> None:
        self.signed_round = content.signed_round
        """The highest round that the peer has signed for; 0: none."""
        self._path = path
        self._connection = connection
        self._log = RedoLog(path)
        self._opening = secrets.token_hex(8)
        self._number = number

    @classmethod
    def open(cls, database: Path, connection: sqlite3.Connection) -> Self:
        """Give the database what it lacks and only the log has, and begin a new log."""
        path = database.with_name(REDO_LOG_NAME)
        content = read_redo_log(path)
        held: dict[str, str] = dict(connection.execute("SELECT name, value FROM meta"))
        number = int(held.get(_META_NUMBER, 0))
        missing = content.missing_from(held.get(_META_OPENING, ""), number)
        writer = cls(path, connection, content, max(number, content.last_number))
        rows = tuple(itertools.chain.from_iterable(batch.rows for batch in missing))
        writer.write(rows, ((_META_OPENING, writer._opening),))
        return writer

    def write(self, rows: tuple[Row, ...], meta: Meta = (), signed_round: int = 0) -> None:
        """The next batch, in the order of its rows; returns once it is durable. `signed_round`: 0 where nothing is signed."""
        number, signed_round = self._number + 1, max(signed_round, self.signed_round)
        is_large = sum(len(value) for _, _, value in rows if value is not None) > LOGGED_BYTES_MAX
        is_synced = is_large or bool(meta) or self._log.is_full
        if is_synced:
            self._connection.execute("PRAGMA synchronous = FULL")
        self._commit(rows, (*meta, (_META_NUMBER, str(number))))
        if is_synced:
            with self._explained():
                self._log.begin(self._opening, number, signed_round)
            self._connection.execute("PRAGMA synchronous = NORMAL")
        else:
            with self._explained():
                self._log.append(number, signed_round, rows)
        self._number, self.signed_round = number, signed_round

    def close(self) -> None:
        """With the last connection SQLite moves its write-ahead log into the database, synced."""
        self._connection.close()
        self._log.close()

    def _commit(self, rows: tuple[Row, ...], meta: Meta) -> None:
        self._connection.execute("BEGIN IMMEDIATE")
        for statement, parameters in _statements(rows):
            self._connection.executemany(statement, parameters)
        self._connection.executemany(_INSERT_META, meta)
        self._connection.execute("COMMIT")

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Raises NodeError for what the system says."""
        try:
            yield
        except OSError as error:
            raise disk_error("write the redo log", self._path, error) from error


def _statements(rows: Sequence[Row]) -> Iterator[Statement]:
    """Runs of rows that are stored, and runs that are forgotten."""
    for is_forgotten, run in itertools.groupby(rows, key=lambda row: row[2] is None):
        if is_forgotten:
            yield _DELETE_RECORD, tuple((table, key) for table, key, _ in run)
        else:
            stored = ((table, key, value) for table, key, value in run if value is not None)
            yield _INSERT_RECORD, tuple((table, key, value, checksum(table, key, value)) for table, key, value in stored)


def checksum(table: str, key: bytes, value: bytes) -> int:
    """CRC-32 of a row: SQLite checks the structure of its pages, not the bytes in them."""
    return zlib.crc32(value, zlib.crc32(key, zlib.crc32(table.encode())))
