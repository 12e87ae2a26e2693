"""With our own block we send the part of its history that a member seems to lack.

Every member broadcasts its own blocks, so a block is pushed only where its author's way to the receiver seems to be cut: the
receiver's newest blocks name the others' blocks, but for some rounds none of this author's.
"""

from consensus.encoding import encode
from consensus.protocol import Send
from consensus.total_order.dag import Vertex
from consensus.total_order.messages import BlockMessage
from consensus.total_order.state import State

LAG_ROUNDS = 2
"""A receiver that names an author's blocks later than this does not get them from the author."""

PUSHED_MAX = 8
"""Blocks pushed to one member with one own block; the rest it can ask for."""


class Pushing:
    """Watches what each member's blocks name."""

    def __init__(self, state: State, me: int) -> None:
        size = state.committee.size
        self._state = state
        self._me = me
        self._named = [[0] * size for _ in range(size)]
        """By member and author: the highest round of the author's blocks that the member's blocks name."""
        self._pushed = [[0] * size for _ in range(size)]

    def accepted(self, vertex: Vertex) -> None:
        """A block was accepted."""
        named = self._named[vertex.author]
        for parent in vertex.block.content.parents:
            named[parent.author] = max(named[parent.author], parent.round)

    def push(self) -> None:
        """Called with each own block."""
        state = self._state
        for member, peer in enumerate(state.committee.members):
            newest = state.dag.newest[member]
            if member == self._me or newest is None or not state.peers.is_connected(member):
                continue
            unnamed = state.dag.authors(newest.round - 1) & ~newest.parents_mask & ~state.equivocators.members
            if unnamed & ~(1 << self._me):
                for vertex in self._lacking(member, newest.round):
                    state.outbox.add(Send(peer, encode(BlockMessage(vertex.block))))
                    state.counters.blocks_pushed += 1

    def _lacking(self, member: int, newest_round: int) -> list[Vertex]:
        dag = self._state.dag
        lacking: list[Vertex] = []
        for author in range(self._state.committee.size):
            if author in (member, self._me) or author in self._state.equivocators:
                continue
            known = max(self._named[member][author], self._pushed[member][author])
            newest = dag.newest[author]
            if newest is None or newest_round - self._named[member][author] <= LAG_ROUNDS + 1:
                continue
            for number in range(max(known, dag.horizon, newest_round - PUSHED_MAX) + 1, newest.round + 1):
                vertex = dag.vertex_of(author, number)
                if vertex is not None and len(lacking) < PUSHED_MAX:
                    lacking.append(vertex)
                    self._pushed[member][author] = number
        return lacking
