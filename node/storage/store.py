"""Durable memory: SQLite in WAL mode beside a redo log, one writer thread, one commit for all that waits.

A write is acknowledged only once it is synced to the disk; a write that fails stops the store for good, so that nothing is
ever acknowledged that a restart would not find. How it is synced is `batch_writer.py`'s. Reads go directly to the database, on
the thread that opened the store (6 µs, against 70 µs through an executor).
"""

import asyncio
import itertools
import queue
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from node.common.errors import NodeError
from node.storage.batch_writer import BatchWriter, Meta, checksum
from node.storage.tables import PAYLOAD_TABLE, Row

STORE_VERSION = 3
"""Kept in SQLite's user_version. Raised when the tables change, when what lies in a row is encoded otherwise (blocks, commits,
kept states), or when peers agree on something else: what was agreed on before would then be replayed by other rules.

1: gradients of leaders had one voice each, whatever they had led. 2: there was no redo log, and the signed round lay in a file
of its own.
"""

GROUP_BATCHES_MAX = 1_024
"""Batches in one commit: a commit costs one sync of 4 ms, so more would only delay the first of them."""

BUSY_SECONDS_MAX = 10.0
"""How long to wait for another process that reads our database, like `export`; readers do not block writers in WAL mode."""

# The rows have numbers, and the keys an index of their own. Without, a look-up compares whole rows on its way down, and reads
# each that is longer than a page to its end: 55 ms for a digest that is not there, beside four states of 12 MB.
_SCHEMA = """
CREATE TABLE IF NOT EXISTS records (
    kind TEXT NOT NULL, key BLOB NOT NULL, value BLOB NOT NULL, checksum INTEGER NOT NULL, PRIMARY KEY (kind, key)
);
CREATE TABLE IF NOT EXISTS meta (name TEXT NOT NULL PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
"""
_RESYNC = (
    "move {name}, {name}-wal and {name}-shm away and start again: "
    "the peer re-syncs from the others (your key is in identity.pem, keep it)"
)
_CORRUPT_CODES = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})


class CorruptStoreError(NodeError):
    """The database does not hold what was written."""


class StoreFailedError(NodeError):
    """The disk refuses: full, read-only, broken. The node must stop; what was acknowledged is safe."""


@dataclass(frozen=True, slots=True)
class _Batch:
    rows: tuple[Row, ...]
    meta: Meta
    signed_round: int
    """0: nothing was signed."""
    durable: Future[None] = field(default_factory=Future)


