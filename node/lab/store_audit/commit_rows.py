"""A total order: one member's rows as the events that left them.

What rows cannot show: messages (a block in another's store was sent by its author at some time), what the learner answered
between two kept states, and which of two equal submissions was found anew after a restart.
"""

from collections.abc import Iterator

from consensus.effects import Accusation, Accuse, FetchState, Offence, Record
from consensus.total_order.block import Block
from consensus.total_order.committee import Committee
from consensus.total_order.committer import delivered_step
from consensus.total_order.linearizer import CommitRecord
from consensus.total_order.records import (
    BASE_TABLE,
    COMMIT_TABLE,
    EVIDENCE_TABLE,
    VERTEX_TABLE,
    decode_block,
    decode_commit,
    vertex_key,
)
from consensus.types import Digest, Height, NetworkId, PeerId, StepId
from learning.learner import ContributionFound, DeliverRequest
from node.lab.checkers.finding import Event
from node.lab.store_audit.rows import DamagedStoreError, Row
from node.lab.store_audit.state_rows import kept_events
from node.runtime.coupling import AskLearner
from node.runtime.translation import delivery_for_learner


class MemberRows:
    """Follows one store over all incarnations of its member."""

    def __init__(self, network_id: NetworkId, committee: Committee, me: PeerId, gc_depth: int) -> None:
        self._network_id = network_id
        self._committee = committee
        self._me = me
        self._gc_depth = gc_depth
        self._blocks: dict[bytes, Block] = {}
        """Recorded and not yet delivered, by key."""
        self._bases: dict[int, None] = {}
        """Indices at which the chain of commits was joined by a snapshot."""
        self._delivered = 0

    def events(self, rows: tuple[Row, ...]) -> Iterator[Event]:
        """Blocks, then commits, then states. Raises CorruptRecordsError, DamagedStoreError."""
        by_table: dict[str, list[Row]] = {}
        for row in rows:
            by_table.setdefault(row.table, []).append(row)
        for row in by_table.pop(VERTEX_TABLE, []):
            yield from self._block(row)
        for row in by_table.pop(BASE_TABLE, []):
            self._bases[int.from_bytes(row.key, "big")] = None
        for row in by_table.pop(COMMIT_TABLE, []):
            yield from self._commit(row)
        for row in by_table.pop(EVIDENCE_TABLE, []):
            yield Accuse(Accusation(PeerId(row.key), Offence.EQUIVOCATION, "as recorded", row.value))
        for rest in by_table.values():
            yield from kept_events(rest)

    def _block(self, row: Row) -> Iterator[Event]:
        """Our own says what our learner had found."""
        block = decode_block(row.key, row.value)
        self._blocks[row.key] = block
        yield Record(VERTEX_TABLE, row.key, row.value)
        author = block.content.author
        if author < self._committee.size and self._committee.members[author] == self._me:
            for item in block.content.items:
                yield ContributionFound(item.base, item.payload)

    def _commit(self, row: Row) -> Iterator[Event]:
        record = decode_commit(row.key, row.value)
        yield Record(COMMIT_TABLE, row.key, row.value)
        keys = [vertex_key(reference) for reference in record.references]
        if any(key not in self._blocks for key in keys):
            if self._is_below_snapshot(record.index):
                return  # it came with a snapshot, to continue the chain: it was never delivered here
            if record.index > self._delivered:
                raise DamagedStoreError(f"commit {record.index} names a block that is not recorded")
        if record.index != self._delivered + 1 and self._is_below_snapshot(record.index - 1):
            yield self._jump(record)
        yield from self._delivery(record, keys)

    def _delivery(self, record: CommitRecord, keys: list[bytes]) -> Iterator[Event]:
        """Blocks of a delivery are needed no more; of one that comes again with another content they may be gone."""
        blocks = [self._blocks.pop(key) for key in keys if key in self._blocks]
        self._delivered = max(self._delivered, record.index)
        step = delivered_step(self._network_id, self._committee, record, blocks)
        yield AskLearner(DeliverRequest(delivery_for_learner(step)))

    def _is_below_snapshot(self, index: int) -> bool:
        """Whether a snapshot brought this commit, or one so near that its last one may be meant."""
        return any(base <= index <= base + self._gc_depth for base in self._bases)

    @staticmethod
    def _jump(record: CommitRecord) -> FetchState:
        """What it must have asked for to go on here."""
        return FetchState(StepId(record.previous), Height(record.index - 1), Digest(bytes(32)), ())
