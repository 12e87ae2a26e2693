"""What the network offers to the node: settings, events, and what people may ask."""

from dataclasses import dataclass, field
from typing import Protocol

from consensus.types import PeerId
from node.common.address import Address
from node.net.address_book import Backoff
from node.net.costs import CostLimits
from node.net.gossip import GossipLimits
from node.net.rates import RateLimits
from node.net.wire import GetPart, Part


class ListenError(Exception):
    """The address to listen on cannot be used; the message says which and why."""


class PortInUseError(ListenError):
    """Somebody listens there already."""


@dataclass(frozen=True, slots=True)
class NetSettings:
    """How one peer takes part in the network. Seconds, bytes and counts; every bound has its reason below it."""

    listen_host: str = "127.0.0.1"
    listen_port: int = 0
    """0: any free port."""

    dial: tuple[tuple[str, int], ...] = ()
    """(host, port) of peers to start from; host names are allowed here."""

    remembered: tuple[tuple[str, int], ...] = ()
    """(host, port) where peers were in an earlier life: tried like addresses that others tell."""

    user_agent: str = "kubrat"
    outbound_target: int = 8
    """Bitcoin's number: the graph of random outbound connections is then connected with overwhelming probability.

    Where there are members: room for all of them comes first, what is beyond is for others.
    """

    outbound_per_group_max: int = 2
    """Of addresses that others tell: who owns one subnet shall not be all that we dial. Not held against this machine."""

    inbound_max: int = 64
    """With the outbound ones at most 72 connections."""

    inbound_per_group_max: int = 8
    """One subnet cannot take all places; a household behind one address fits. Held against neither members nor this machine."""

    members: frozenset[PeerId] = frozenset()
    """Whoever has a part in a total order comes first, inbound and outbound; nobody: the network is open to all."""

    unauthenticated_max: int = 32
    """Connections in their handshake; each costs a socket and two signatures' worth of work."""

    unauthenticated_per_group_max: int = 8
    """As many as may stay: one subnet cannot keep the door shut for all others. Not held against this machine itself."""

    arrivals_per_second: float = 8.0
    """Connections from one subnet; a handshake costs about 2 ms, so that is a fiftieth of our time. Not held against this
    machine itself."""

    arrivals_burst: float = 64.0
    """A whole subnet of peers that come back at once."""

    handshake_seconds_max: float = 5.0
    """Connection, upgrade and three frames: ten slow round trips."""

    heartbeat_seconds: float = 15.0
    """An idle connection is pinged this often, and given half of it to answer."""

    silence_seconds: float = 60.0
    """A peer of which nothing was heard for half of it is asked for addresses, and given the other half to answer. Pings tell
    less: whoever relays a connection can answer them, and would keep two peers apart that take each other for connected."""

    outbox_frames_max: int = 2_048
    """A slow peer may lag by this much before it is dropped: several seconds of a busy network."""

    outbox_bytes_max: int = 8_388_608
    """Eight of the largest messages."""

    outsiders_outbox_bytes_max: int = 67_108_864
    """Of all together who came by themselves, or have no part in the total order: eight such. Beyond it the one for whom most
    waits is dropped. An honest one that syncs has asked for 4 MB at most."""

    refusal_seconds: float = 600.0
    """Long enough to be of no use to an attacker, short enough for a peer that has been repaired."""

    address_exchange_seconds: float = 60.0
    """How often one connected peer is asked for further addresses."""

    rates: RateLimits = field(default_factory=RateLimits)
    costs: CostLimits = field(default_factory=CostLimits)
    backoff: Backoff = field(default_factory=Backoff)
    gossip: GossipLimits = field(default_factory=GossipLimits)

    @property
    def listen_address(self) -> Address:
        """Where to listen."""
        return Address(self.listen_host, self.listen_port)


class NetworkEvents(Protocol):
    """What the network tells the node, from within the event loop; each returns at once."""

    def on_peer_joined(self, peer: PeerId, group: bytes) -> None:
        """An authenticated connection to `peer` now exists. `group`: the subnet that it counts with; empty on this machine."""
        ...

    def on_peer_left(self, peer: PeerId) -> None:
        """The connection to `peer` is gone."""
        ...

    def on_message(self, peer: PeerId, message: bytes) -> bool:
        """A message of the ordering protocol, not yet judged; whether anybody has looked at it.

        A flooded one comes once, from whoever was first; if it was not looked at, again from another.
        """
        ...

    def on_part_request(self, peer: PeerId, question: GetPart) -> None:
        """A peer asks for a part of something large: answered by `PeerNetwork.give_part`."""
        ...

    def on_part(self, peer: PeerId, part: Part) -> None:
        """A part of something large has come, asked for or not."""
        ...

    def note(self, text: str) -> None:
        """What a person should know: a peer that cannot be reached, or was refused, and why."""
        ...


@dataclass(frozen=True, slots=True)
class PeerInfo:
    """One connection, for people."""

    peer: PeerId
    address: str
    is_outbound: bool
    bytes_sent: int
    bytes_received: int
    connected_seconds: float
    user_agent: str
