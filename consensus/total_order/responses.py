"""Answers to peers that sync from us: from memory, else from what we have recorded. Each answer is bounded."""

import itertools
from collections.abc import Iterator

from consensus.effects import Send
from consensus.encoding import encode, fitting
from consensus.total_order.block import Block
from consensus.total_order.context import State
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
from consensus.types import PeerId


class Responses:
    """Answers from what is held, and changes nothing."""

    def __init__(self, state: State) -> None:
        self._state = state

    def blocks(self, peer: PeerId, request: GetBlocks) -> None:
        """Those of the blocks that we have, as long as they fit."""
        dag, archive = self._state.dag, self._state.archive
        asked = dict.fromkeys(request.references)
        found = (dag.block(reference.digest) or read_block(archive, reference) for reference in asked)
        self._send(peer, Blocks(request.number, fitting((block for block in found if block is not None), ANSWER_BYTES_MAX)))

    def own_blocks(self, peer: PeerId, from_round: int) -> None:
        """Our own blocks from this round on that are above the horizon."""
        found = itertools.islice(self._own_from(from_round), STREAM_BLOCKS_MAX)
        self._send(peer, OwnBlocks(fitting(found, ANSWER_BYTES_MAX)))

    def commits(self, peer: PeerId, request: GetCommits) -> None:
        """Consecutive commits from the index asked for, as many as fit."""
        self._send(peer, Commits(request.number, fitting(self._commits_from(request.first), ANSWER_BYTES_MAX)))

    def _commits_from(self, first: int) -> Iterator[CommitRecord]:
        for index in range(max(1, first), min(first + COMMITS_MAX, self._state.order.index + 1)):
            record = read_commit(self._state.archive, index)
            if record is None:  # on its way to the disk, or before our own snapshot
                return
            yield record

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
