"""One end of a connection in memory, as asyncio and aiohttp see it: a transport with flow control, on two pipes."""

import asyncio
import errno
from collections import deque
from collections.abc import Callable
from typing import cast

from node.lab.simulation.sockets.pipe import Mark, Pipe, Segment
from node.net.channel import OWN_HANDLE

HIGH_WATER_BYTES = 65_536
"""Unsent bytes above which a writer is told to wait: asyncio's own default."""

LOW_WATER_BYTES = HIGH_WATER_BYTES // 4
"""Below it the writer goes on: asyncio's own default."""


class MemoryTransport(asyncio.Transport):
    """Of one connection the end whose bytes leave by `outgoing`. `ended` is called once, when it is over on this side."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        outgoing: Pipe,
        incoming: Pipe,
        names: dict[str, tuple[str, int]],
        ended: "Callable[[MemoryTransport], None]",
    ) -> None:
        super().__init__({**names, OWN_HANDLE: SimulatedSocket(self)})
        self.opened: asyncio.Future[None] = loop.create_future()
        """For who dials: whether the other side accepts."""
        self._loop = loop
        self._outgoing = outgoing
        self._incoming = incoming
        self._ended = ended
        self._protocol: asyncio.Protocol | None = None
        self._inbox: deque[bytes | Mark] = deque()
        self._is_reading = True
        self._is_closing = False
        self._is_lost = False
        self._lost_by: OSError | None = None
        self._is_writer_waiting = False
        self._water_bytes = LOW_WATER_BYTES, HIGH_WATER_BYTES
        incoming.arrive = self._arrived
        outgoing.drained = self._drained

    def start(self, protocol: asyncio.BaseProtocol) -> None:
        """Tell `protocol` of the connection, and then all that comes."""
        self._protocol = cast("asyncio.Protocol", protocol)  # asyncio's own transports take it on trust, too
        self._protocol.connection_made(self)
        if self._is_lost:
            self._loop.call_soon(self._tell_lost)
        else:
            self._loop.call_soon(self._read)

    # --- what arrives ---

    def _arrived(self, segment: Segment) -> None:
        if segment is Mark.OPEN:
            self._accepted()
        elif segment is Mark.RESET:
            self._torn_down()
        elif self._is_lost:
            if segment is not Mark.END:
                self._outgoing.mark(Mark.RESET)  # nobody is here to read it
        else:
            self._inbox.append(segment)
            self._read()

    def _accepted(self) -> None:
        if self.opened.done():  # who dialled has given up meanwhile
            self.abort()
        else:
            self.opened.set_result(None)

    def _torn_down(self) -> None:
        if not self.opened.done():
            self.opened.set_exception(ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused"))
        self._lose(None, ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"))

    def _read(self) -> None:
        """Hand over what is there, as long as somebody takes it."""
        while self._inbox and self._protocol is not None and self._is_reading and not self._is_closing:
            segment = self._inbox.popleft()
            if isinstance(segment, bytes):
                self._incoming.read(len(segment))
                self._protocol.data_received(segment)
            elif not self._protocol.eof_received():
                self.close()

    # --- reading ---

    def is_reading(self) -> bool:
        """Whether it hands over what arrives."""
        return self._is_reading and not self._is_closing

    def pause_reading(self) -> None:
        """Let it wait; the window at the other end fills."""
        self._is_reading = False

    def resume_reading(self) -> None:
        """Go on."""
        self._is_reading = True
        self._loop.call_soon(self._read)

    # --- writing ---

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send these bytes, now or later."""
        if not self._is_closing:
            self._outgoing.write(bytes(data))
            self._tell_writer()

    def write_eof(self) -> None:
        """Say that no more will come; reading goes on."""
        if not self._is_closing:
            self._outgoing.mark(Mark.END)

    def can_write_eof(self) -> bool:
        """As TCP can."""
        return True

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """When a writer is told to wait, and to go on, in bytes."""
        high = high if high is not None else HIGH_WATER_BYTES if low is None else 4 * low
        self._water_bytes = (high // 4 if low is None else low), high
        self._tell_writer()

    def get_write_buffer_limits(self) -> tuple[int, int]:
        """(low, high), in bytes."""
        return self._water_bytes

    def get_write_buffer_size(self) -> int:
        """Unsent bytes."""
        return self._outgoing.unsent_bytes

    def _drained(self) -> None:
        self._tell_writer()
        if self._is_closing:
            self._end_when_flushed()

    def _tell_writer(self) -> None:
        low, high = self._water_bytes
        if self._protocol is None or self._is_lost:
            return
        if not self._is_writer_waiting and self._outgoing.unsent_bytes > high:
            self._is_writer_waiting = True
            self._protocol.pause_writing()
        elif self._is_writer_waiting and self._outgoing.unsent_bytes <= low:
            self._is_writer_waiting = False
            self._protocol.resume_writing()

    # --- the end ---

    def is_closing(self) -> bool:
        """Whether it is over, or will be once all is sent."""
        return self._is_closing

    def close(self) -> None:
        """Read no more, send what waits, and end."""
        if not self._is_closing:
            self._is_closing = True
            self._end_when_flushed()

    def abort(self) -> None:
        """End now; the other side is told that the connection is torn down."""
        self._lose(Mark.RESET, None)

    def cut_off(self) -> None:
        """End now; what is on its way arrives."""
        self._outgoing.drop_unsent()
        self._lose(self._parting, None)

    def get_protocol(self) -> asyncio.BaseProtocol:
        """Who is told of what arrives."""
        assert self._protocol is not None, "not started"
        return self._protocol

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Tell somebody else from now on."""
        self._protocol = cast("asyncio.Protocol", protocol)

    @property
    def _parting(self) -> Mark:
        """Who closes with unread bytes resets the connection (RFC 1122, 4.2.2.13)."""
        return Mark.RESET if any(isinstance(segment, bytes) for segment in self._inbox) else Mark.END

    def _end_when_flushed(self) -> None:
        if not self._outgoing.unsent_bytes:
            self._lose(self._parting, None)

    def _lose(self, parting: Mark | None, error: OSError | None) -> None:
        if self._is_lost:
            return
        self._is_closing = self._is_lost = True
        self._lost_by = error
        if parting is not None:
            self._outgoing.mark(parting)
        self._inbox.clear()
        self._ended(self)
        if self._protocol is not None:
            self._loop.call_soon(self._tell_lost)

    def _tell_lost(self) -> None:
        assert self._protocol is not None, "whoever is not told of a connection is not told of its end"
        self._protocol.connection_lost(self._lost_by)


class SimulatedSocket:
    """A handle to the connection, as the node's channel holds one."""

    def __init__(self, transport: MemoryTransport) -> None:
        self._transport = transport

    def shutdown(self, _how: int, /) -> None:
        """End the connection whatever is still unsent."""
        self._transport.cut_off()

    def close(self) -> None:
        """Let go of the handle; the connection goes on."""
