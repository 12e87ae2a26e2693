"""What a peer's earlier incarnation has left behind, and what the next one makes of it."""

from collections.abc import Iterator, Mapping

from consensus.effects import Guard, Record
from consensus.proof_of_work.header import BLOCK_CODEC
from consensus.types import PeerId
from learning.learner import StepAdopted
from node.lab.checkers.finding import Seen
from node.lab.checkers.one_signature import BLOCK_TABLE, VERTEX_TABLE
from node.lab.checkers.rare_path import RarePath
from node.storage.tables import STATE_KEY, STATE_TABLE

Rows = Mapping[tuple[str, bytes], bytes]


class Incarnations:
    """Follows each peer over its restarts. `members`: of a total order; none under proof of work."""

    def __init__(self, members: tuple[PeerId, ...]) -> None:
        self._indices = {member: index for index, member in enumerate(members)}
        self._last: dict[PeerId, Seen] = {}
        self._newest_block: dict[PeerId, tuple[str, bytes]] = {}
        """By peer: the row of the block that it has recorded last, its own or another's."""
        self._guards: dict[PeerId, int] = {}
        """Who has started with a guard above the newest of its own blocks on the disk."""
        self._goals: dict[PeerId, int] = {}
        """The height of the highest head when a late peer came."""
        self._highest = 0

    def incarnation_of(self, peer: PeerId) -> int:
        """The one that was seen last."""
        last = self._last.get(peer)
        return 0 if last is None else last.incarnation

    def see(self, seen: Seen) -> Iterator[RarePath]:
        """Any event: the last one of an incarnation counts, too."""
        before = self._last.get(seen.peer)
        self._last[seen.peer] = seen
        if before is not None and before.incarnation != seen.incarnation and self._waits_to_be_sent(before):
            yield RarePath.KILLED_BEFORE_SENDING
        match seen.event:
            case Record(table, key, _) if table in {VERTEX_TABLE, BLOCK_TABLE}:
                self._newest_block[seen.peer] = (table, key)
                if self._is_above_guard(seen.peer, table, key):
                    yield RarePath.GUARD_HELD
            case StepAdopted(_, height):
                self._highest = max(self._highest, height)
                if seen.peer in self._goals and height >= self._goals[seen.peer]:
                    del self._goals[seen.peer]
                    yield RarePath.LATE_JOINER_ARRIVED

    def starts(self, peer: PeerId, rows: Rows, guard_round: int) -> Iterator[RarePath]:
        """A peer that has run before is about to start from this disk."""
        if (STATE_TABLE, STATE_KEY) in rows:
            yield RarePath.KEPT_STATE_RESTORED
        newest = self._newest_block.get(peer)
        if newest is not None and newest not in rows:
            yield RarePath.RECORDS_LOST
        self._guards.pop(peer, None)
        if guard_round > max((round_of(key) for table, key in rows if self._is_own_vertex(peer, table, key)), default=0):
            self._guards[peer] = guard_round

    def joins(self, peer: PeerId) -> None:
        """A late peer is about to start."""
        self._goals[peer] = max(1, self._highest)

    def _waits_to_be_sent(self, last: Seen) -> bool:
        """Whether it is a block of the peer's own, or its round in the guard file: then it would have been sent."""
        match last.event:
            case Guard():
                return True
            case Record(table, key, value):
                is_led = table == BLOCK_TABLE and BLOCK_CODEC.decode(value).header.leader == last.peer
                return is_led or self._is_own_vertex(last.peer, table, key)
        return False

    def _is_above_guard(self, peer: PeerId, table: str, key: bytes) -> bool:
        """The first block of its own that a member signs, after a start from a disk that was older than its guard."""
        if peer not in self._guards or not self._is_own_vertex(peer, table, key) or round_of(key) <= self._guards[peer]:
            return False  # one that others have shown it
        del self._guards[peer]
        return True

    def _is_own_vertex(self, peer: PeerId, table: str, key: bytes) -> bool:
        return table == VERTEX_TABLE and int.from_bytes(key[8:12], "big") == self._indices.get(peer)


def round_of(key: bytes) -> int:
    """Keys of blocks of total order begin with the round (docs/protocol.md, 8)."""
    return int.from_bytes(key[:8], "big")
