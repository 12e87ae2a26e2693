"""A peer's disk over virtual time: rows that are durable, rows on their way, and what a crash leaves of them.

As in the real store a batch is one transaction: after a crash all of it is there or nothing, and nothing that was acknowledged
is lost, unless the disk lies about what it has synced.
"""

from collections import deque
from dataclasses import dataclass, field
from functools import lru_cache

from consensus.types import Instant
from node.storage.tables import PAYLOAD_TABLE, Row

Records = dict[tuple[str, bytes], bytes]
"""(table, key) -> value."""

Undo = list[Row]
"""Rows as they were before a batch, the last written first."""

VALUES_SHARED = 4_096
"""Newest values of all disks: 32 rounds of 128 members."""

UNSYNCED_BATCHES_MAX = 4_096
"""What a lying disk may still lose, in batches; older ones have reached the platter. More than any test holds back."""


@dataclass
class Disk:
    """What survives the peer's process. `rows` is what a read finds: the durable rows."""

    rows: Records = field(default_factory=dict)
    guard_round: int = 0
    """The signed round in the redo log: no backup and no wiping touches that."""
    is_full: bool = False
    unsynced_ms: int = 0
    """A disk that lies acknowledges at once, and loses what is younger than this when the power fails; 0: it is honest."""
    backup: Records | None = None
    _unsynced: deque[tuple[Instant, Undo]] = field(default_factory=lambda: deque(maxlen=UNSYNCED_BATCHES_MAX))

    def write(self, batch: tuple[Row, ...], now: Instant, signed_round: int | None = None) -> None:
        """Make a batch durable, whole."""
        assert not self.is_full, "a full disk takes nothing"
        if signed_round is not None:
            self.guard_round = signed_round
        if self.unsynced_ms:
            undo = [(table, key, self.rows.get((table, key))) for table, key, _ in reversed(batch)]
            self._unsynced.append((now, undo))
        self._apply(batch)

    def lose_tail(self, now: Instant) -> int:
        """The power fails: what a lying disk held back is gone, the newest first. How many batches that were."""
        lost = 0
        while self._unsynced and now - self._unsynced[-1][0] < self.unsynced_ms:
            self._apply(self._unsynced.pop()[1])
            lost += 1
        self._unsynced.clear()
        return lost

    def keep_backup(self) -> None:
        """Copy all rows, to be restored later."""
        self.backup = dict(self.rows)

    def restore_backup(self) -> None:
        """Put the old copy in place of what is there. The dictionary stays the same object: machines read from it."""
        assert self.backup is not None, "nothing was kept"
        self.replace(self.backup)

    def replace(self, rows: Records) -> None:
        """Hold these rows and no others."""
        kept = dict(rows)
        self._unsynced.clear()
        self.rows.clear()
        self.rows.update(kept)

    def _apply(self, rows: tuple[Row, ...] | Undo) -> None:
        for table, key, value in rows:
            if value is None:
                self.rows.pop((table, key), None)
            else:
                self.rows[table, key] = _shared(value)


@lru_cache(VALUES_SHARED)
def _shared(value: bytes) -> bytes:
    """The first of equal values: a block on the disks of a hundred members is there once."""
    return value


class DiskRows:
    """Implements `node.runtime.composition.PeerRows`."""

    def __init__(self, records: Records) -> None:
        self._records = records

    def get(self, table: str, key: bytes) -> bytes | None:
        """What was recorded under (table, key)."""
        return self._records.get((table, key))

    def records(self, table: str) -> list[tuple[bytes, bytes]]:
        """All of a table, by key, as a store reads them."""
        return sorted((key, value) for (other, key), value in self._records.items() if other == table)

    @property
    def payloads(self) -> tuple[bytes, ...]:
        """The digests of all large payloads, in the order in which they were recorded."""
        return tuple(key for table, key in self._records if table == PAYLOAD_TABLE)
