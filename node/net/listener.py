"""The listening side: accepts connections, bounds those that have not proven who they are, and hands them on.

What people are told of outsiders is seldom enough that no outsider fills a log or a disk, and says how much was left out.
"""

import asyncio
import errno
import logging
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from node.net.address_book import group_of
from node.net.channel import CLOSE_SECONDS_MAX, MESSAGE_SIZE_SETTING, Channel, Clock, WebSocket
from node.net.gate import Gate
from node.net.listening import why_not_listening
from node.net.network_interface import ListenError, NetSettings, PortInUseError
from node.net.rates import TokenBucket, TokenBuckets

NOTES_PER_SECOND = 0.2
"""Of 200 bytes each: 3 MB of log a day, whatever outsiders do."""

NOTES_BURST = 10
"""What goes wrong once, or for one reason, is told at once."""


class SeldomNotes:
    """One kind of notes. `clock`: monotonic, in seconds."""

    def __init__(self, note: Callable[[str], None], clock: Callable[[], float], burst: int = NOTES_BURST) -> None:
        self._note = note
        self._clock = clock
        self._bucket = TokenBucket(NOTES_PER_SECOND, burst, clock())
        self._left_out = 0

    def say(self, text: str) -> None:
        """Tell it, or count it and tell the number with the next one."""
        if not self._bucket.take(1, self._clock()):
            self._left_out += 1
            return
        self._note(f"{text} (and {self._left_out} more like it)" if self._left_out else text)
        self._left_out = 0


class _Notes(logging.Handler):
    """Malformed requests are an outsider's affair. What is left is ours: named by its kind and its place in our code."""

    def __init__(self, note: Callable[[str], None], clock: Callable[[], float]) -> None:
        super().__init__(logging.ERROR)
        self._notes = SeldomNotes(note, clock)

    def emit(self, record: logging.LogRecord) -> None:
        """Leave out message and arguments: they hold what the client sent."""
        error = record.exc_info[1] if record.exc_info else None
        if not isinstance(error, HttpProcessingError):
            self._notes.say(f"a request over HTTP failed: {_place_of(error)}")


def _place_of(error: BaseException | None) -> str:
    if error is None:
        return "no reason is known"
    frames = traceback.extract_tb(error.__traceback__)
    place = f" at {frames[-1].filename}:{frames[-1].lineno}" if frames else ""
    return f"{type(error).__name__}{place}"


def logger_of_requests(note: Callable[[str], None], clock: Callable[[], float]) -> logging.Logger:
    """For aiohttp's `logger`. It belongs to no other logger, so nothing else is told. `clock`: monotonic, in seconds."""
    logger = logging.Logger("requests", logging.ERROR)
    logger.addHandler(_Notes(note, clock))
    return logger


PEER_PATH = "/peer"
"""Where peers meet; everything else on this port is not found."""

BACKLOG = 64
"""Connections that the system may queue for us: as many as we hold at most."""


GROUPS_MAX = 1_024
"""Subnets whose arrivals are counted, 0.3 kB each."""


@dataclass(frozen=True, slots=True, eq=False)
class InboundSocket:
    """A WebSocket that somebody opened to us. The listener holds the HTTP request open until `finished` is set."""

    channel: Channel
    protocol: web.RequestHandler
    finished: asyncio.Event


