"""What all parts of the machine share: the network's facts, the graph and what follows from it, and the way out."""

from collections.abc import Callable
from dataclasses import dataclass, field

from consensus.effects import Effect, Guard, Record
from consensus.payload_requests import PayloadRequests
from consensus.total_order.block import Block, Equivocators, Reference, block_digest, content_fault
from consensus.total_order.commit_rule import CommitRule
from consensus.total_order.committee import Committee, TotalOrderRules
from consensus.total_order.dag import Dag
from consensus.total_order.linearizer import Linearizer
from consensus.total_order.peers import Peers
from consensus.total_order.records import TotalOrderArchive
from consensus.types import Digest, NetworkId, PeerId
from consensus.wall_clock import PeerClocks, WallClock

Verifier = Callable[[PeerId, Digest, bytes], bool]
"""Whether the bytes are this peer's signature over the digest."""


class PendingEffects:
    """The effects of the input that is being handled: records first, all in one batch, then the guard, then all else in order.

    So nothing that we sign or decide leaves before it is durable, whoever adds to it.
    """

    def __init__(self) -> None:
        self._records: list[Record] = []
        self._guard: int | None = None
        self._others: list[Effect] = []

    def record(self, record: Record) -> None:
        """To be durable before anything else."""
        self._records.append(record)

    def guard(self, round_number: int) -> None:
        """To be durable as signed with the records, before anything else."""
        self._guard = max(round_number, self._guard or 0)

    def add(self, effect: Effect) -> None:
        """To be done after everything added before."""
        self._others.append(effect)

    def take(self) -> tuple[Effect, ...]:
        """All of them in order; there are none afterwards."""
        guard = () if self._guard is None else (Guard(self._guard),)
        effects = (*self._records, *guard, *self._others)
        self._records, self._guard, self._others = [], None, []
        return effects


@dataclass(slots=True)
class Counters:
    """What has happened since the start of the node."""

    direct_commits: int = 0
    direct_skips: int = 0
    indirect_commits: int = 0
    indirect_skips: int = 0
    synced_commits: int = 0
    """Taken over from commit ranges, or with a snapshot."""
    blocks_created: int = 0
    rounds_filled: int = 0
    """Own blocks that were created late, without waiting."""
    blocks_forgotten: int = 0
    """Accepted blocks that fell below the horizon."""
    blocks_fetched: int = 0
    """That came as answers."""
    blocks_pushed: int = 0
    blocks_too_far: int = 0
    """Not kept: too many rounds ahead of us."""
    twins_refused: int = 0
    snapshots: int = 0
    payloads_dropped: int = 0
    """Of our own learner, for lack of room."""
    payloads_repeated: int = 0
    """Own payloads put into a new block, since the old one fell below the horizon unordered."""


@dataclass(slots=True)
class State:
    """What one member or observer knows; its parts share it."""

    network_id: NetworkId
    rules: TotalOrderRules
    committee: Committee
    genesis: tuple[Reference, ...]
    me: int | None
    """Our index; None for an observer."""
    dag: Dag
    rule: CommitRule
    order: Linearizer
    equivocators: Equivocators
    peers: Peers
    wanted: PayloadRequests
    archive: TotalOrderArchive
    verify: Verifier
    wall: WallClock = field(default_factory=WallClock)
    peer_clocks: PeerClocks = field(default_factory=PeerClocks)
    effects: PendingEffects = field(default_factory=PendingEffects)
    counters: Counters = field(default_factory=Counters)
    newest_seen: dict[int, Block] = field(default_factory=dict)
    """By member: the valid block of the highest round that we have ever seen, kept in the graph or not."""
    busy: dict[bytes, None] = field(default_factory=dict)
    """Accepted blocks that carry something and are not ordered yet."""

    def is_sound(self, block: Block) -> bool:
        """Whether a block is valid and signed, wherever it comes from."""
        if content_fault(block.content, self.committee, self.genesis) is not None:
            return False
        author = self.committee.members[block.content.author]
        return self.verify(author, block_digest(self.network_id, block.content), block.signature)
