"""What members of a total order vouch for in their blocks: commits, and the states that their learners reached there.

A block says "commit 120 is this digest" and "after commit 96 I had this state". Honest members never say two things of one
commit, whatever lies between; and what they keep on their disks is what they have vouched for.
"""

from collections.abc import Container, Iterator
from dataclasses import dataclass

from consensus.effects import Record
from consensus.total_order.block import BLOCK_CODEC
from consensus.total_order.linearizer import COMMIT_CODEC, commit_digest
from consensus.total_order.records import COMMIT_TABLE, VERTEX_TABLE
from consensus.types import NetworkId, PeerId
from learning.state import checkpoint_digest, decode_kept_state
from node.lab.checkers.finding import Finding, Seen
from node.storage.tables import STATE_TABLE

_Subject = tuple[str, int]
"""What is spoken of: ("commit", index) or ("state", index of the commit that it follows)."""


@dataclass(frozen=True, slots=True)
class _Word:
    digest: bytes
    earlier: Seen


class OneWord:
    """Reads every honest member's blocks, in whosever store they lie: they are known to be signed."""

    name = "honest members vouch for one order and for one state after each commit"
    reads = (Record,)

    def __init__(self, network_id: NetworkId, members: tuple[PeerId, ...], honest: Container[bytes]) -> None:
        self._network_id = network_id
        self._members = members
        self._honest = honest
        self._words: dict[_Subject, _Word] = {}

    def see(self, seen: Seen) -> Finding | None:
        """A recorded block, commit, or kept state."""
        match seen.event:
            case Record(table, _, value):
                for subject, digest in self._words_of(table, value):
                    first = self._words.setdefault(subject, _Word(digest, seen))
                    if first.digest != digest:
                        kind, index = subject
                        return Finding(self.name, f"two digests of {kind} {index}", (first.earlier, seen))
        return None

    def _words_of(self, table: str, value: bytes) -> Iterator[tuple[_Subject, bytes]]:
        if table == VERTEX_TABLE:
            yield from self._words_in_block(value)
        elif table == COMMIT_TABLE:
            record = COMMIT_CODEC.decode(value)
            yield ("commit", record.index), commit_digest(self._network_id, record)
        elif table == STATE_TABLE:
            kept = decode_kept_state(value)
            yield ("commit", kept.commit), kept.commit_step
            yield ("state", kept.commit), checkpoint_digest(value)

    def _words_in_block(self, value: bytes) -> Iterator[tuple[_Subject, bytes]]:
        content = BLOCK_CODEC.decode(value).content
        if content.author >= len(self._members) or self._members[content.author] not in self._honest:
            return
        yield ("commit", content.commit.index), content.commit.digest
        if content.checkpoint is not None:
            yield ("commit", content.checkpoint.index), content.checkpoint.digest
            yield ("state", content.checkpoint.index), content.checkpoint.state_digest
