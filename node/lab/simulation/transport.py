"""One peer's messages and large bytes: the real node's flooding machine and bulk transfer over simulated connections."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import assert_never

from consensus.effects import FetchAttachment, FetchState
from consensus.types import PeerId
from node.lab.faults.consensus.withheld_parts import WithheldParts
from node.lab.simulation.connections import Wires
from node.lab.simulation.disk import Disk
from node.lab.simulation.peer import Agenda, SimulatedPeer
from node.lab.simulation.timeline import Action, Timeline
from node.net.bulk_transfer import TICK_SECONDS as BULK_TICK_SECONDS
from node.net.bulk_transfer import BulkTransfer, Shell
from node.net.gossip import Gossip, GossipEffect, GossipLimits, MessageSeen
from node.net.parts import PartServer
from node.net.transport import TICK_SECONDS
from node.net.wire import SHORT_DIGEST_BYTES, GetPart, GossipFrame, Have, Part, Want


@dataclass(frozen=True, slots=True)
class SimulatedOutbox:
    """One peer's way into the world."""

    peer: SimulatedPeer
    agenda: Agenda
    timeline: Timeline
    wires: Wires

    @property
    def seconds(self) -> float:
        """A clock that never goes back."""
        return self.timeline.now / 1000

    def send(self, other: PeerId, size: int, action: Action) -> None:
        """Let `action` happen when a message of `size` bytes arrives; dropped without a connection."""
        self.wires.send(self.peer, other, size, action)

    def after(self, seconds: float, action: Action) -> None:
        """Let this incarnation of the peer do it."""
        self.agenda.after(round(seconds * 1000), self.peer, action)


FRAME_BYTES = 40
"""Around each message: the frame and the seal (node/net/wire.py)."""

DIGEST_BYTES = SHORT_DIGEST_BYTES + 2
"""One announcement in a frame, with its length."""


class Flooding:
    """Pushes, announces and fetches. `deliver(peer, message)` is called once for each message that is new to this peer."""

    def __init__(
        self,
        way: SimulatedOutbox,
        at: "Callable[[PeerId], Flooding]",
        deliver: Callable[[PeerId, bytes], bool],
        limits: GossipLimits,
    ) -> None:
        """`at`: this part of another peer; `deliver`: whether the message was looked at."""
        self._way = way
        self._at = at
        self._deliver = deliver
        self._limits = limits
        self._gossip = Gossip(limits)
        self._has_tick_planned = False

    def start(self) -> None:
        """A new incarnation, without neighbours."""
        self._gossip = Gossip(self._limits)
        self._has_tick_planned = False

    def joined(self, other: PeerId) -> None:
        """A new neighbour."""
        self._carry_out(self._gossip.on_peer_joined(other, self._way.seconds))

    def left(self, other: PeerId) -> None:
        """A neighbour is gone."""
        self._carry_out(self._gossip.on_peer_left(other, self._way.seconds))

    def broadcast(self, message: bytes) -> None:
        """Bring a message to everybody: our own, or one judged worth passing on."""
        self._carry_out(self._gossip.broadcast(message, self._way.seconds))

    def received(self, other: PeerId, frame: GossipFrame | Have | Want) -> None:
        """A neighbour's frame."""
        self._carry_out(self._gossip.on_frame(other, frame, self._way.seconds))
        self._plan_tick()

    def _plan_tick(self) -> None:
        """Time matters to the machine only while it waits for something."""
        if self._gossip.pending_wants and not self._has_tick_planned:
            self._has_tick_planned = True
            self._way.after(TICK_SECONDS, self._tick)

    def _tick(self) -> None:
        self._has_tick_planned = False
        self._carry_out(self._gossip.tick(self._way.seconds))
        self._plan_tick()

    def _carry_out(self, effects: tuple[GossipEffect, ...]) -> None:
        for effect in effects:
            match effect:
                case MessageSeen(other, message):
                    is_looked_at = self._deliver(other, message)
                    self._carry_out(self._gossip.on_looked_at(other, message, is_looked_at, self._way.seconds))
                case _:
                    size = _frame_bytes(effect.frame)
                    for other in effect.peers:
                        self._way.send(other, size, partial(self._at(other).received, self._way.peer.id, effect.frame))


