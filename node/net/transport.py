"""The network of one peer: listens, dials, authenticates, floods, and drops whoever breaks the rules of the wire."""

import asyncio
from collections.abc import Callable
from random import Random
from typing import assert_never

import aiohttp

from consensus.effects import Offence
from consensus.encoding import Signer
from consensus.types import NetworkId, PeerId
from node.common.address import Address
from node.net.address_book import AddressBook, canonical_host, group_of, is_dialable, is_loopback
from node.net.channel import BytesCounted, Channel
from node.net.connection import SHORT_KEY_BYTES, Backlogs, Connection, Disconnect, OutboxLimits
from node.net.connections import KEPT_APART, Connections
from node.net.connector import Connector
from node.net.costs import Costs, PeerRole
from node.net.dialer import client_session
from node.net.gossip import Gossip, GossipEffect, MessageSeen, SendAnnouncement
from node.net.handshake import Established, Introduction, Role
from node.net.listener import PeerListener, SeldomNotes
from node.net.network_interface import ListenError, NetSettings, NetworkEvents, PeerInfo, PortInUseError
from node.net.wire import (
    ADDRESSES_MAX,
    ORDERING_BYTES_MAX,
    Addresses,
    Frame,
    GetAddresses,
    GetPart,
    GossipFrame,
    Have,
    Hello,
    OrderingFrame,
    Part,
    Proof,
    Rules,
    Want,
    encode_frame,
)

__all__ = ["ListenError", "NetSettings", "NetworkEvents", "PeerInfo", "PeerNetwork", "PortInUseError"]

TICK_SECONDS = 0.1
"""How often timeouts, dials and exchanges are looked at; the shortest of them is half a second."""


EVICTION_SECRET_BYTES = 16
"""2**128 keys: nobody can aim at the subnets that this peer protects."""

REFUSALS_TOLD_BURST = 64
"""As many as there are places: keys are free, and each fresh one that is refused would leave a line in the log."""

REST_SECONDS_TOLD = 1.0
"""Who is made to wait so long is named to people."""

REMEMBERED = "an earlier life"
"""Who told us the addresses that the store held."""


