"""One direction of a connection: bytes in order and whole, delayed, held at a cut, and no more on their way than a window."""

import asyncio
from collections import deque
from collections.abc import Callable
from enum import Enum
from functools import partial
from random import Random

from node.lab.simulation.links import Latency

WINDOW_BYTES = 65_536
"""On their way, or arrived and not read: TCP's largest window without scaling (RFC 7323), 1 MB/s at 60 ms."""

SEGMENT_BYTES = 8_192
"""In one event of the simulation: six packets of an Ethernet, so that a megabyte costs a hundred events and not a thousand."""

BITS_PER_BYTE = 8

DELAY_SECONDS_MIN = 0.0001
"""Nothing arrives at the instant at which it is sent: between two processes of one machine it takes so long."""


class Mark(Enum):
    """What travels besides bytes, in its turn."""

    OPEN = "the connection is accepted"
    END = "no more bytes will come"
    RESET = "the connection is torn down"


Segment = bytes | Mark


class Uplink:
    """One machine's way out: its bytes leave one after the other. `kbit_s` 0: at once."""

    def __init__(self, kbit_s: int) -> None:
        self.bytes_sent = 0
        self._kbit_s = kbit_s
        self._free_at = 0.0

    def leaves_at(self, now: float, size: int) -> float:
        """When the last of these bytes has left, in seconds."""
        self.bytes_sent += size
        if self._kbit_s:
            self._free_at = max(now, self._free_at) + size * BITS_PER_BYTE / (1000 * self._kbit_s)
        return max(now, self._free_at)


class NetworkPath:
    """From one machine to another: how long bytes are under way, and whether they get through now."""

    def __init__(  # noqa: PLR0917 - each is another thing
        self, loop: asyncio.AbstractEventLoop, random: Random, latency: Latency, sender: int, receiver: int, uplink: Uplink
    ) -> None:
        self.random = random
        self._loop = loop
        self._latency = latency
        self._ends = sender, receiver
        self._uplink = uplink
        self._is_cut = False
        self._held: list[Callable[[], None]] = []

    def arrives_at(self, size: int) -> float:
        """When bytes that are sent now are there, in seconds of the loop."""
        delay_ms = self._latency.sample(self.random, *self._ends)
        return self._uplink.leaves_at(self._loop.time(), size) + max(DELAY_SECONDS_MIN, delay_ms / 1000)

    def carry(self, action: Callable[[], None], at: float) -> None:
        """Let `action` happen at this time, or once the way is whole again: TCP repeats what is lost."""
        self._loop.call_at(at, self._come, action)

    def cut(self, is_cut: bool) -> None:
        """Let nothing through, or all that was held and all that comes."""
        self._is_cut = is_cut
        held = self._held
        if not is_cut:
            self._held = []
            for action in held:
                action()

    def _come(self, action: Callable[[], None]) -> None:
        if self._is_cut:
            self._held.append(action)
        else:
            action()


class Pipe:
    """The sender's half and the way. `arrive` takes each segment at the other end; `drained` hears that there is room again."""

    def __init__(self, way: NetworkPath, back: NetworkPath) -> None:
        self.arrive: Callable[[Segment], None] = _nobody
        self.drained: Callable[[], None] = _nothing
        self._way = way
        self._back = back
        self._unsent = bytearray()
        self._marks: list[Mark] = []
        self._under_way: deque[Segment] = deque()
        self._unread_bytes = 0
        self._last_at = 0.0
        self._has_ended = False
        self._is_broken = False

    @property
    def unsent_bytes(self) -> int:
        """What waits for room."""
        return len(self._unsent)

    def write(self, data: bytes) -> None:
        """Send these bytes as soon as there is room for them."""
        self._unsent += data
        self._push()

    def mark(self, mark: Mark) -> None:
        """Say this after all bytes; a reset instead of those that are not sent. The end is said once."""
        if mark is Mark.RESET:
            self._unsent.clear()
        elif mark is Mark.END:
            if self._has_ended:
                return
            self._has_ended = True
        self._marks.append(mark)
        self._push()

    def drop_unsent(self) -> None:
        """Forget what waits."""
        self._unsent.clear()

    def read(self, size: int) -> None:
        """The other end has taken so many bytes; word of it goes back."""
        self._back.carry(partial(self._was_read, size), self._back.arrives_at(0))

    def tear(self) -> None:
        """Break it in the middle of what is under way: a part of that still arrives, cut at any byte."""
        rest = b"".join(segment for segment in self._under_way if isinstance(segment, bytes))
        arriving = rest[: self._way.random.randrange(len(rest) + 1)]
        self._is_broken = True
        self._under_way.clear()
        self._unsent.clear()
        if arriving:
            self.arrive(arriving)
        self.arrive(Mark.RESET)

    def _push(self) -> None:
        while self._unsent and self._unread_bytes < WINDOW_BYTES:
            size = min(SEGMENT_BYTES, WINDOW_BYTES - self._unread_bytes, len(self._unsent))
            segment = bytes(self._unsent[:size])
            del self._unsent[:size]
            self._unread_bytes += size
            self._send(segment)
        if not self._unsent:
            for mark in self._marks:
                self._send(mark)
            self._marks.clear()

    def _send(self, segment: Segment) -> None:
        """Nothing overtakes: whichever timer comes first brings the segment that was sent first."""
        if self._is_broken:
            return
        self._under_way.append(segment)
        self._last_at = max(self._last_at, self._way.arrives_at(len(segment) if isinstance(segment, bytes) else 0))
        self._way.carry(self._come, self._last_at)

    def _come(self) -> None:
        if not self._is_broken:
            self.arrive(self._under_way.popleft())

    def _was_read(self, size: int) -> None:
        if not self._is_broken:
            self._unread_bytes -= size
            self._push()
            self.drained()


def _nobody(_segment: Segment) -> None:
    raise AssertionError("a pipe leads somewhere before anything is sent")


def _nothing() -> None:
    """Nobody waits for room."""
