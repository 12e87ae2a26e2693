"""What a connection to us may bring: the head of one request, then whole messages. All else ends it at once.

The HTTP library takes more than peers have need of: requests one after the other, and messages in fragments, empty ones too.
Neither ever becomes a frame, so nobody would be charged for them.
"""

import asyncio
from typing import cast

REQUEST_BYTES_MAX = 8_192
"""The head of a request to become a peer; ours have 250 bytes, and a proxy may add some."""

_HEAD_END = b"\r\n\r\n"
_CONTINUATION = 0
_FINAL_BIT, _OPCODE_BITS, _MASK_BIT, _LENGTH_BITS = 0x80, 0x0F, 0x80, 0x7F
_MASK_BYTES = 4
_LONGER_LENGTHS = {126: 2, 127: 8}
"""Bytes of the length that follows, by what stands in its place (RFC 6455, section 5.2)."""


class Incoming:
    """Reads along with what comes in, as far as is needed to know where each WebSocket frame begins."""

    def __init__(self) -> None:
        self._head: bytes | None = b""
        """Of the request, as far as it has come; None once it is complete."""
        self._header = b""
        """The beginning of a frame's header."""
        self._payload_left = 0

    def is_allowed(self, data: bytes) -> bool:
        """Whether these bytes may follow those before."""
        if self._head is None:
            return self._are_frames(data)
        self._head += data
        if len(self._head) > REQUEST_BYTES_MAX:
            return False
        end = self._head.find(_HEAD_END)
        if end < 0:
            return True
        is_all = end + len(_HEAD_END) == len(self._head)
        self._head = None
        return is_all

    def _are_frames(self, data: bytes) -> bool:
        place = min(self._payload_left, len(data))
        self._payload_left -= place
        if self._header:
            data, place, self._header = self._header + data, 0, b""
        while place < len(data):
            size = _header_size(data, place)
            if size is None or place + size > len(data):
                self._header = data[place:]
                return True
            if not data[place] & _FINAL_BIT or data[place] & _OPCODE_BITS == _CONTINUATION:
                return False
            place += size + _payload_size(data, place)
        self._payload_left = max(self._payload_left, place - len(data))
        return True


class Gate(asyncio.Protocol):
    """Stands between a connection and the protocol that serves it."""

    def __init__(self, served: asyncio.Protocol) -> None:
        self._served = served
        self._incoming = Incoming()
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It has been accepted."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's are none by their class
        self._served.connection_made(transport)

    def data_received(self, data: bytes) -> None:
        """Pass on what is allowed."""
        assert self._transport is not None, "data comes after the connection"
        if self._transport.is_closing():
            return
        if self._incoming.is_allowed(data):
            self._served.data_received(data)
        else:
            self._transport.abort()

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
