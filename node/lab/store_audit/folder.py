"""One peer's folder: its database, its redo log and its log, as the events that left them.

What rows of proof of work cannot show: contributions that no block lists, heads between two kept states, tips that were told,
and where an incarnation ends: whoever reads says so. Those of a total order: messages (a block in another's store was sent by
its author at some time), what the learner answered between two kept states, and which of two equal submissions was found anew
after a restart.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from consensus.effects import Accusation, Accuse, FetchState, Guard, Offence, Record
from consensus.proof_of_work.header import header_id, step_of
from consensus.proof_of_work.records import BLOCK_TABLE, FINAL_TABLE, VERDICT_TABLE, block_key, decode_block
from consensus.total_order.block import Block
from consensus.total_order.committee import Committee
from consensus.total_order.committer import delivered_step
from consensus.total_order.linearizer import CommitRecord
from consensus.total_order.records import (
    BASE_TABLE,
    COMMIT_TABLE,
    EVIDENCE_TABLE,
    VERTEX_TABLE,
    decode_commit,
    vertex_key,
)
from consensus.total_order.records import (
    decode_block as decode_vertex,
)
from consensus.types import Digest, Height, NetworkId, PeerId, StepId
from learning.learner import (
    CheckRequest,
    ContributionFound,
    DeliverRequest,
    FinaliseRequest,
    StateKept,
    StepAdopted,
    StepChecked,
    Verdict,
)
from learning.state import decode_kept_state
from node.common.files import STORE_FILE_NAME
from node.lab.checkers.finding import Event
from node.lab.store_audit.log import LOG_NAME, LogReader
from node.lab.store_audit.rows import DamagedStoreError, Place, Row, StoreReader
from node.rules.network_rules import NetworkRules, members_of, network_id
from node.runtime.coupling import AskLearner
from node.runtime.translation import delivery_for_learner, step_for_learner
from node.storage.redo_log import REDO_LOG_NAME, read_redo_log
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
        block = decode_vertex(row.key, row.value)
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


@dataclass(frozen=True, slots=True)
class Findings:
    """`events`: what is new. `places`: table and key of every row that is there."""

    events: Iterator[Event]
    places: tuple[Place, ...]


class PeerFolder:
    """Remembers what it has told. A `WatchedPeer` of the checkers."""

    def __init__(self, peer: PeerId, path: Path, rules: NetworkRules, peers: tuple[PeerId, ...]) -> None:
        self.id = peer
        self.incarnation = 0
        """Counts starts; and rows, where nobody knows which incarnation has left them."""
        members = members_of(rules)
        self._rows: MemberRows | LeaderRows = LeaderRows(network_id(rules))
        if members:
            self._rows = MemberRows(network_id(rules), Committee(members), peer, rules.total_order.gc_depth)
        self.store_path = path / STORE_FILE_NAME
        self._store = StoreReader(self.store_path)
        self._log_path = path / REDO_LOG_NAME
        self._log = LogReader(path / LOG_NAME, peers)
        self._is_incarnation_certain = True

    @property
    def has_store(self) -> bool:
        """Whether there was a database at the last reading."""
        return self._store.has_opened

    def read(self) -> Findings:
        """Raises DamagedStoreError, NodeError; its events raise CorruptRecordsError and DamagedStoreError."""
        news = self._store.news()
        guard_round = read_redo_log(self._log_path).signed_round  # after the rows: it is raised after a block's row, and before
        # the block is sent
        is_certain, self._is_incarnation_certain = self._is_incarnation_certain, True
        return Findings(self._events(self._rows.events(news.rows), guard_round, is_certain), news.places)

    def starts_again(self, *, was_read: bool) -> None:
        """A new run begins. `was_read`: after the end of the last one, so that it is certain what each run has left."""
        self.incarnation += 1
        self._is_incarnation_certain &= was_read

    def _events(self, rows: Iterator[Event], guard_round: int, is_certain: bool) -> Iterator[Event]:
        for event in rows:
            self.incarnation += not is_certain
            yield event
        if guard_round:
            yield Guard(guard_round)
        yield from self._log.news()
