"""Connecting to other peers: both sides of the handshake on real sockets, and what is done when it fails."""

import asyncio
import os
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Protocol

import aiohttp

from node.common.address import Address
from node.net.address_book import AddressBook
from node.net.channel import BytesCounted, Channel, ChannelClosedError, Clock, WebSocket
from node.net.connection import Connection, Disconnect
from node.net.connections import Connections
from node.net.dialer import UnreachableError, open_web_socket
from node.net.handshake import Established, Failed, Failure, Handshake, Introduction, Role
from node.net.listener import InboundSocket, PeerListener, SeldomNotes
from node.net.network_interface import NetSettings
from node.net.rates import Meter
from node.net.wire import FrameError, Hello, encode_frame

SECRET_BYTES = 32
"""An X25519 secret, fresh for each handshake."""


class ConnectionHandler(Protocol):
    """Whoever lives with the connections that the connector brings about."""

    def admit(self, channel: Channel, established: Established, listening_address: Address | None) -> Connection:
        """Enter a new connection; it is kept right after."""
        ...

    async def keep(self, link: Connection) -> Disconnect:
        """Live with it until it is over, and say why it is."""
        ...

    def note(self, text: str) -> None:
        """What a person should know."""
        ...


class Connector:
    """Serves those who come, dials those whom the address book names. `introduce` says who we are, the actual port included."""

    def __init__(
        self,
        introduce: Callable[[], Introduction],
        settings: NetSettings,
        host: ConnectionHandler,
        *,
        connections: Connections,
        book: AddressBook,
        clock: Clock,
        traffic: BytesCounted,
    ) -> None:
        self._introduce = introduce
        self._settings = settings
        self._host = host
        self._connections = connections
        self._book = book
        self._clock = clock
        self._traffic = traffic
        self._dialling = 0
        self._outsider_notes = SeldomNotes(host.note, clock)

    def channel(self, web_socket: WebSocket, role: Role) -> Channel:
        """A WebSocket as a channel that is counted and held to its rate."""
        return Channel(web_socket, role, Meter(self._settings.rates, self._clock()), self._clock, self._traffic)

    # --- those who come -------------------------------------------------------------------------------------------

    async def welcome(self, listener: PeerListener, group: asyncio.TaskGroup) -> None:
        """Serve each arrival in a task of its own."""
        while True:
            arrival = await listener.arrivals.get()
            group.create_task(self._serve(listener, arrival))

    async def _serve(self, listener: PeerListener, arrival: InboundSocket) -> None:
        try:
            async with arrival.channel as channel:
                link = await self._greet(channel)
                if link is not None:
                    listener.admit(arrival)
                    await self._host.keep(link)
        finally:
            listener.release(arrival)

    async def _greet(self, channel: Channel) -> Connection | None:
        """The listener's side of the handshake; None when there is no connection."""
        if self._connections.is_host_refused(channel.remote.host, self._clock()):
            channel.say("refused for a time")
            return None
        handshake = Handshake(Role.LISTENER, self._introduce(), os.urandom(SECRET_BYTES))
        try:
            async with asyncio.timeout(self._settings.handshake_seconds_max):
                outcome = await _shake_hands(channel, handshake, self._clock)
        except FrameError as error:
            outcome = Failed(Failure.BROKEN, f"broke the handshake: {error}", is_offence=True)
        except (ChannelClosedError, TimeoutError):
            return None  # an outsider that hangs up or says nothing is not worth a note
        if isinstance(outcome, Failed):
            self._reject(channel, handshake.their_hello, outcome)
            return None
        reason = self._connections.reason_against_inbound(channel, outcome.peer, self._clock())
        if reason is not None:
            channel.say(reason)
            return None
        return self._host.admit(channel, outcome, _listening_address(channel, outcome.hello))

    def _reject(self, channel: Channel, hello: Hello | None, failed: Failed) -> None:
        now = self._clock()
        channel.say(failed.failure.value)
        if failed.is_offence:
            self._connections.blame_host(channel.remote.host, now)
        if failed.failure is not Failure.OWN_KEY:
            where = (hello and _listening_address(channel, hello)) or channel.remote
            self._outsider_notes.say(f"{where} {failed.detail}")

    # --- those whom we dial ---------------------------------------------------------------------------------------

    def dial_due(self, session: aiohttp.ClientSession, group: asyncio.TaskGroup) -> None:
        """Dial, in a task each, as many addresses as connections are wanted."""
        now = self._clock()
        wanted = self._settings.outbound_target - len(self._connections.in_role(Role.DIALER)) - self._dialling
        for address in self._book.due(now, self._connections.avoided(now), wanted, self._connections.outbound_groups()):
            self._dialling += 1
            group.create_task(self._dial(session, address))

    async def _dial(self, session: aiohttp.ClientSession, address: Address) -> None:
        async with AsyncExitStack() as stack:
            try:
                link = await self._connect(session, address, stack)
            finally:
                self._dialling -= 1
            if link is not None:
                disconnect = await self._host.keep(link)
                now = self._clock()
                self._book.on_end(address, now, 0.0 if disconnect.is_meddled_with else now - link.connected_at)

    async def _connect(self, session: aiohttp.ClientSession, address: Address, stack: AsyncExitStack) -> Connection | None:
        """The dialer's side of the handshake; None when there is no connection, and the address book knows."""
        try:
            async with asyncio.timeout(self._settings.handshake_seconds_max):
                web_socket = await open_web_socket(session, address, self._settings.heartbeat_seconds)
                channel = await stack.enter_async_context(self.channel(web_socket, Role.DIALER))
                outcome = await _shake_hands(
                    channel, Handshake(Role.DIALER, self._introduce(), os.urandom(SECRET_BYTES)), self._clock
                )
        except (TimeoutError, UnreachableError, ChannelClosedError, FrameError) as error:
            self._unreachable(address, error)
            return None
        if isinstance(outcome, Failed):
            self._not_ours(address, outcome)
            return None
        now = self._clock()
        self._book.on_answer(address, outcome.peer)
        is_avoided = outcome.peer in self._connections.avoided(now)
        is_welcome = self._book.is_configured(address) or self._connections.has_outbound_place(outcome.peer)
        if is_avoided or not is_welcome:
            self._book.on_declined(address, now, is_welcome=is_welcome)
            return None
        return self._host.admit(channel, outcome, Address(channel.remote.host, address.port))

    def _unreachable(self, address: Address, error: TimeoutError | UnreachableError | ChannelClosedError | FrameError) -> None:
        match error:
            case TimeoutError():
                reason = f"no answer within {self._settings.handshake_seconds_max:g} s"
            case UnreachableError():
                reason = str(error)
            case ChannelClosedError():
                reason = f"it closed the connection ({str(error) or 'without a reason'})"
            case _:
                reason = f"it broke the handshake: {error}"
        self._dial_failed(address, f"cannot reach {address}: {reason}", is_lasting=isinstance(error, FrameError))

    def _not_ours(self, address: Address, failed: Failed) -> None:
        """Somebody answers there, but nobody to connect to."""
        if failed.failure is not Failure.OWN_KEY:
            self._dial_failed(address, f"{address} {failed.detail}", is_lasting=True)
            return
        is_configured = self._book.is_configured(address)
        if self._book.is_ourselves(address, self._clock()) and is_configured:
            self._host.note(f"{address} {failed.detail}")

    def _dial_failed(self, address: Address, text: str, *, is_lasting: bool) -> None:
        is_configured = self._book.is_configured(address)
        wait = self._book.on_failure(address, self._clock(), is_lasting)
        if is_configured and wait is not None:  # an address that others told us of may well be gone
            self._host.note(f"{text}; next attempt in {_seconds(wait)}")


async def _shake_hands(channel: Channel, handshake: Handshake, clock: Clock) -> Established | Failed:
    """Carry a handshake to its outcome. Raises FrameError and ChannelClosedError."""
    progress = handshake.start()
    while True:
        for frame in progress.frames:
            await channel.send(encode_frame(frame))
        if progress.outcome is not None:
            return progress.outcome
        asked_at = clock()
        try:
            frame = await channel.receive()
            if progress.frames:
                channel.answer_seconds = min(channel.answer_seconds, clock() - asked_at)
            progress = handshake.receive(frame)
        except ChannelClosedError:
            failed = handshake.on_close()
            if failed is None:
                raise
            return failed


def _listening_address(channel: Channel, hello: Hello) -> Address | None:
    """Where a peer that dialled us says that it listens."""
    return Address(channel.remote.host, hello.listening_port) if hello.listening_port else None


def _seconds(wait: float) -> str:
    return f"{wait:.0f} s" if wait >= 1 else f"{wait:.1f} s"
