"""One peer's part in bringing messages to everybody: the real node's flooding machine over simulated connections."""

from collections.abc import Callable
from functools import partial
from typing import assert_never

from consensus.types import PeerId
from node.lab.simulation.way import SimulatedOutbox
from node.net.gossip import Gossip, GossipEffect, GossipLimits, MessageSeen
from node.net.transport import TICK_SECONDS
from node.net.wire import SHORT_DIGEST_BYTES, GossipFrame, Have, Want

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