class PeerListener:
    """Made within a running event loop. `channel_of` wraps an accepted WebSocket; `note`: what a person should know."""

    def __init__(
        self, settings: NetSettings, channel_of: Callable[[WebSocket], Channel], note: Callable[[str], None], clock: Clock
    ) -> None:
        self.arrivals: asyncio.Queue[InboundSocket] = asyncio.Queue()  # bounded by unauthenticated_max
        self._settings = settings
        self._channel_of = channel_of
        self._server = web.Server(self._handle, access_log=None, logger=logger_of_requests(note, clock))
        self._clock = clock
        self._arrivals = TokenBuckets(settings.arrivals_per_second, settings.arrivals_burst, GROUPS_MAX)
        self._listener: asyncio.Server | None = None
        self._admitted: set[web.RequestHandler] = set()
        self._first_seen: dict[web.RequestHandler, float] = {}
        self._gates: dict[web.RequestHandler, Gate] = {}
        """Of those that have still to prove a key."""

    async def open(self) -> int:
        """Listen; the port. Raises PortInUseError when it is taken, ListenError when the address cannot be used."""
        address = self._settings.listen_address
        loop = asyncio.get_running_loop()
        try:
            self._listener = await loop.create_server(
                lambda: AcceptFilter(self._accept), address.host, address.port, backlog=BACKLOG
            )
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise PortInUseError(why_not_listening(address, error)) from error
            raise ListenError(why_not_listening(address, error)) from error
        port: int = self._listener.sockets[0].getsockname()[1]
        return port

    async def close(self) -> None:
        """Stop listening and end every connection."""
        if self._listener is None:
            return
        self._listener.close()
        self._abort_all()
        await self._server.shutdown(CLOSE_SECONDS_MAX)
        await self._listener.wait_closed()

    def admit(self, arrival: InboundSocket) -> None:
        """It has proven who it is."""
        self._admitted.add(arrival.protocol)
        gate = self._gates.pop(arrival.protocol, None)  # none, where the connection has just ended
        if gate is not None:
            gate.prove()

    def release(self, arrival: InboundSocket) -> None:
        """Its connection is over."""
        self._admitted.discard(arrival.protocol)
        arrival.finished.set()

    def drop_outsiders(self, now: float) -> None:
        """End the connections that took too long to prove who they are, those included that never sent a request."""
        self._first_seen = {protocol: self._first_seen.get(protocol, now) for protocol in self._server.connections}
        self._gates = {protocol: gate for protocol, gate in self._gates.items() if protocol in self._first_seen}
        for protocol, since in self._first_seen.items():
            is_late = now - since > self._settings.handshake_seconds_max
            if is_late and protocol not in self._admitted and protocol.transport is not None:
                protocol.transport.abort()

    def _abort_all(self) -> None:
        """Nobody serves any more those who still stand here, with a request or before it, and nobody shall wait for them."""
        while not self.arrivals.empty():
            arrival = self.arrivals.get_nowait()
            arrival.channel.cut_off()
            self.release(arrival)
        for protocol in self._server.connections:
            if protocol.transport is not None:
                protocol.transport.abort()

    def _accept(self, host: str) -> asyncio.Protocol | None:
        """None when too many come from that subnet, or are in their handshake. Where too many are in all, one has to go.

        Were the newcomer turned away instead, whoever keeps the room full would keep everybody out.
        """
        group = group_of(host)
        if group is not None and not self._arrivals.take(group, self._clock()):
            return None  # first of all, since this is what a flood comes to
        outsiders = self._outsiders()
        in_group = Counter(outsiders.values())
        if group is not None and in_group[group] >= self._settings.unauthenticated_per_group_max:
            return None
        if len(outsiders) >= self._settings.unauthenticated_max:
            largest = max(in_group.values())
            oldest = next(protocol for protocol, its_group in outsiders.items() if in_group[its_group] == largest)
            if oldest.transport is not None:
                oldest.transport.abort()
        served = self._server()
        gate = self._gates[served] = Gate(served, self._settings.rates, self._clock)
        return gate

    def _outsiders(self) -> dict[web.RequestHandler, str | None]:
        """The connections that have not proven who they are, oldest first, and the subnet of each."""
        return {
            protocol: group_of(_host_of(protocol.transport))
            for protocol in self._server.connections
            if protocol not in self._admitted and protocol.transport is not None and not protocol.transport.is_closing()
        }

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.path != PEER_PATH:
            answer = web.Response(status=404, text=f"peers meet at {PEER_PATH}\n")
            answer.force_close()
            return answer
        web_socket = web.WebSocketResponse(
            heartbeat=self._settings.heartbeat_seconds,
            max_msg_size=MESSAGE_SIZE_SETTING,
            compress=False,
            autoping=False,
            timeout=CLOSE_SECONDS_MAX,
        )
        try:
            await web_socket.prepare(request)
        except ConnectionError:
            return web.Response()  # who asked has hung up, and nobody will read this
        arrival = InboundSocket(self._channel_of(web_socket), request.protocol, asyncio.Event())
        self.arrivals.put_nowait(arrival)
        await arrival.finished.wait()
        return web_socket


def _host_of(transport: asyncio.Transport) -> str:
    """Where a connection comes from."""
    peer_name = transport.get_extra_info("peername")
    return peer_name[0] if peer_name else ""


class AcceptFilter(asyncio.Protocol):
    """Hands the connection to the protocol that is made for its host, or ends it where there is none."""

    def __init__(self, protocol_for: Callable[[str], asyncio.Protocol | None]) -> None:
        self._protocol_for = protocol_for

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It has been accepted."""
        peer_name = transport.get_extra_info("peername")
        protocol = self._protocol_for(peer_name[0]) if peer_name else None  # gone already, where it has no name
        if protocol is None:
            transport.close()
        else:
            transport.set_protocol(protocol)
            protocol.connection_made(transport)
