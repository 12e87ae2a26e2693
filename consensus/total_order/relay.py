"""Passing on blocks of others: to members those that they seem to lack, to observers who have asked for it all.

Both are bounded: what is not passed on can be asked for.
"""

from collections.abc import Iterable

from consensus.effects import Send
from consensus.encoding import encode
from consensus.total_order.block import Reference
from consensus.total_order.context import State
from consensus.total_order.dag import Vertex
from consensus.total_order.messages import ANSWER_BYTES_MAX, BlockMessage
from consensus.types import PeerId

LAG_ROUNDS = 2
"""A receiver that names an author's blocks later than this does not get them from the author."""

PUSHED_MAX = 8
"""Blocks pushed to one member with one own block; the rest it can ask for."""

ASKED_ROUNDS = 64
"""Who has asked us for a block that we alone name gets its author's blocks with ours for so many rounds, and asks once in so
many. Where delays vary, members ask now and then for what is on its way, but others have named it by then."""

CHAIN_MAX = 32
"""Blocks pushed to who asks for the end of a chain: half of what lies above the horizon, each of them once."""

UNITS_PER_TICK = 512
"""For all observers together in a quarter of a second: two thousand small blocks a second, 65 us of the loop each, and 2 MB/s
of larger ones. Seventeen observers of four members that make thirty rounds a second get all."""

UNIT_BYTES = 1_024
"""A larger block counts as several: bytes cost the link, and each block its own sealing."""


class Relay:
    """Watches what each member's blocks name: with our own block we send the part of its history that a member seems to lack.

    Every member broadcasts its own blocks, so a block is pushed only where its author's way to the receiver seems to be cut:
    the receiver's newest blocks name the others' blocks, but for some rounds none of this author's; or the receiver has just
    asked us for one of them. An author that shows each of its blocks to one member alone would else cost all others a round
    trip in each round, and one that shows a long chain of them at once a round trip for each.
    """

    def __init__(self, state: State, me: int) -> None:
        size = state.committee.size
        self._state = state
        self._me = me
        self._named = [[0] * size for _ in range(size)]
        """By member and author: the highest round of the author's blocks that the member's blocks name."""
        self._pushed = [[0] * size for _ in range(size)]
        self._asked_until = [[0] * size for _ in range(size)]
        """By member and author: the round of our own up to which the member gets the author's blocks, since it has asked."""

    def on_accepted(self, vertex: Vertex) -> None:
        """A block was accepted."""
        named = self._named[vertex.author]
        for parent in vertex.block.content.parents:
            named[parent.author] = max(named[parent.author], parent.round)

    def on_request(self, member: int, references: Iterable[Reference]) -> None:
        """A member asks us for blocks: what it lacks below them, of their authors, it would ask for next."""
        dag = self._state.dag
        for reference in references:
            vertex = dag.accepted.get(reference.digest)
            if vertex is None or vertex.author in (member, self._me) or self._is_named_by_others(vertex):
                continue
            self._asked_until[member][vertex.author] = dag.highest_round + ASKED_ROUNDS
            self._send(member, self._chain_below(vertex))

    def push(self) -> None:
        """Send members what they seem to lack; called with each own block."""
        state = self._state
        for member in range(state.committee.size):
            newest = state.dag.newest[member]
            if member == self._me or newest is None or not state.peers.is_connected(member):
                continue
            unnamed = state.dag.authors(newest.round - 1) & ~newest.parents_mask & ~state.equivocators.members
            if unnamed & ~(1 << self._me) or any(until >= newest.round for until in self._asked_until[member]):
                self._send(member, self._lacking(member, newest.round))

    # --- inside ---

    def _known_round(self, member: int, author: int) -> int:
        return max(self._named[member][author], self._pushed[member][author])

    def _send(self, member: int, vertices: list[Vertex]) -> None:
        peer = self._state.committee.members[member]
        for vertex in vertices:
            self._state.effects.add(Send(peer, encode(BlockMessage(vertex.block))))
            self._state.counters.blocks_pushed += 1

    def _lacking(self, member: int, newest_round: int) -> list[Vertex]:
        state = self._state
        lacking: list[Vertex] = []
        for author in range(state.committee.size):
            newest = state.dag.newest[author]
            if author in (member, self._me) or author in state.equivocators or newest is None:
                continue
            is_cut = newest_round - self._named[member][author] > LAG_ROUNDS + 1
            if not is_cut and self._asked_until[member][author] < newest_round:
                continue
            lowest = max(self._known_round(member, author), newest_round - PUSHED_MAX)
            for vertex in self._blocks_of(author, lowest, newest.round)[: PUSHED_MAX - len(lacking)]:
                lacking.append(vertex)
                self._pushed[member][author] = vertex.round
        return lacking

    def _chain_below(self, vertex: Vertex) -> list[Vertex]:
        """Its author's blocks that it builds on, the lowest first, down to one that is ordered or that somebody else names."""
        chain: list[Vertex] = []
        size = 0
        while len(chain) < CHAIN_MAX and vertex.parents and vertex.parents[0].author == vertex.author:
            vertex = vertex.parents[0]
            size += len(encode(vertex.block))
            if size > ANSWER_BYTES_MAX or self._state.order.is_ordered(vertex) or self._is_named_by_others(vertex):
                break
            chain.append(vertex)
        return chain[::-1]

    def _is_named_by_others(self, vertex: Vertex) -> bool:
        after = self._state.dag.round(vertex.round + 1)
        blocks = () if after is None else after.all()
        return any(block.author not in (vertex.author, self._me) and vertex in block.parents for block in blocks)

    def _blocks_of(self, author: int, above: int, up_to: int) -> list[Vertex]:
        """The author's accepted blocks within (above, up_to], its first one of each round."""
        dag = self._state.dag
        found = (dag.vertex_of(author, number) for number in range(max(above, dag.horizon) + 1, up_to + 1))
        return [vertex for vertex in found if vertex is not None]


class ObserverFeed:
    """Whoever has no part in the order may be an observer, and one short question is followed by all blocks from then on:
    nothing that it says later is on anybody's account. Who misses a block sees it named by the next one, and asks for it.
    The observers take turns at being served first, so that none goes without for long.
    """

    def __init__(self, state: State) -> None:
        self._state = state
        self._units_left = UNITS_PER_TICK
        self._blocks = 0

    def tick(self) -> None:
        """A quarter of a second has passed."""
        self._units_left = UNITS_PER_TICK

    def forward(self, vertex: Vertex) -> None:
        """A block was accepted."""
        observers = [peer for peer, record in self._state.peers.all() if record.wants_all]
        if not observers or self._units_left <= 0:
            return
        message = encode(BlockMessage(vertex.block))
        units = 1 + len(message) // UNIT_BYTES
        self._blocks += 1
        for peer in self._in_turn(observers):
            if self._units_left <= 0:
                return
            self._units_left -= units
            self._state.effects.add(Send(peer, message))

    def _in_turn(self, observers: list[PeerId]) -> list[PeerId]:
        first = self._blocks % len(observers)
        return observers[first:] + observers[:first]
