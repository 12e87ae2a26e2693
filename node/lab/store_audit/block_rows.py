"""Proof of work: one peer's rows as the events that left them.

What rows cannot show: contributions that no block lists, heads between two kept states, tips that were told, and where a run
ends: whoever reads says so.
"""

from collections.abc import Iterator

from consensus.effects import Record
from consensus.proof_of_work.header import header_id, step_of
from consensus.proof_of_work.records import BLOCK_TABLE, FINAL_TABLE, VERDICT_TABLE, block_key, decode_block
from consensus.types import Height, NetworkId, StepId
from learning.learner import CheckRequest, FinaliseRequest, StepChecked, Verdict
from node.lab.checkers.finding import Event
from node.lab.store_audit.rows import DamagedStoreError, Row
from node.lab.store_audit.state_rows import kept_events
from node.runtime.coupling import AskLearner
from node.runtime.translation import step_for_learner

_HEIGHT_BYTES = 8


class LeaderRows:
    """Follows one store."""

    def __init__(self, network_id: NetworkId) -> None:
        self._network_id = network_id

    def events(self, rows: tuple[Row, ...]) -> Iterator[Event]:
        """Verdicts as records, blocks by height, then verdicts on them. Raises CorruptRecordsError, DamagedStoreError."""
        of = {table: [row for row in rows if row.table == table] for table in (VERDICT_TABLE, BLOCK_TABLE, FINAL_TABLE)}
        for row in of[VERDICT_TABLE]:
            yield Record(VERDICT_TABLE, row.key, row.value)
        for row in of[BLOCK_TABLE]:
            yield from self._block(row)
        for row in of[VERDICT_TABLE]:
            yield StepChecked(row.key, _verdict(row), False, "by its verdict")
        for row in of[FINAL_TABLE]:
            yield AskLearner(FinaliseRequest(row.value[_HEIGHT_BYTES:]))
        yield from kept_events(row for row in rows if row.table not in of)

    def _block(self, row: Row) -> Iterator[Event]:
        height, step = Height(int.from_bytes(row.key[:_HEIGHT_BYTES], "big")), StepId(row.key[_HEIGHT_BYTES:])
        block = decode_block(height, step, row.value)
        if block_key(Height(block.header.height), header_id(self._network_id, block.header)) != row.key:
            raise DamagedStoreError(f"record of block {step.hex()[:16]} (height {height}) holds another block")
        yield Record(BLOCK_TABLE, row.key, row.value)
        yield AskLearner(CheckRequest(step_for_learner(self._network_id, step_of(step, block))))


def _verdict(row: Row) -> Verdict:
    try:
        return Verdict(row.value.decode())
    except ValueError as error:
        raise DamagedStoreError(f"verdict on block {row.key.hex()[:16]} is {row.value!r}") from error
