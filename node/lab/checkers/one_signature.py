"""No honest peer signs two things that contradict each other, whatever has happened to its memory in between.

Total order: one block for each (author, round), over all runs of a peer. Proof of work: within one run nobody leads two on one
parent, unless its own learner found the first not good: it would work against itself. (A restart may lose the first.)
"""

from collections.abc import Container
from dataclasses import dataclass
from functools import lru_cache

from consensus.effects import Broadcast, Record, Send
from consensus.encoding import MalformedBytesError
from consensus.proof_of_work.header import BLOCK_CODEC, Header, header_id
from consensus.total_order.block import Block, block_digest
from consensus.total_order.messages import MESSAGE_CODEC, BlockMessage, OwnBlocks
from consensus.types import NetworkId, PeerId
from node.lab.checkers.finding import Finding, Seen

VERTEX_TABLE, BLOCK_TABLE, VERDICT_TABLE = "vertex", "block", "verdict"
"""Of docs/protocol.md, section 8."""


@dataclass(frozen=True, slots=True)
class _Signed:
    digest: bytes
    earlier: Seen


class OneBlockARound:
    """Total order. Reads what honest members record of others', too: they have checked the signatures.

    What a member has only recorded itself does not count: it may be lost with its disk, and the guard file comes later.
    """

    name = "no honest member signs two blocks for one round"
    reads = (Record, Broadcast, Send)

    def __init__(self, network_id: NetworkId, members: tuple[PeerId, ...], honest: Container[bytes]) -> None:
        self._network_id = network_id
        self._members = members
        self._honest = honest
        self._signed: dict[tuple[int, int], _Signed] = {}
        """By author and round."""

    def see(self, seen: Seen) -> Finding | None:
        """A recorded block, or a message that may hold blocks of its sender's own."""
        match seen.event:
            case Record(table, key, _) if table == VERTEX_TABLE:
                return self._on_recorded(key, seen)
            case Broadcast(message) | Send(_, message):
                for block in own_blocks(message):
                    digest = block_digest(self._network_id, block.content)
                    finding = self._note(block.content.author, block.content.round, digest, seen)
                    if finding is not None:
                        return finding
        return None

    def _on_recorded(self, key: bytes, seen: Seen) -> Finding | None:
        """Keys are round, author, digest."""
        author = int.from_bytes(key[8:12], "big")
        is_own = author < len(self._members) and self._members[author] == seen.peer
        return None if is_own else self._note(author, int.from_bytes(key[:8], "big"), key[12:], seen)

    def _note(self, author: int, round_number: int, digest: bytes, seen: Seen) -> Finding | None:
        if author >= len(self._members) or self._members[author] not in self._honest:
            return None
        first = self._signed.setdefault((author, round_number), _Signed(digest, seen))
        if first.digest == digest:
            return None
        return Finding(self.name, f"two blocks of member {author} for round {round_number}", (first.earlier, seen))


class OneBlockAParent:
    """Proof of work."""

    name = "no honest peer leads two blocks on one parent in one incarnation"
    reads = (Record,)

    def __init__(self, network_id: NetworkId) -> None:
        self._network_id = network_id
        self._known: dict[bytes, None] = {}
        """Blocks that anybody has recorded: one of an earlier run may come back from others, who had it from its leader."""
        self._led: dict[tuple[PeerId, int, bytes], _Signed] = {}
        """By leader, incarnation and parent."""
        self._refused: dict[tuple[PeerId, bytes], None] = {}
        """Blocks that a peer itself found not good."""

    def see(self, seen: Seen) -> Finding | None:
        """A recorded block, or a verdict on one."""
        match seen.event:
            case Record(table, key, value) if table == VERDICT_TABLE and value != b"good":
                self._refused[seen.peer, key] = None
            case Record(table, key, value) if table == BLOCK_TABLE and key not in self._known:
                self._known[key] = None
                header = BLOCK_CODEC.decode(value).header
                return self._on_led(header, seen) if header.leader == seen.peer else None
        return None

    def _on_led(self, header: Header, seen: Seen) -> Finding | None:
        step = header_id(self._network_id, header)
        place = (seen.peer, seen.incarnation, header.parent)
        first = self._led.setdefault(place, _Signed(step, seen))
        if first.digest == step:
            return None
        self._led[place] = _Signed(step, seen)
        if (seen.peer, first.digest) in self._refused:
            return None
        detail = f"two blocks led on {header.parent.hex()[:8]} (height {header.height})"
        return Finding(self.name, detail, (first.earlier, seen))


@lru_cache(maxsize=256)
def own_blocks(message: bytes) -> tuple[Block, ...]:
    """The blocks of total order that a message pushes or streams; malformed bytes hold none."""
    if len(message) < 2 or message[1] not in {0, 2}:  # the tag, after the array's head (docs/protocol.md 1)
        return ()
    try:
        decoded = MESSAGE_CODEC.decode(message)
    except MalformedBytesError:
        return ()
    match decoded:
        case BlockMessage(block):
            return (block,)
        case OwnBlocks(blocks):
            return blocks
        case _:
            return ()
