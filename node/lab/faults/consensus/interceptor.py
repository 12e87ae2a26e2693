"""The shape that most faults of a replica share: an honest replica, and what becomes of all that it hears and says.

And what faults need for it: whose replica it is, which of its own blocks a message carries, and who is told what.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

from consensus.encoding import Signer
from consensus.proof_of_work import messages as work
from consensus.proof_of_work.header import Header
from consensus.proof_of_work.rules import ProofOfWorkRules
from consensus.protocol import Input, OrderingProtocol, PeerJoined, PeerLeft, TimerFired
from consensus.total_order import messages as order
from consensus.total_order.block import Block, Content
from consensus.total_order.committee import Committee
from consensus.types import Instant, NetworkId, PeerId
from learning.evolution.rules import EvolutionRules
from learning.learner import LearnerAnswer
from node.common.bounded import BoundedMap
from node.lab.faults.consensus.withheld_parts import Withholding
from node.lab.faults.fault import Values
from node.runtime.coupling import OuterEffect, ReplicaPort
from node.runtime.learner_queue import Awaited

Effects = tuple[OuterEffect, ...]


class ReplicaInterceptor(Protocol):
    """A fault. Its own timers are called "fault/..."; each input is heard first, and what follows is said, even nothing."""

    def hear(self, event: Input, now: Instant) -> tuple[Input, ...]:
        """What the honest replica hears in place of this input: nothing, later ones too, or itself."""
        ...

    def say(self, effects: Effects, now: Instant) -> Effects:
        """What is done in place of what the honest replica wants done."""
        ...


class InterceptedReplica:
    """Implements `node.runtime.coupling.ReplicaPort`."""

    def __init__(self, honest: ReplicaPort, interceptor: ReplicaInterceptor) -> None:
        self._honest = honest
        self._interceptor = interceptor

    @property
    def ordering(self) -> OrderingProtocol:
        """The honest machine."""
        return self._honest.ordering

    @property
    def awaited(self) -> Awaited | None:
        """As an honest peer."""
        return self._honest.awaited

    def start(self, now: Instant) -> Effects:
        """What the honest part does, as the interceptor leaves it."""
        return self._interceptor.say(self._honest.start(now), now)

    def handle(self, event: Input, now: Instant) -> Effects:
        """What the honest part does, as the interceptor leaves it."""
        effects: Effects = ()
        for heard in self._interceptor.hear(event, now):
            effects += self._honest.handle(heard, now)
        return self._interceptor.say(effects, now)

    def handle_answer(self, answer: LearnerAnswer, now: Instant) -> Effects:
        """What the honest part does, as the interceptor leaves it."""
        return self._interceptor.say(self._honest.handle_answer(answer, now), now)


def is_timer(event: Input, name: str) -> bool:
    """Whether this is the timer of that name."""
    return isinstance(event, TimerFired) and event.name == name


PEERS_MAX = 4_096
"""Remembered of an open network; one that is forgotten and returns may find itself in the other part."""

_PARTS = 1_000_000


class Audience:
    """Deals in the order of first meetings; the first peer belongs to the chosen ones, unless nobody does."""

    def __init__(self, share: float) -> None:
        """`share` of all peers are chosen, 0 to 1."""
        self._parts = round(share * _PARTS)
        self._met = 0
        self._is_chosen: BoundedMap[PeerId, bool] = BoundedMap(PEERS_MAX)
        self._connected: dict[PeerId, None] = {}

    def note(self, event: Input) -> None:
        """Somebody may have come or gone."""
        match event:
            case PeerJoined(peer):
                self._deal(peer)
                self._connected[peer] = None
            case PeerLeft(peer):
                self._connected.pop(peer, None)
            case _:
                pass

    def is_chosen(self, peer: PeerId) -> bool:
        """Whether this peer, once met, is one of the chosen."""
        return bool(self._is_chosen.get(peer))

    def connected(self, *, chosen: bool) -> tuple[PeerId, ...]:
        """Those of one part who are connected, in the order in which they came."""
        return tuple(peer for peer in self._connected if self.is_chosen(peer) is chosen)

    def _deal(self, peer: PeerId) -> None:
        if peer in self._is_chosen:
            return
        self._is_chosen[peer] = self._chosen_of(self._met + 1) > self._chosen_of(self._met)
        self._met += 1

    def _chosen_of(self, peers: int) -> int:
        """How many of the first so many are chosen, rounded up."""
        return -(-peers * self._parts // _PARTS)


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


@dataclass(frozen=True, slots=True)
class ReplicaSituation:
    """One faulty peer of one network."""

    identity: PeerId
    network_id: NetworkId
    sign: Signer
    members: tuple[PeerId, ...]
    """Of the total order; none under proof of work."""
    future_limit_ms: int
    """How far ahead of the clock a block may be dated; 0 under total order, where no limit is needed."""
    make_twin: Callable[[], ReplicaPort]
    """A second replica of this key, that knows of no record and no guard."""
    withholding: Withholding
    """How who asks this peer for large bytes is answered."""
    evolution: EvolutionRules
    """Where the network learns by evolution: what its members offer."""
    work_rules: ProofOfWorkRules | None = None
    """Of proof of work."""
    gc_depth: int = 0
    """Of the total order: rounds below the last commit that are still ordered."""

    @property
    def committee(self) -> Committee:
        """Of the total order; there is one only where there are members."""
        return Committee(self.members)

    @property
    def index(self) -> int:
        """This peer's place among the members."""
        return self.members.index(self.identity)

    @property
    def own_blocks(self) -> OwnBlockReader:
        """How to find this peer's own blocks in what it sends."""
        return OwnOrderBlocks(self.index) if self.members else OwnWorkBlocks(self.identity)


MakeReplica = Callable[[Values, ReplicaPort, ReplicaSituation], ReplicaPort]
