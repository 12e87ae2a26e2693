"""Which of our own blocks a message of ours carries: by height under proof of work, by round under total order."""

from collections.abc import Iterable
from typing import Protocol

from consensus.proof_of_work import messages as work
from consensus.proof_of_work.header import Header
from consensus.total_order import messages as order
from consensus.total_order.block import Block, Content
from consensus.types import PeerId


class OwnBlockReader(Protocol):
    """Reads messages of one kind of consensus; they are our own, so they decode."""

    def pushed(self, message: bytes) -> int | None:
        """The height or round of a block of ours that this message brings unasked."""
        ...

    def carried(self, message: bytes) -> tuple[int, ...]:
        """Heights or rounds of all blocks or headers of ours in this message."""
        ...


class OwnWorkBlocks:
    """Under proof of work: blocks that we have led."""

    def __init__(self, identity: PeerId) -> None:
        self._identity = identity

    def pushed(self, message: bytes) -> int | None:
        """By height."""
        decoded = work.MESSAGE_CODEC.decode(message)
        if isinstance(decoded, work.BlockMessage) and decoded.block.header.leader == self._identity:
            return decoded.block.header.height
        return None

    def carried(self, message: bytes) -> tuple[int, ...]:
        """By height."""
        match work.MESSAGE_CODEC.decode(message):
            case work.BlockMessage(block):
                return self._heights((block.header,))
            case work.Blocks(blocks):
                return self._heights(block.header for block in blocks)
            case work.Headers(headers):
                return self._heights(headers)
            case _:
                return ()

    def _heights(self, headers: Iterable[Header]) -> tuple[int, ...]:
        return tuple(header.height for header in headers if header.leader == self._identity)


class OwnOrderBlocks:
    """Under total order: blocks that we have signed."""

    def __init__(self, index: int) -> None:
        self._index = index

    def pushed(self, message: bytes) -> int | None:
        """By round."""
        decoded = order.MESSAGE_CODEC.decode(message)
        if isinstance(decoded, order.BlockMessage) and decoded.block.content.author == self._index:
            return decoded.block.content.round
        return None

    def carried(self, message: bytes) -> tuple[int, ...]:
        """By round."""
        return tuple(content.round for content in contents_of(message) if content.author == self._index)


def contents_of(message: bytes) -> Iterable[Content]:
    """The blocks that a message of a total order brings, asked for or not. Raises MalformedBytesError."""
    match order.MESSAGE_CODEC.decode(message):
        case order.BlockMessage(block) | order.OwnNewest(_, Block() as block):
            return (block.content,)
        case order.Blocks(_, blocks) | order.OwnBlocks(blocks):
            return tuple(block.content for block in blocks)
        case _:
            return ()
