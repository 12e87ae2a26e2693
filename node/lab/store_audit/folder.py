"""One peer's folder: its database, its guard file and its log, as the events that left them."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from consensus.effects import Guard
from consensus.total_order.committee import Committee
from consensus.types import PeerId
from node.common.files import STORE_FILE_NAME
from node.lab.checkers.finding import Event
from node.lab.store_audit.block_rows import LeaderRows
from node.lab.store_audit.commit_rows import MemberRows
from node.lab.store_audit.log import LOG_NAME, LogReader
from node.lab.store_audit.rows import Place, StoreReader
from node.rules.network_rules import NetworkRules, members_of, network_id
from node.storage.identity import GuardFile


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
        self._guard = GuardFile(path)
        self._log = LogReader(path / LOG_NAME, peers)
        self._is_incarnation_certain = True

    @property
    def has_store(self) -> bool:
        """Whether there was a database at the last reading."""
        return self._store.has_opened

    def read(self) -> Findings:
        """Raises DamagedStoreError, NodeError; its events raise CorruptRecordsError and DamagedStoreError."""
        news = self._store.news()
        guard_round = self._guard.read()  # after the rows: it is raised after a block's row, and before the block is sent
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