class PeerNetwork:
    """The connections of one peer. `sign` signs with the key of `identity`; `clock` is monotonic, in seconds.

    `stopwatch`: seconds, by which the work on each frame is measured.

    `rules` are the (field, value) pairs of the network file, for the message when another network is met.
    """

    def __init__(
        self,
        *,
        identity: PeerId,
        sign: Signer,
        network_id: NetworkId,
        rules: tuple[tuple[str, str], ...],
        settings: NetSettings,
        events: NetworkEvents,
        random: Random,
        clock: Callable[[], float],
        stopwatch: Callable[[], float],
    ) -> None:
        self.ready = asyncio.Event()
        self._identity = identity
        self._sign = sign
        self._network_id = network_id
        self._rules = rules
        self._settings = settings
        self._events = events
        self._random = random
        self._clock = clock
        self._stopwatch = stopwatch
        self._costs = Costs(settings.costs, len(settings.members), clock())
        self._backlogs = Backlogs(settings.outsiders_outbox_bytes_max)
        self._port = settings.listen_port
        self._traffic = BytesCounted()
        self._gossip = Gossip(settings.gossip)
        self._connections = Connections(identity, settings, random.randbytes(EVICTION_SECRET_BYTES), self._gossip.useful_at)
        self._book = AddressBook(
            [Address(host, port) for host, port in settings.dial],
            random,
            settings.backoff,
            members=settings.members,
            per_group_max=settings.outbound_per_group_max,
        )
        for host, port in settings.remembered:
            self._book.learn(Address(host, port), REMEMBERED, is_local_source=True)
        self._connector = Connector(
            self._introduce, settings, self, connections=self._connections, book=self._book, clock=clock, traffic=self._traffic
        )
        self._slowness_notes = SeldomNotes(self.note, clock)
        self._refusal_notes = SeldomNotes(self.note, clock, REFUSALS_TOLD_BURST)
        self._next_exchange = clock() + settings.address_exchange_seconds

    # --- what the node does with it -------------------------------------------------------------------------------

    @property
    def port(self) -> int:
        """The port we listen on: the actual one once `ready` is set."""
        return self._port

    @property
    def bytes_sent(self) -> int:
        """Bytes of WebSocket frames sent since the start, over all connections; TCP and IP headers not counted."""
        return self._traffic.sent

    @property
    def bytes_received(self) -> int:
        """Bytes of WebSocket frames received since the start, over all connections; TCP and IP headers not counted."""
        return self._traffic.received

    def known_addresses(self) -> tuple[Address, ...]:
        """Where peers of this network were reached, what is most worth remembering first: members, then our choice."""
        members = [link.listening_address for link in self._connections if self._connections.is_member(link.peer)]
        ours = [link.listening_address for link in self._connections.in_role(Role.DIALER)]
        theirs = [link.listening_address for link in self._connections]
        found = (*members, *self._book.member_addresses(), *ours, *self._book.proven_addresses(), *theirs)
        return tuple(dict.fromkeys(address for address in found if address is not None))

    def refused_peers(self) -> frozenset[PeerId]:
        """Whom we refuse now."""
        return self._connections.refused_peers.current(self._clock())

    def peers(self) -> tuple[PeerInfo, ...]:
        """The connections of now."""
        now = self._clock()
        return tuple(
            PeerInfo(
                link.peer,
                str(link.listening_address or link.channel.remote),
                link.channel.role is Role.DIALER,
                link.channel.traffic.sent,
                link.channel.traffic.received,
                now - link.connected_at,
                link.user_agent,
            )
            for link in self._connections
        )

    def send(self, peer: PeerId, message: bytes) -> None:
        """Send a message to one peer; dropped when it is not connected."""
        assert len(message) <= ORDERING_BYTES_MAX, f"message of {len(message)} bytes, limit {ORDERING_BYTES_MAX}"
        link = self._connections.get(peer)
        if link is not None:
            link.answer(encode_frame(OrderingFrame(message)))

    def ask_part(self, peer: PeerId, digest: bytes, offset: int) -> None:
        """Ask one peer for large bytes from this offset on; dropped when it is not connected."""
        link = self._connections.get(peer)
        if link is not None:
            link.send(encode_frame(GetPart(digest, offset)))

    def give_part(self, peer: PeerId, part: Part) -> None:
        """Answer a question of this peer; dropped when it is not connected."""
        link = self._connections.get(peer)
        if link is not None:
            link.answer(encode_frame(part))

    def broadcast(self, message: bytes) -> None:
        """Bring a message to every peer: our own, or one received and judged worth passing on."""
        self._carry_out(self._gossip.broadcast(message, self._clock()))

    def refuse(self, peer: PeerId, offence: str, detail: str) -> None:
        """Disconnect this peer and refuse its key for a time."""
        self._connections.refused_peers.add(peer, self._clock())
        link = self._connections.get(peer)
        name = link or f"peer {peer[:SHORT_KEY_BYTES].hex()}"
        say = self.note if self._connections.is_member(peer) else self._refusal_notes.say
        say(f"refused {name} for {self._settings.refusal_seconds:g} s: {offence}: {detail}")
        if link is not None:
            link.stop(Disconnect(f"{offence}: {detail}", is_ours=True))

    def keep_apart(self, peers: frozenset[PeerId]) -> None:
        """Have no connection to these peers, instead of an earlier such order; nobody: everybody is welcome again.

        It is no offence of theirs. Who is welcome again is dialled within a tick.
        """
        released = self._connections.apart - peers
        self._connections.apart = peers
        for link in self._connections:
            if link.peer in peers:
                link.stop(Disconnect(KEPT_APART, is_ours=True))
        if released:
            self._book.retry(released, self._clock())

    async def run(self) -> None:
        """Listen and dial until cancelled; then every socket is closed.

        Raises PortInUseError or ListenError when the address to listen on cannot be used.
        """
        listener = PeerListener(
            self._settings, lambda web_socket: self._connector.channel(web_socket, Role.LISTENER), self.note, self._clock
        )
        self._port = await listener.open()
        try:
            async with client_session(rates=self._settings.rates, clock=self._clock) as session, asyncio.TaskGroup() as group:
                group.create_task(self._connector.welcome(listener, group))
                group.create_task(self._tick(listener, session, group))
                self.ready.set()
        finally:
            await listener.close()

    async def _tick(self, listener: PeerListener, session: aiohttp.ClientSession, group: asyncio.TaskGroup) -> None:
        while True:
            now = self._clock()
            listener.drop_outsiders(now)
            self._carry_out(self._gossip.tick(now))
            self._exchange_addresses(now)
            self._give_up_silent(now)
            if not self._settings.members:
                self._costs.favour(self._connections.useful_inbound(now))
            self._connector.dial_due(session, group)
            await asyncio.sleep(TICK_SECONDS)

    # --- connections: the connector's handler -----------------------------------------------------------------------

    def admit(self, channel: Channel, established: Established, listening_address: Address | None) -> Connection:
        """Enter a new connection; an older one to the same peer gives way."""
        now = self._clock()
        limits = OutboxLimits(self._settings.outbox_frames_max, self._settings.outbox_bytes_max)
        role = self._role_of(established.peer, channel.role)
        backlogs = self._backlogs if role is PeerRole.OUTSIDER else None
        link = Connection(established, channel, listening_address, limits, now, backlogs=backlogs)
        existing = self._connections.get(link.peer)
        if existing is not None:
            existing.stop(Disconnect("connected anew", is_ours=True))
            self._forget(existing)
        self._connections.add(link)
        self._costs.on_peer_joined(link.peer, role, group_of(channel.remote.host), now)
        if listening_address is not None:
            self._learn(listening_address, link)
        self._carry_out(self._gossip.on_peer_joined(link.peer, now))
        self._events.on_peer_joined(link.peer, (group_of(link.channel.remote.host) or "").encode())
        if channel.role is Role.DIALER:
            self._ask_addresses(link)
        return link

    async def keep(self, link: Connection) -> Disconnect:
        """Let an entered connection live, and judge how it ended."""
        try:
            disconnect = await link.run(self._on_frame)
            if disconnect.offence is not None:
                self.refuse(link.peer, disconnect.offence, disconnect.detail)
            elif disconnect.is_slow:
                say = self.note if self._connections.is_member(link.peer) else self._slowness_notes.say
                say(f"dropped {link}: {disconnect.detail}")
            elif disconnect.is_meddled_with:
                self._refusal_notes.say(f"dropped {link}: {disconnect.detail}; it need not be its own doing")
        finally:
            self._forget(link)
        return disconnect

    def note(self, text: str) -> None:
        """What a person should know."""
        self._events.note(text)

    def _forget(self, link: Connection) -> None:
        if self._connections.remove(link):
            self._costs.on_peer_left(link.peer)
            self._carry_out(self._gossip.on_peer_left(link.peer, self._clock()))
            self._events.on_peer_left(link.peer)

    def _introduce(self) -> Introduction:
        return Introduction(self._identity, self._sign, self._network_id, self._rules, self._port, self._settings.user_agent)

    # --- frames ---------------------------------------------------------------------------------------------------

    def _role_of(self, peer: PeerId, role: Role) -> PeerRole:
        if self._connections.is_member(peer):
            return PeerRole.MEMBER
        is_chosen = not self._settings.members and role is Role.DIALER
        return PeerRole.CHOSEN if is_chosen else PeerRole.OUTSIDER

    def _on_frame(self, link: Connection, frame: Frame) -> float:
        """Take it in; how long to wait before the next one of this peer."""
        started = self._stopwatch()
        self._take(link, frame)
        now = self._clock()
        rest_seconds = self._costs.charge(link.peer, self._stopwatch() - started, link.moved, now)
        link.heard_at = now + rest_seconds
        if rest_seconds >= REST_SECONDS_TOLD:
            self._slowness_notes.say(f"slowing down {link}: it asks for more than its share of our time")
        return rest_seconds

    def _take(self, link: Connection, frame: Frame) -> None:
        match frame:
            case OrderingFrame(message):
                self._events.on_message(link.peer, message)
            case GossipFrame() | Have() | Want():
                self._carry_out(self._gossip.on_frame(link.peer, frame, self._clock()))
            case GetAddresses():
                link.answer(encode_frame(Addresses(self._addresses_for(link))))
            case Addresses(addresses):
                self._on_addresses(link, addresses)
            case GetPart():
                self._events.on_part_request(link.peer, frame)
            case Part():
                self._events.on_part(link.peer, frame)
            case Hello() | Proof() | Rules():
                self.refuse(link.peer, Offence.MALFORMED, f"{type(frame).__name__} after the handshake")
            case _:
                assert_never(frame)

    def _carry_out(self, effects: tuple[GossipEffect, ...]) -> None:
        for effect in effects:
            match effect:
                case MessageSeen(peer, message):
                    is_looked_at = self._events.on_message(peer, message)
                    self._carry_out(self._gossip.on_looked_at(peer, message, is_looked_at, self._clock()))
                case SendAnnouncement(peers, frame):
                    data = encode_frame(frame)
                    for peer in peers:
                        link = self._connections.get(peer)
                        assert link is not None, "the flooding machine knows the connected peers only"
                        link.send(data)
                case _:
                    assert_never(effect)

    # --- addresses ------------------------------------------------------------------------------------------------

    def _exchange_addresses(self, now: float) -> None:
        links = tuple(self._connections)
        if now >= self._next_exchange:
            self._next_exchange = now + self._settings.address_exchange_seconds
            if links:
                self._ask_addresses(self._random.choice(links))

    def _give_up_silent(self, now: float) -> None:
        limit = self._settings.silence_seconds
        for link in self._connections:
            if now - link.heard_at > limit:
                link.stop(Disconnect(f"nothing was heard of it for {limit:g} s", is_ours=True, is_meddled_with=True))
            elif now - link.heard_at > limit / 2:
                self._ask_addresses(link)

    def _ask_addresses(self, link: Connection) -> None:
        if not link.is_awaiting_addresses:
            link.is_awaiting_addresses = True
            link.send(encode_frame(GetAddresses()))

    def _addresses_for(self, link: Connection) -> tuple[tuple[str, int], ...]:
        """Some of the peers that we know, of use to the peer at the other end."""
        is_local = is_loopback(link.channel.remote.host)
        known = self.known_addresses()
        useful = [address for address in known if is_dialable(address, is_local) and address != link.listening_address]
        return tuple(self._random.sample(useful, min(ADDRESSES_MAX, len(useful))))

    def _on_addresses(self, link: Connection, addresses: tuple[tuple[str, int], ...]) -> None:
        if not link.is_awaiting_addresses:
            self.refuse(link.peer, Offence.UNSOLICITED, "addresses that were not asked for")
            return
        link.is_awaiting_addresses = False
        for host, port in addresses:
            self._learn(Address(canonical_host(host) or host, port), link)

    def _learn(self, address: Address, teller: Connection) -> None:
        """Subnets are the sources, since keys are free. For members, and on this machine, it is the key."""
        group = group_of(teller.channel.remote.host)
        source = teller.peer.hex() if group is None or self._connections.is_member(teller.peer) else group
        self._book.learn(address, source, is_local_source=group is None)