def _frame_bytes(frame: GossipFrame | Have | Want) -> int:
    match frame:
        case GossipFrame(message):
            return FRAME_BYTES + len(message)
        case Have(digests) | Want(digests):
            return FRAME_BYTES + DIGEST_BYTES * len(digests)
        case _:
            assert_never(frame)


STATE_BYTES_MAX = 1 << 26
"""The longest state that is fetched: far above any toy task's."""

PAYLOAD_BYTES_MAX = 1 << 22
"""The longest payload that is fetched, which leaves room for as many at once as an ordering machine asks for."""

REQUEST_BYTES = FRAME_BYTES + 40
"""A digest and an offset."""


class LargeBytes:
    """Fetches and serves."""

    def __init__(self, way: SimulatedOutbox, at: "Callable[[PeerId], LargeBytes]", shell: Shell) -> None:
        """`at`: this part of another peer."""
        self._way = way
        self._at = at
        self._shell = shell
        self._streams = self._new_streams()
        self._server = self._new_server()
        self._has_tick_planned = False

    def start(self) -> None:
        """A new incarnation: nothing is under way."""
        self._streams = self._new_streams()
        self._server = self._new_server()
        self._has_tick_planned = False

    def fetch(self, effect: FetchAttachment | FetchState) -> None:
        """Answered later, or asked for again by the machine."""
        match effect:
            case FetchAttachment():
                self._streams.fetch_payload(effect)
            case FetchState():
                self._streams.fetch_state(effect)
        self._plan_tick()

    def ask_part(self, peer: PeerId, digest: bytes, offset: int) -> None:
        """Send one peer the question."""
        ask = partial(self._at(peer).asked, self._way.peer.id, GetPart(digest, offset))
        self._way.send(peer, REQUEST_BYTES, ask)

    def asked(self, asker: PeerId, question: GetPart) -> None:
        """Answer with what we hold, or as our fault says."""
        self._server.answer(asker, question, partial(self._give, asker))

    def on_part(self, other: PeerId, part: Part) -> None:
        """A part that we may have asked for."""
        self._streams.on_part(other, part)

    def _give(self, asker: PeerId, part: Part) -> None:
        hand = partial(self._at(asker).on_part, self._way.peer.id, part)
        self._way.send(asker, REQUEST_BYTES + len(part.content), hand)

    def _new_streams(self) -> BulkTransfer:
        streams = BulkTransfer(
            _Rows(self._way.peer.disk),
            self,
            state_bytes_max=STATE_BYTES_MAX,
            payload_bytes_max=PAYLOAD_BYTES_MAX,
            clock=lambda: self._way.seconds,
        )
        streams.driver = self._shell
        return streams

    def _new_server(self) -> WithheldParts:
        peer = self._way.peer
        honest = PartServer(_Rows(peer.disk), frozenset(), lambda: self._way.seconds)
        return WithheldParts(honest, peer.serving_of, self._way.after)

    def _plan_tick(self) -> None:
        if self._streams.under_way and not self._has_tick_planned:
            self._has_tick_planned = True
            self._way.after(BULK_TICK_SECONDS, self._tick)

    def _tick(self) -> None:
        self._has_tick_planned = False
        self._streams.tick()
        self._plan_tick()


class _Rows:
    """A disk as the side streams read it."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk

    def get(self, table: str, key: bytes) -> bytes | None:
        """The value under this key."""
        return self._disk.rows.get((table, key))

    def has(self, table: str, key: bytes) -> bool:
        """Whether there is one."""
        return (table, key) in self._disk.rows
