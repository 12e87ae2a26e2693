"""What the other side of a connection may bring: one HTTP head, then whole messages, so many a second. All else ends it.

The HTTP library takes more than peers have need of: requests one after the other, and messages in fragments, empty ones too.
Neither ever becomes a frame, so nobody would be charged for them. And it takes apart all that has come before the first message
of it is judged: ten thousand of the smallest come in 64 kB, and cost more than a handshake.
"""

import asyncio
from collections.abc import Callable
from typing import cast

from node.net.rates import RateLimits, TokenBucket
from node.net.wire import WEBSOCKET_MESSAGE_BYTES_MAX

HEAD_BYTES_MAX = 8_192
"""Of a request to become a peer, or of the answer; ours have 250 bytes, and a proxy may add some."""

REFUSING_BYTES_MAX = 65_536
"""Of an answer by which no peer is met: a page that says why."""

UNPROVEN_MESSAGES_MAX = 256
"""Of who has not proven a key yet: two belong to the handshake, and what a peer sends next may be here before those are read.
0.1 ms of our time."""

UNPROVEN_BYTES_MAX = 2 * WEBSOCKET_MESSAGE_BYTES_MAX
"""The same in bytes."""

SLACK = 2
"""What is sealed is counted where it is read, and its sender is refused for too much of it. So here twice as much may pass."""

_HEAD_END = b"\r\n\r\n"
_UPGRADED = b"HTTP/1.1 101"
_CONTINUATION = 0
_FINAL_BIT, _OPCODE_BITS, _MASK_BIT, _LENGTH_BITS = 0x80, 0x0F, 0x80, 0x7F
_MASK_BYTES = 4
_LONGER_LENGTHS = {126: 2, 127: 8}
"""Bytes of the length that follows, by what stands in its place (RFC 6455, section 5.2)."""


class Incoming:
    """Reads along with what comes in, as far as is needed to know where each WebSocket frame begins."""

    def __init__(self, *, is_answer: bool = False) -> None:
        """`is_answer`: it is we who have asked."""
        self.frames = 0
        """So many have begun."""
        self._is_answer = is_answer
        self._head: bytes | None = b""
        """Of the request or answer, as far as it has come; None once it is complete."""
        self._page_left: int | None = None
        """Of an answer that opens no WebSocket; None where it does."""
        self._header = b""
        """The beginning of a frame's header."""
        self._payload_left = 0

    def is_allowed(self, data: bytes, frames_max: int) -> bool:
        """Whether these bytes may follow those before. `frames_max`: so many frames may begin in them."""
        if self._page_left is not None:
            self._page_left -= len(data)
            return self._page_left >= 0
        if self._head is None:
            return self._are_frames(data, frames_max)
        self._head += data
        end = self._head.find(_HEAD_END)
        if end < 0:
            return len(self._head) <= HEAD_BYTES_MAX
        return end <= HEAD_BYTES_MAX and self._ends_head(self._head, end + len(_HEAD_END), frames_max)

    def _ends_head(self, head: bytes, size: int, frames_max: int) -> bool:
        """Whether this is a whole head. Who asks to become a peer waits for the answer before it says more."""
        self._head = None
        if not self._is_answer:
            return size == len(head)
        if head.startswith(_UPGRADED):
            return self._are_frames(head[size:], frames_max)
        self._page_left = REFUSING_BYTES_MAX
        return True

    def _are_frames(self, data: bytes, frames_max: int) -> bool:
        first = self.frames
        place = min(self._payload_left, len(data))
        self._payload_left -= place
        if self._header:
            data, place, self._header = self._header + data, 0, b""
        while place < len(data):
            size = _header_size(data, place)
            if size is None or place + size > len(data):
                self._header = data[place:]
                return True
            self.frames += 1
            is_whole = data[place] & _FINAL_BIT and data[place] & _OPCODE_BITS != _CONTINUATION
            if not is_whole or self.frames - first > frames_max:
                return False
            place += size + _payload_size(data, place)
        self._payload_left = max(self._payload_left, place - len(data))
        return True


class Gate(asyncio.Protocol):
    """Stands between a connection and the protocol that serves it. `clock`: monotonic, in seconds."""

    def __init__(
        self,
        served: asyncio.Protocol,
        rates: RateLimits,
        clock: Callable[[], float],
        transport: asyncio.Transport | None = None,
    ) -> None:
        """`transport`: of a connection that we have made; None for one that is still to come to us."""
        self._served = served
        self._rates = rates
        self._clock = clock
        self._transport = transport
        self._incoming = Incoming(is_answer=transport is not None)
        self._bytes_left: int | None = None if transport is not None else UNPROVEN_BYTES_MAX
        """Of who has come to us and not proven a key."""
        per_second = 0.0 if transport is None else SLACK * rates.frames_per_second
        burst = UNPROVEN_MESSAGES_MAX if transport is None else SLACK * rates.frames_burst
        self._frames = TokenBucket(per_second, burst, clock())

    def prove(self) -> None:
        """The other side has proven its key."""
        self._bytes_left = None
        self._frames = TokenBucket(SLACK * self._rates.frames_per_second, SLACK * self._rates.frames_burst, self._clock())

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It has been accepted."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's are none by their class
        self._served.connection_made(transport)

    def data_received(self, data: bytes) -> None:
        """Pass on what is allowed."""
        assert self._transport is not None, "data comes after the connection"
        if self._transport.is_closing():
            return
        if self._is_allowed(data):
            self._served.data_received(data)
        else:
            self._transport.abort()

    def _is_allowed(self, data: bytes) -> bool:
        now = self._clock()
        before = self._incoming.frames
        if not self._incoming.is_allowed(data, int(self._frames.remaining(now))):
            return False
        self._frames.take(self._incoming.frames - before, now)
        if self._bytes_left is None:
            return True
        self._bytes_left -= len(data)
        return self._bytes_left >= 0

    def eof_received(self) -> bool | None:
        """The other side sends no more."""
        return self._served.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        """It is over."""
        self._served.connection_lost(exc)

    def pause_writing(self) -> None:
        """The other side does not read."""
        self._served.pause_writing()

    def resume_writing(self) -> None:
        """It reads again."""
        self._served.resume_writing()


def _header_size(data: bytes, place: int) -> int | None:
    """Of the frame that begins there; None when that is not known yet."""
    if place + 2 > len(data):
        return None
    second = data[place + 1]
    return 2 + _LONGER_LENGTHS.get(second & _LENGTH_BITS, 0) + (_MASK_BYTES if second & _MASK_BIT else 0)


def _payload_size(data: bytes, place: int) -> int:
    length = data[place + 1] & _LENGTH_BITS
    longer = _LONGER_LENGTHS.get(length)
    return length if longer is None else int.from_bytes(data[place + 2 : place + 2 + longer], "big")
