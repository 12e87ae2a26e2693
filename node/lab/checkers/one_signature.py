"""No honest peer signs two things that contradict each other, whatever has happened to its memory in between.

Total order: one block for each (author, round), over all incarnations. Proof of work: within one incarnation nobody leads two
blocks on one parent, unless its own learner found the first not good: it would work against itself. (A restart may lose the
first.) And what is signed, decided or promised is durable before anybody hears of it.
"""

from collections.abc import Container
from dataclasses import dataclass
from functools import lru_cache

from consensus.effects import Broadcast, Guard, Record, Send
from consensus.encoding import MalformedBytesError
from consensus.proof_of_work import messages as work_messages
from consensus.proof_of_work.header import BLOCK_CODEC, Header, header_id
from consensus.total_order.block import Block, block_digest
from consensus.total_order.messages import MESSAGE_CODEC, BlockMessage, OwnBlocks
from consensus.types import NetworkId, PeerId
from learning.learner import CheckRequest, DeliverRequest
from node.lab.checkers.finding import Event, Finding, Seen, Started
from node.runtime.coupling import AskLearner, Forget
from node.storage.tables import PAYLOAD_TABLE

VERTEX_TABLE, BLOCK_TABLE, VERDICT_TABLE = "vertex", "block", "verdict"
"""Of docs/protocol.md, section 8."""


@dataclass(frozen=True, slots=True)
class _Signed:
    digest: bytes
    earlier: Seen


class OneBlockARound:
    """Total order. Reads what honest members record of others', too: they have checked the signatures.

    What a member has only recorded itself does not count: it may be lost with its disk.
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


COMMIT_TABLE = "commit"


class RecordedBeforeSent:
    """Own blocks, their signed rounds, their large payloads, and commits. `members`: none under proof of work."""

    name = "what is signed is recorded before it is sent"
    reads = (Record, Forget, Guard, Started, Send, Broadcast, DeliverRequest, CheckRequest)

    def __init__(self, network_id: NetworkId, members: tuple[PeerId, ...]) -> None:
        self._network_id = network_id
        self._indices = {member: index for index, member in enumerate(members)}
        self._recorded: dict[PeerId, dict[tuple[str, bytes], bool]] = {}
        """Of each peer, by table and key: whether the row is to be there still, or was forgotten in good order."""
        self._recorded_ever: dict[tuple[PeerId, bytes], None] = {}
        """Blocks of proof of work that a peer has recorded in any run: an own one that its disk has lost may come back from
        others, and go on to more of them at once, as those of all leaders do."""
        self._guarded: dict[PeerId, int] = {}

    def see(self, seen: Seen) -> Finding | None:
        """Something durable, or something that had to be durable before."""
        match seen.event:
            case Record(table, key, _):
                self._rows_of(seen.peer)[table, key] = True
                if table == BLOCK_TABLE:
                    self._recorded_ever[seen.peer, key[8:]] = None
            case Forget(table, key):
                self._rows_of(seen.peer)[table, key] = False
            case Started(rows):
                held = self._rows_of(seen.peer)
                self._recorded[seen.peer] = {place: is_kept for place, is_kept in held.items() if not is_kept or place in rows}
            case Guard(round_number):
                self._guarded[seen.peer] = max(round_number, self._guarded.get(seen.peer, 0))
            case _:
                missing = self._missing(seen.peer, seen.event)
                if missing is not None:
                    return Finding(self.name, f"{missing} before it was durable", (seen,))
        return None

    def _missing(self, peer: PeerId, event: Event) -> str | None:
        match event:
            case Send(_, message) | Broadcast(message):
                return self._of_total_order(peer, message) if self._indices else self._of_work(peer, message)
            case AskLearner(DeliverRequest(delivered)):
                is_held = self._is_held(peer, COMMIT_TABLE, delivered.height.to_bytes(8, "big"))
                return None if is_held else f"delivered commit {delivered.height}"
            case AskLearner(CheckRequest(step)):
                is_held = self._is_held(peer, BLOCK_TABLE, step.height.to_bytes(8, "big") + step.id)
                return None if is_held else f"checked block {step.id.hex()[:8]}"
        return None

    def _of_total_order(self, peer: PeerId, message: bytes) -> str | None:
        for block in own_blocks(message):
            content = block.content
            if content.author != self._indices.get(peer):
                continue
            if not self._is_held(peer, VERTEX_TABLE, self._vertex_key(block)):
                return f"sent its block of round {content.round}"
            if self._guarded.get(peer, 0) < content.round:
                return f"sent a block of round {content.round}, with its signed round at {self._guarded.get(peer, 0)},"
            if any(not self._is_held(peer, PAYLOAD_TABLE, large.digest) for large in content.attachments):
                return f"sent its block of round {content.round} whose payload came to it"
        return None

    def _of_work(self, peer: PeerId, message: bytes) -> str | None:
        if len(message) < 2 or message[1] not in {0, 1}:  # the tag, after the array's head (docs/protocol.md 1)
            return None
        try:
            decoded = work_messages.MESSAGE_CODEC.decode(message)
        except MalformedBytesError:
            return None
        match decoded:
            case work_messages.BlockMessage(block) if block.header.leader == peer:
                step = header_id(self._network_id, block.header)
                if (peer, bytes(step)) not in self._recorded_ever:
                    return f"sent its block {step.hex()[:8]}"
            case work_messages.ContributionMessage(contribution) if contribution.author == peer:
                if any(not self._is_held(peer, PAYLOAD_TABLE, large.digest) for large in contribution.attachments):
                    return "sent a contribution of its own whose payload came to it"
        return None

    def _vertex_key(self, block: Block) -> bytes:
        content = block.content
        place = content.round.to_bytes(8, "big") + content.author.to_bytes(4, "big")
        return place + block_digest(self._network_id, content)

    def _is_held(self, peer: PeerId, table: str, key: bytes) -> bool:
        return (table, key) in self._rows_of(peer)

    def _rows_of(self, peer: PeerId) -> dict[tuple[str, bytes], bool]:
        return self._recorded.setdefault(peer, {})