class Store:
    """The records of one node. Made by `Store.open`; `close` flushes."""

    def __init__(self, path: Path, reader: sqlite3.Connection, writer: BatchWriter) -> None:
        self.path = path
        self._reader = reader
        self._writer = writer
        self.signed_round = writer.signed_round
        """The highest signed for when the store was opened; 0: none. No old copy of the database lowers it."""
        self._batches: queue.SimpleQueue[_Batch | None] = queue.SimpleQueue()
        self._failure: NodeError | None = None
        self._is_closed = False
        self._thread = threading.Thread(target=self._write_all, name="store", daemon=True)
        self._thread.start()

    @classmethod
    def open(cls, path: Path) -> "Store":
        """Open or make the database, check it from end to end, and put back what a power cut has taken from it.

        Raises CorruptStoreError, StoreFailedError (disk full, read-only), or NodeError (made by another version; damaged log).
        """
        with _explaining(path):
            connection = _connection(path, only_reads=False)
            try:
                _prepare(path, connection)
                writer = BatchWriter.open(path, connection)
                reader = _connection(path, only_reads=True)
            except BaseException:
                connection.close()
                raise
        return cls(path, reader, writer)

    @property
    def writer_ident(self) -> int | None:
        """Of the thread that writes (`threading.Thread.ident`); None once it has ended."""
        return self._thread.ident if self._thread.is_alive() else None

    async def write(self, rows: Sequence[Row], signed_round: int | None = None) -> None:
        """Store the rows, in one commit; returns once they are durable. An equal key is overwritten, in the rows' order.

        `signed_round`: a round that the peer is about to sign for; durable with them, and in no copy of the database.
        A cancelled write may or may not be carried out. Raises StoreFailedError, now and for every later write.
        """
        if rows or signed_round is not None:
            await asyncio.wrap_future(self._submit(_Batch(tuple(rows), (), signed_round or 0)))

    def set_meta(self, name: str, value: str) -> None:
        """Store a fact about the database itself; returns once it is durable."""
        self._submit(_Batch((), ((name, value),), 0)).result()

    def meta(self, name: str) -> str | None:
        """A fact stored by `set_meta`."""
        with _explaining(self.path):
            found = self._reader.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
        return None if found is None else str(found[0])

    def get(self, table: str, key: bytes) -> bytes | None:
        """The value stored under the key."""
        query = "SELECT key, value, checksum FROM records WHERE kind = ? AND key = ?"
        return next((value for _, value in self._rows(table, query, (table, key))), None)

    def has(self, table: str, key: bytes) -> bool:
        """Whether something is stored under the key; its bytes are not looked at."""
        with _explaining(self.path):
            return self._reader.execute("SELECT 1 FROM records WHERE kind = ? AND key = ?", (table, key)).fetchone() is not None

    def keys(self, table: str) -> tuple[bytes, ...]:
        """All keys of a table, ascending; their values are not looked at."""
        with _explaining(self.path):
            rows = self._reader.execute("SELECT key FROM records WHERE kind = ? ORDER BY key", (table,))
            return tuple(key for (key,) in rows)

    def last(self, table: str) -> tuple[bytes, bytes] | None:
        """The (key, value) with the greatest key."""
        query = "SELECT key, value, checksum FROM records WHERE kind = ? ORDER BY key DESC LIMIT 1"
        return next(self._rows(table, query, (table,)), None)

    def records(self, table: str) -> Iterator[tuple[bytes, bytes]]:
        """All (key, value) of a table, in the order of their keys, as they are at the first step. Read it to the end."""
        return self._rows(table, "SELECT key, value, checksum FROM records WHERE kind = ? ORDER BY key", (table,))

    def close(self) -> None:
        """Write what waits, and close. Raises nothing; whoever waits for a failed write is told there."""
        if self._is_closed:
            return
        self._is_closed = True
        self._batches.put(None)
        self._thread.join()
        self._reader.close()
        self._writer.close()

    def _rows(self, table: str, query: str, parameters: tuple[str | bytes, ...]) -> Iterator[tuple[bytes, bytes]]:
        with _explaining(self.path), closing(self._reader.execute(query, parameters)) as cursor:
            for key, value, stored in cursor:
                if stored != checksum(table, key, value):
                    raise corrupt(self.path, f"the checksum of {table} {key.hex()[:16]} is wrong")
                yield key, value

    def _submit(self, batch: _Batch) -> Future[None]:
        assert not self._is_closed, "written to after close"
        self._batches.put(batch)
        return batch.durable

    # --- the writer thread ---

    def _write_all(self) -> None:
        """The thread's whole life: ends with the first None."""
        while batches := self._waiting():
            if self._failure is None:
                self._failure = self._commit(batches)
            for batch in batches:
                _settle(batch.durable, self._failure)

    def _waiting(self) -> list[_Batch]:
        """Everything that waits, at least one batch; nothing once the store is being closed."""
        batches: list[_Batch] = []
        while len(batches) < GROUP_BATCHES_MAX and not (batches and self._batches.empty()):
            batch = self._batches.get()
            if batch is None:
                self._batches.put(None)  # what came before it is written first
                break
            batches.append(batch)
        return batches

    def _commit(self, batches: Sequence[_Batch]) -> NodeError | None:
        """One transaction for all. After a failure nothing more is written: the transaction may be open."""
        rows = tuple(itertools.chain.from_iterable(batch.rows for batch in batches))
        meta = tuple(itertools.chain.from_iterable(batch.meta for batch in batches))
        try:
            self._writer.write(rows, meta, max(batch.signed_round for batch in batches))
        except sqlite3.Error as error:
            return _explanation(self.path, error)
        except NodeError as error:
            return StoreFailedError(error.message, error.fix or "start again: nothing acknowledged is lost")
        except Exception as error:  # noqa: BLE001 - nobody is above: who waits for this write would wait for ever
            return StoreFailedError(f"writing failed: {error!r}", "start again: nothing acknowledged is lost")
        return None


