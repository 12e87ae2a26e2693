"""A simulated disk as machines and learners read it."""

from learning.checkpoint import decode_kept_state
from learning.learner import StateKept
from node.lab.simulation.disk import Records
from node.storage.tables import PAYLOAD_TABLE, STATE_KEY, STATE_TABLE


class DiskRows:
    """Reads a simulated disk: for the machines' archives and for learners that look for large payloads."""

    def __init__(self, records: Records) -> None:
        self._records = records

    def value(self, table: str, key: bytes) -> bytes | None:
        """What was recorded under (table, key)."""
        return self._records.get((table, key))

    def block(self, key: bytes) -> bytes | None:
        """What was recorded under this key of the block table."""
        return self._records.get(("block", key))

    def payload(self, digest: bytes) -> bytes | None:
        """The large payload of this digest."""
        return self._records.get((PAYLOAD_TABLE, digest))


def kept_state(records: Records) -> StateKept | None:
    """The newest final state on a disk."""
    data = records.get((STATE_TABLE, STATE_KEY))
    return None if data is None else decode_kept_state(data)


def stored_rows(records: Records, tables: tuple[str, ...]) -> list[tuple[str, bytes, bytes]]:
    """Table by table, as a store reads them, by key in each."""
    rows = sorted((tables.index(table), key, value) for (table, key), value in records.items() if table in tables)
    return [(tables[place], key, value) for place, key, value in rows]
