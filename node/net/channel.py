"""One WebSocket, of either side, as a channel of frames: counted, held to its rate, sealed once the handshake is done."""

import asyncio
import socket
from collections.abc import Callable
from contextlib import closing
from types import TracebackType
from typing import Protocol, Self

import aiohttp
from aiohttp import WSCloseCode, WSMsgType, web

from node.common.address import Address
from node.net.address_book import canonical_host
from node.net.handshake import SEAL_BYTES, Role, Seal, SessionKeys
from node.net.rates import Meter
from node.net.wire import (
    WEBSOCKET_MESSAGE_BYTES_MAX,
    Frame,
    UnsealedError,
    decode_frame,
    printable,
)

WebSocket = web.WebSocketResponse | aiohttp.ClientWebSocketResponse
Clock = Callable[[], float]

CLOSE_SECONDS_MAX = 1.0
"""A peer that does not take part in the closing handshake is cut off after this."""

CLOSE_REASON_BYTES_MAX = 123
"""A control frame carries 125 bytes, two of them the code (RFC 6455, section 5.5)."""

MESSAGE_SIZE_SETTING = WEBSOCKET_MESSAGE_BYTES_MAX + SEAL_BYTES + 1
"""aiohttp refuses messages of this size and above."""

OWN_HANDLE = "own handle"
"""Under this name a transport that lies on no socket gives its handle as extra information."""


class ClosableSocket(Protocol):
    """Our own way to end a connection; a socket is one."""

    def shutdown(self, how: int, /) -> None:
        """End it whatever is still unsent. Raises OSError when it had ended already."""
        ...

    def close(self) -> None:
        """Let go of the handle."""
        ...


class ChannelClosedError(Exception):
    """The other side closed, or the connection broke; the message is what the other side or the system said, maybe nothing."""


class BytesCounted:
    """Bytes of WebSocket frames in both directions: payload, seal and frame header; TCP and IP not counted."""

    def __init__(self) -> None:
        self.sent = 0
        self.received = 0


class Channel:
    """Use as `async with`: however the block is left, the socket is closed."""

    def __init__(self, web_socket: WebSocket, role: Role, meter: Meter, clock: Clock, total: BytesCounted) -> None:
        self.role = role
        self.traffic = BytesCounted()
        self.answer_seconds = float("inf")
        """How long the other side took to answer in the handshake, at least."""
        self._web_socket = web_socket
        self._meter = meter
        self._clock = clock
        self._total = total
        self._sending: Seal | None = None
        self._receiving: Seal | None = None
        self._reason = ""
        peer_name = web_socket.get_extra_info("peername") or ("0.0.0.0", 0)  # gone already: the first read will say so
        self.remote = Address(canonical_host(peer_name[0]) or peer_name[0], peer_name[1])
        self._handle = _handle_of(web_socket)

    def seal_with(self, keys: SessionKeys) -> None:
        """From now on every frame is sealed."""
        dialer, listener = Seal(keys.dialer_to_listener), Seal(keys.listener_to_dialer)
        self._sending, self._receiving = (dialer, listener) if self.role is Role.DIALER else (listener, dialer)

    async def send(self, data: bytes) -> None:
        """Send one encoded frame; waits while the socket's buffer is full. Raises ChannelClosedError."""
        sealed = self._sending.close(data) if self._sending is not None else data
        size = _size_on_wire(len(sealed), is_masked=self.role is Role.DIALER)
        self.traffic.sent += size
        self._total.sent += size
        try:
            await self._web_socket.send_bytes(sealed)
        except ConnectionError as error:
            raise ChannelClosedError(str(error)) from error

    async def receive(self) -> Frame:
        """The next frame.

        Raises FrameError when the other side broke the rules of the wire, ChannelClosedError when there is no next frame.
        """
        while True:
            message = await self._web_socket.receive()
            match message.type:
                case WSMsgType.BINARY:
                    self._count(len(message.data))
                    return decode_frame(self._receiving.open(message.data) if self._receiving is not None else message.data)
                case WSMsgType.PING:
                    self._count_control(len(message.data))
                    await self._pong(message.data)
                case WSMsgType.PONG:
                    self._count_control(len(message.data))
                case WSMsgType.TEXT:
                    raise UnsealedError("text message, where only binary ones are allowed")
                case WSMsgType.ERROR:
                    raise _error_of(message.data)
                case _:
                    raise ChannelClosedError(printable(str(message.extra or ""), CLOSE_REASON_BYTES_MAX))

    def say(self, reason: str) -> None:
        """Why we are going to close; the other side is told."""
        self._reason = reason

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        code = WSCloseCode.POLICY_VIOLATION if self._reason else WSCloseCode.GOING_AWAY
        text = printable(self._reason, CLOSE_REASON_BYTES_MAX).encode()
        try:
            async with asyncio.timeout(CLOSE_SECONDS_MAX):
                await self._web_socket.close(code=code, message=text)
        except TimeoutError:
            self._reason = "cut off"
        finally:
            self.cut_off()

    def cut_off(self) -> None:
        """End the connection whatever is still unsent."""
        if self._handle is None:
            return
        with closing(self._handle) as handle:
            try:
                handle.shutdown(socket.SHUT_RDWR)
            except OSError:
                return  # it had ended already

    async def _pong(self, data: bytes) -> None:
        try:
            await self._web_socket.pong(data)
        except ConnectionError as error:
            raise ChannelClosedError(str(error)) from error

    def _count(self, size: int) -> None:
        self._meter.charge(self._note_received(size), self._clock())

    def _count_control(self, size: int) -> None:
        self._note_received(size)
        self._meter.charge_control(self._clock())

    def _note_received(self, size: int) -> int:
        on_wire = _size_on_wire(size, is_masked=self.role is Role.LISTENER)
        self.traffic.received += on_wire
        self._total.received += on_wire
        return on_wire


def _handle_of(web_socket: WebSocket) -> ClosableSocket | None:
    """Our own handle to the connection: by it we can cut off who does not read, under uvloop too. None when it is gone."""
    own: ClosableSocket | None = web_socket.get_extra_info(OWN_HANDLE)
    if own is not None:
        return own
    transport_socket = web_socket.get_extra_info("socket")
    if transport_socket is None:
        return None
    try:
        return socket.fromfd(transport_socket.fileno(), transport_socket.family, transport_socket.type)
    except OSError:
        return None  # it has just ended; the first read will say so


def _size_on_wire(size: int, *, is_masked: bool) -> int:
    """With the frame header (RFC 6455, section 5.2): 2 bytes, the longer length, and the mask of what a client sends."""
    longer_length = 0 if size < 126 else 2 if size < 65_536 else 8
    return size + 2 + longer_length + (4 if is_masked else 0)


def _error_of(error: object) -> Exception:
    if isinstance(error, aiohttp.WebSocketError):
        return UnsealedError(str(error))
    if isinstance(error, TimeoutError):
        return ChannelClosedError("it does not answer pings")
    return ChannelClosedError(str(error))