def _settle(durable: Future[None], failure: NodeError | None) -> None:
    if not durable.set_running_or_notify_cancel():
        return
    if failure is None:
        durable.set_result(None)
    else:
        durable.set_exception(failure)


# --- opening --------------------------------------------------------------------------------------------------------


def _connection(path: Path, only_reads: bool) -> sqlite3.Connection:
    """Autocommit, so that BEGIN and COMMIT stand where we write them. The writer is handed to its thread after opening."""
    connection = sqlite3.connect(path, timeout=BUSY_SECONDS_MAX, isolation_level=None, check_same_thread=only_reads)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    if only_reads:
        connection.execute("PRAGMA query_only = ON")
    return connection


def version_of(path: Path, connection: sqlite3.Connection) -> int:
    """STORE_VERSION, or 0 where no table was made yet. Raises NodeError for every other version."""
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    if version not in {0, STORE_VERSION}:
        age = "a newer" if version > STORE_VERSION else "an older"
        raise NodeError(
            f"database {path} was made by {age} version of kubrat (store version {version}, this one has {STORE_VERSION})",
            f"go on with that version, or {_RESYNC.format(name=path.name)}",
        )
    return version


def _prepare(path: Path, connection: sqlite3.Connection) -> None:
    version = version_of(path, connection)
    findings = [row[0] for row in connection.execute("PRAGMA quick_check(3)")]
    if findings != ["ok"]:
        raise corrupt(path, "; ".join(finding.replace("\n", " ") for finding in findings))
    if version == 0:
        connection.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} PRAGMA user_version = {STORE_VERSION}; COMMIT;")


# --- what went wrong ------------------------------------------------------------------------------------------------


@contextmanager
def _explaining(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise _explanation(path, error) from error


def _explanation(path: Path, error: sqlite3.Error) -> NodeError:
    """SQLite's error, by its primary result code (https://www.sqlite.org/rescode.html)."""
    extended = getattr(error, "sqlite_errorcode", 0)  # absent where the error comes from the Python module itself
    code = extended & 0xFF
    if code in _CORRUPT_CODES:
        return corrupt(path, str(error))
    match code:
        case sqlite3.SQLITE_FULL:
            reason, fix = "be written: the disk is full", "free some space and start again: nothing acknowledged is lost"
        case sqlite3.SQLITE_READONLY:
            reason, fix = "be written: it is read-only", "give your user the right to write to the folder and its files"
        case sqlite3.SQLITE_CANTOPEN:
            reason, fix = "be opened", "check that the folder exists and that your user may write to it"
        case sqlite3.SQLITE_IOERR:
            reason, fix = (
                f"be written: the disk failed ({_name_of(error)})",
                "check the disk (dmesg, ulimit -f) and start again",
            )
        case _:
            reason, fix = f"be used: {error} ({_name_of(error)})", "start again: nothing acknowledged is lost"
    return StoreFailedError(f"database {path} cannot {reason}", fix)


def _name_of(error: sqlite3.Error) -> str:
    return getattr(error, "sqlite_errorname", type(error).__name__)


def corrupt(path: Path, detail: str) -> CorruptStoreError:
    """The error that says so, and how the peer gets another database."""
    return CorruptStoreError(
        f"database {path} is corrupt: {detail}",
        f"stop the node, {_RESYNC.format(name=path.name)}",
    )


class StoredPayloads:
    """A worker's way to large payloads, which need not cross a pipe (`learning.gradient.ledger.Gradients`).

    The database is opened at the first reading.
    """

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
