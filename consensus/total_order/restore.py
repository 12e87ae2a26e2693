"""From records back to the graph and the order: the same rows give the same machine."""

from collections.abc import Iterable, Iterator

from consensus.effects import Deliver
from consensus.encoding import CorruptRecordsError
from consensus.steps import DeliveredStep, genesis_step
from consensus.total_order.block import Block, Reference, block_digest
from consensus.total_order.committer import delivered_step
from consensus.total_order.context import State
from consensus.total_order.dag import Vertex
from consensus.total_order.records import (
    BASE_TABLE,
    COMMIT_TABLE,
    EVIDENCE_TABLE,
    VERTEX_TABLE,
    decode_block,
    decode_commit,
    read_block,
    read_commit,
    vertex_key,
)
from consensus.types import PeerId, StepId

Row = tuple[str, bytes, bytes]


class Restoring:
    """Reads the rows of earlier incarnations, sorted by (table, key); other tables are left alone.

    Only what lies above the horizon stays in memory. Raises CorruptRecordsError.
    """

    def __init__(self, state: State, replay_from: StepId | None) -> None:
        self._state = state
        self._replay_from = replay_from
        self._bases: dict[int, bytes] = {}
        self.first_index = 1
        """Of the newest unbroken chain of commits."""
        self.replay_above: int | None = 0 if replay_from in (None, genesis_step(state.network_id)) else None
        self._is_chain_read = False

    def read(self, records: Iterable[Row]) -> list[Vertex]:
        """Rebuild; the accepted blocks above the horizon, parents first."""
        accepted: list[Vertex] = []
        for table, key, value in records:
            if table == BASE_TABLE:
                self._bases[int.from_bytes(key, "big")] = value
            elif table == COMMIT_TABLE:
                self._read_commit(key, value)
            elif table == EVIDENCE_TABLE:
                self._read_evidence(key)
            elif table == VERTEX_TABLE:
                accepted += self._read_vertex(key, value)
        if self._state.dag.suspended:
            digest = next(iter(self._state.dag.suspended))
            raise CorruptRecordsError(f"block {digest.hex()} is recorded, but not all of its parents are")
        if self.replay_above is None and self._replay_from is not None:
            raise CorruptRecordsError(f"the kept state is of step {self._replay_from.hex()}, which is no commit by the records")
        return accepted

    def replays(self) -> Iterator[Deliver]:
        """The commits above the state that the learner holds, again. Raises CorruptRecordsError."""
        assert self.replay_above is not None, "read first"
        if self.first_index > 1 and self.replay_above < self.first_index - 1:
            raise CorruptRecordsError(f"commits before {self.first_index} are not recorded, and no state after them is kept")
        for index in range(self.replay_above + 1, self._state.order.index + 1):
            yield Deliver(self._step(index))

    def _read_commit(self, key: bytes, value: bytes) -> None:
        order = self._state.order
        record = decode_commit(key, value)
        if record.previous != order.digest or record.index != order.index + 1:
            if self._bases.get(record.index) != record.previous:
                raise CorruptRecordsError(f"commit {record.index} does not follow commit {order.index} by the records")
            self.first_index = record.index
        order.restart(record)
        if order.digest == self._replay_from:
            self.replay_above = order.index

    def _read_evidence(self, key: bytes) -> None:
        member = self._state.committee.index_of(PeerId(key))
        if member is None:
            raise CorruptRecordsError(f"evidence against {key.hex()}, who is no member")
        self._state.equivocators.expose(member)

    def _read_vertex(self, key: bytes, value: bytes) -> list[Vertex]:
        self._start_graph()
        block = decode_block(key, value)
        digest = block_digest(self._state.network_id, block.content)
        reference = Reference(block.content.round, block.content.author, digest)
        if vertex_key(reference) != key:
            raise CorruptRecordsError(f"record of block {key.hex()} holds another block")
        self._note_newest(block)
        if block.content.round <= self._state.dag.horizon:
            return []
        accepted = self._state.dag.add(digest, block, set())
        for vertex in accepted:
            self._state.rule.add(vertex)
            if not self._state.order.is_ordered(vertex) and (block.content.items or block.content.attachments):
                self._state.busy[digest] = None
        return accepted

    def _start_graph(self) -> None:
        if not self._is_chain_read:
            self._is_chain_read = True
            self._state.dag.prune(self._state.order.horizon)
            self._state.rule.move_to(self._state.order.leader_round + 1)

    def _note_newest(self, block: Block) -> None:
        """Keys sort by round: the last block of an author is its newest."""
        self._state.newest_seen[block.content.author] = block

    def _step(self, index: int) -> DeliveredStep:
        record = read_commit(self._state.archive, index)
        if record is None:
            raise CorruptRecordsError(f"commit {index} is missing from the archive")
        blocks = []
        for reference in record.references:
            block = read_block(self._state.archive, reference)
            if block is None:
                raise CorruptRecordsError(f"block {reference.digest.hex()} of commit {index} is missing from the archive")
            blocks.append(block)
        return delivered_step(self._state.network_id, self._state.committee, record, blocks)
