"""Rows that both kinds of order have: kept states as heads, and large payloads."""

from collections.abc import Iterable, Iterator

from consensus.effects import Record
from learning.learner import StateKept, StepAdopted
from learning.state import decode_kept_state
from node.lab.checkers.finding import Event
from node.lab.store_audit.rows import DamagedStoreError, Row
from node.storage.tables import PAYLOAD_TABLE, STATE_TABLE


def kept_events(rows: Iterable[Row]) -> Iterator[Event]:
    """A kept state was a head once: its fitness and metrics are not in the store, and no checker reads them."""
    for row in rows:
        if row.table == PAYLOAD_TABLE:
            yield Record(PAYLOAD_TABLE, row.key, row.value)
        elif row.table == STATE_TABLE:
            kept = _decode(row)
            yield Record(STATE_TABLE, row.key, row.value)
            yield StepAdopted(kept.step, kept.height, 0.0, {}, kept.state_digest)


def _decode(row: Row) -> StateKept:
    """To a node its own records are beyond doubt; here they are not."""
    try:
        return decode_kept_state(row.value)
    except AssertionError as error:
        raise DamagedStoreError(str(error)) from error
