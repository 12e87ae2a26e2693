"""Section 4 of the protocol word by word, with no thought for speed: what the incremental code is compared with."""

from collections.abc import Iterable
from dataclasses import dataclass

from consensus.total_order.block import Block
from consensus.total_order.committee import Committee

Verdicts = list[tuple[int, bytes | None]]
"""Round and leader block (None: skipped), in order."""


@dataclass(frozen=True)
class Node:
    """A block as the oracle sees it."""

    digest: bytes
    author: int
    round: int
    parents: tuple[tuple[int, int, bytes], ...]


class Oracle:
    """Decides by looking at the whole graph."""

    def __init__(self, committee: Committee, blocks: Iterable[tuple[bytes, Block]]) -> None:
        self.committee = committee
        self.nodes: dict[bytes, Node] = {}
        for digest, block in blocks:
            content = block.content
            parents = tuple((parent.round, parent.author, parent.digest) for parent in content.parents)
            self.nodes[digest] = Node(digest, content.author, content.round, parents)

    def slot(self, number: int) -> list[Node]:
        leader = self.committee.leader_of(number)
        return [node for node in self.nodes.values() if (node.round, node.author) == (number, leader)]

    def at(self, number: int) -> list[Node]:
        return [node for node in self.nodes.values() if node.round == number]

    def vote(self, node: Node) -> bytes | None:
        """The block of the slot of the round before among its parents."""
        number = node.round - 1
        named = [digest for of, author, digest in node.parents if (of, author) == (number, self.committee.leader_of(number))]
        return named[0] if named else None

    def is_certificate(self, node: Node, leader: Node) -> bool:
        if node.round != leader.round + 2:
            return False
        between = [self.nodes[digest] for of, _, digest in node.parents if of == leader.round + 1]
        return len({voter.author for voter in between if self.vote(voter) == leader.digest}) >= self.committee.quorum

    def history(self, node: Node) -> set[bytes]:
        seen = {node.digest}
        pending = [node]
        while pending:
            for _, _, digest in pending.pop().parents:
                if digest in self.nodes and digest not in seen:
                    seen.add(digest)
                    pending.append(self.nodes[digest])
        return seen

    def directly(self, number: int) -> tuple[bool, bytes | None]:
        """(is decided, leader)."""
        for leader in self.slot(number):
            certifiers = {node.author for node in self.at(number + 2) if self.is_certificate(node, leader)}
            if len(certifiers) >= self.committee.quorum:
                return True, leader.digest
        blamers = {node.author for node in self.at(number + 1) if self.vote(node) is None}
        return len(blamers) >= self.committee.quorum, None

    def by_anchor(self, number: int, later: dict[int, tuple[bool, bytes | None]]) -> tuple[bool, bytes | None]:
        for of in range(number + 3, max(later, default=0) + 1):
            is_decided, anchor = later[of]
            if not is_decided:
                return False, None
            if anchor is not None:
                history = self.history(self.nodes[anchor])
                for leader in self.slot(number):
                    certificates = [node for node in self.at(number + 2) if self.is_certificate(node, leader)]
                    if any(node.digest in history for node in certificates):
                        return True, leader.digest
                return True, None
        return False, None

    def verdicts(self) -> Verdicts:
        """The longest decided prefix from round 1 on."""
        newest = max((node.round for node in self.nodes.values()), default=0)
        statuses: dict[int, tuple[bool, bytes | None]] = {}
        for number in range(newest, 0, -1):
            status = self.directly(number)
            statuses[number] = status if status[0] else self.by_anchor(number, statuses)
        decided: Verdicts = []
        for number in range(1, newest + 1):
            if not statuses[number][0]:
                break
            decided.append((number, statuses[number][1]))
        return decided
