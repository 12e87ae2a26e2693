"""A simulated disk as machines and learners read it."""

from node.lab.simulation.disk import Records
from node.storage.tables import PAYLOAD_TABLE


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
