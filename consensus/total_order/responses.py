"""Answers to peers that sync from us: from memory, else from what we have recorded. Each answer is bounded."""

from collections.abc import Iterator

from consensus.effects import Send
from consensus.encoding import encode
from consensus.total_order.block import Block
from consensus.total_order.linearizer import CommitRecord
from consensus.total_order.messages import (
    ANSWER_BYTES_MAX,
    COMMITS_MAX,
    STREAM_BLOCKS_MAX,
    Blocks,
    Commits,
    GetBlocks,
    GetCommits,
    OwnBlocks,
)
from consensus.total_order.records import read_block, read_commit
from consensus.total_order.state import State
from consensus.types import PeerId


class Responses:
    """Reads; changes nothing."""

    def __init__(self, state: State) -> None:
        self._state = state

    def blocks(self, peer: PeerId, request: GetBlocks) -> None:
        """Those of the blocks that we have, as long as they fit."""
        found: list[Block] = []
        size = 0
        for reference in dict.fromkeys(request.references):
            block = self._state.dag.block(reference.digest) or read_block(self._state.archive, reference)
            if block is None:
                continue
            size += len(encode(block))
            if size > ANSWER_BYTES_MAX:
                break
            found.append(block)
        self._send(peer, Blocks(request.number, tuple(found)))

    def own_blocks(self, peer: PeerId, from_round: int) -> None:
        """Our own blocks from this round on that are above the horizon."""
        found: list[Block] = []
        size = 0
        for block in self._own_from(from_round):
            size += len(encode(block))
            if len(found) == STREAM_BLOCKS_MAX or size > ANSWER_BYTES_MAX:
                break
            found.append(block)
        self._send(peer, OwnBlocks(tuple(found)))

    def commits(self, peer: PeerId, request: GetCommits) -> None:
        """Consecutive commits from the index asked for, as many as fit."""
        found: list[CommitRecord] = []
        size = 0
        for index in range(max(1, request.first), min(request.first + COMMITS_MAX, self._state.order.index + 1)):
            record = read_commit(self._state.archive, index)
            if record is None:  # on its way to the disk, or before our own snapshot
                break
            size += len(encode(record))
            if found and size > ANSWER_BYTES_MAX:
                break
            found.append(record)
        self._send(peer, Commits(request.number, tuple(found)))

    def _own_from(self, from_round: int) -> Iterator[Block]:
        dag, me = self._state.dag, self._state.me
        if me is None or dag.newest[me] is None:
            return
        for number in range(max(from_round, dag.horizon + 1), dag.highest_round + 1):
            vertex = dag.vertex_of(me, number)
            if vertex is not None:
                yield vertex.block

    def _send(self, peer: PeerId, answer: Blocks | OwnBlocks | Commits) -> None:
        self._state.effects.add(Send(peer, encode(answer)))
