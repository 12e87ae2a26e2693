"""Members that break the protocol: they have a key, and follow what the others send."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from consensus.total_order.block import Block, Reference, block_digest
from consensus.total_order.messages import AskOwn, BlockMessage, Blocks, GetBlocks, Message, OwnBlocks, OwnNewest, Subscribe
from consensus.types import PeerId
from tests.consensus.total_order.forge import NETWORK, Forge, Forged
from tests.consensus.total_order.network import Network, Node

Plan = Callable[["Puppet", int], Iterable[tuple[Forged, list[Node]]]]
"""What to create for a round, and whom to show it to."""


@dataclass
class Puppet:
    """Keeps every block it hears of; once a quorum has blocks of a round it carries out its plan for the next one."""

    network: Network
    index: int
    plan: Plan
    answers: bool = True
    is_active: bool = True
    waits_for_all: bool = False
    """For a quorum of the others: needed where its own blocks do not all build on each other."""
    blocks: dict[bytes, Forged] = field(default_factory=dict)
    own: dict[str, Forged] = field(default_factory=dict)
    """The newest block of each chain it keeps."""
    round: int = 0

    def __post_init__(self) -> None:
        self.forge = Forge(len(self.network.members), is_real=self.network.is_real)
        self.id = self.network.add_puppet(self.index, self.take)
        self._advance()

    def take(self, source: PeerId, message: Message) -> None:
        match message:
            case BlockMessage(block):
                self._keep(block)
            case OwnBlocks(blocks) | Blocks(_, blocks):
                for block in blocks:
                    self._keep(block)
            case AskOwn(incarnation):
                self._answer(source, OwnNewest(incarnation, None))
            case GetBlocks(number, references) if self.answers:
                known = tuple(self.blocks[ref.digest].block for ref in references if ref.digest in self.blocks)
                self._answer(source, Blocks(number, known))
            case Subscribe():
                self._answer(source, OwnBlocks(()))
            case _:
                pass
        self._advance()

    def on_round(self, number: int) -> dict[int, Forged]:
        """One known block of each author."""
        return {block.block.content.author: block for block in self.blocks.values() if block.block.content.round == number}

    def make(self, chain: str, number: int, **changes: object) -> Forged:
        """The next block of one of its chains, on all of the round before that it knows, its own chain first."""
        mine = self.own[chain].reference if chain in self.own else self.forge.genesis[self.index]
        if number == 1:
            others: list[Reference] = [ref for ref in self.forge.genesis if ref.author != self.index]
        else:
            others = [block.reference for author, block in sorted(self.on_round(number - 1).items()) if author != self.index]
        made = self.forge.block(self.index, number, (mine, *others), **changes)
        self.own[chain] = made
        self.blocks[made.digest] = made
        return made

    def _keep(self, block: Block) -> None:
        digest = block_digest(NETWORK, block.content)
        self.blocks.setdefault(digest, Forged(digest, block))

    def _answer(self, source: PeerId, message: Message) -> None:
        node = self.network.nodes[source]
        if self.id in node.peers:
            self.network.puppet_send(self.id, node, message)

    def _advance(self) -> None:
        quorum = self.forge.committee.quorum
        while self.is_active and (self.round == 0 or self._heard(self.round) >= quorum):
            self.round += 1
            for made, audience in self.plan(self, self.round):
                for node in audience:
                    self.network.puppet_send(self.id, node, BlockMessage(made.block))

    def _heard(self, number: int) -> int:
        return sum(author != self.index or not self.waits_for_all for author in self.on_round(number))


def split_audience(first: list[Node], second: list[Node]) -> Plan:
    """Two blocks a round, each shown to one half."""

    def plan(puppet: Puppet, number: int) -> Iterable[tuple[Forged, list[Node]]]:
        yield puppet.make("a", number, time_ms=1), first
        yield puppet.make("b", number, time_ms=2), second

    return plan


def withhold_from(all_nodes: list[Node], victims: list[Node]) -> Plan:
    """Sound blocks that some members never get from their author."""

    def plan(puppet: Puppet, number: int) -> Iterable[tuple[Forged, list[Node]]]:
        yield puppet.make("a", number), [node for node in all_nodes if node not in victims]

    return plan


def mute_as_leader(all_nodes: list[Node]) -> Plan:
    """No block in the rounds that it leads."""

    def plan(puppet: Puppet, number: int) -> Iterable[tuple[Forged, list[Node]]]:
        if puppet.forge.committee.leader_of(number) != puppet.index:
            yield puppet.make("a", number), all_nodes

    return plan


def late_as_leader(all_nodes: list[Node]) -> Plan:
    """In the rounds that it leads only one member gets its block in time."""

    def plan(puppet: Puppet, number: int) -> Iterable[tuple[Forged, list[Node]]]:
        is_leader = puppet.forge.committee.leader_of(number) == puppet.index
        yield puppet.make("a", number), all_nodes[number % len(all_nodes) :][:1] if is_leader else all_nodes

    return plan


def one_in_turn(all_nodes: list[Node]) -> Plan:
    """Each block is shown to one member alone, each time to another."""

    def plan(puppet: Puppet, number: int) -> Iterable[tuple[Forged, list[Node]]]:
        yield puppet.make("a", number), [all_nodes[number % len(all_nodes)]]

    return plan


def hidden_chain(all_nodes: list[Node], length: int) -> Plan:
    """The blocks that it leads for all; the others on a chain of their own, so many of which one member gets at once."""
    hidden: list[Forged] = []

    def plan(puppet: Puppet, number: int) -> Iterable[tuple[Forged, list[Node]]]:
        if puppet.forge.committee.leader_of(number) == puppet.index:
            yield puppet.make("shown", number), all_nodes
            return
        hidden.append(puppet.make("hidden", number))
        if len(hidden) == length:
            yield from ((block, [all_nodes[number % len(all_nodes)]]) for block in hidden)
            hidden.clear()

    return plan
