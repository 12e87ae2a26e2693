"""One authenticated connection: a bounded outbox, a reader and a writer."""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from consensus.effects import Offence
from node.common.address import Address
from node.net.channel import Channel, ChannelClosedError
from node.net.costs import Moved
from node.net.handshake import Established
from node.net.wire import Frame, FrameError, encode_frame

SHORT_KEY_BYTES = 4
"""Eight hexadecimal digits tell a thousand peers apart."""


@dataclass(frozen=True, slots=True)
class Disconnect:
    """Why a connection is over. `is_ours`: we closed it; `offence`: what the peer did wrong, None when nothing.

    `is_slow`: it did not take what we sent. `is_meddled_with`: somebody between us and the peer may have done it.
    """

    detail: str
    is_ours: bool
    offence: Offence | None = None
    is_slow: bool = False
    is_meddled_with: bool = False


@dataclass(frozen=True, slots=True)
class OutboxLimits:
    """What may wait for one slow peer."""

    frames: int
    bytes: int


class Backlogs:
    """What waits for all outsiders together: where it is too much, the one with most of it is dropped."""

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._waiting: dict[Connection, int] = {}
        self._bytes = 0

    def note(self, link: "Connection", waiting: int) -> None:
        """So many bytes wait for this one now."""
        self._bytes += waiting - self._waiting.pop(link, 0)
        if waiting:
            self._waiting[link] = waiting
        while self._bytes > self._bytes_max:
            largest = max(self._waiting, key=self._waiting.__getitem__)
            detail = f"too slow: {self._waiting[largest]} bytes wait for it, and more than {self._bytes_max} for all outsiders"
            largest.stop(Disconnect(detail, is_ours=True, is_slow=True))


class Connection:
    """A connection to an authenticated peer. `listening_address`: where it can be dialled, None when it says that it cannot."""

    def __init__(
        self,
        established: Established,
        channel: Channel,
        listening_address: Address | None,
        limits: OutboxLimits,
        now: float,
        *,
        backlogs: Backlogs | None = None,
    ) -> None:
        """`backlogs`: whom it shares its room with; None: nobody."""
        self.peer = established.peer
        self.channel = channel
        self.listening_address = listening_address
        self.user_agent = established.hello.user_agent
        self.connected_at = now
        self.heard_at = now
        """When a frame last came that the peer itself has sealed, or will be read if it is here already."""
        self.is_awaiting_addresses = False
        self._established = established
        self._limits = limits
        self._outbox: deque[bytes] = deque()
        self._outbox_bytes = 0
        self._backlogs = backlogs
        self._filled = asyncio.Event()
        self._over = asyncio.Event()
        self._disconnect: Disconnect | None = None
        self._frames_counted = 0
        self._bytes_answered = 0

    @property
    def moved(self) -> Moved:
        """What it has carried on the peer's account."""
        return Moved(self._frames_counted, self.channel.traffic.received + self._bytes_answered)

    @property
    def is_over(self) -> bool:
        """Whether it ends, or has ended."""
        return self._disconnect is not None

    def __str__(self) -> str:
        return f"peer {self.peer[:SHORT_KEY_BYTES].hex()} at {self.listening_address or self.channel.remote}"

    def send(self, data: bytes) -> None:
        """Queue one encoded frame; a peer that is too slow for its outbox is dropped."""
        if self._disconnect is not None:
            return
        self._outbox.append(data)
        self._filled.set()
        self._note_waiting(len(data))
        if len(self._outbox) > self._limits.frames or self._outbox_bytes > self._limits.bytes:
            waiting = f"{len(self._outbox)} frames and {self._outbox_bytes} bytes wait for it"
            limits = f"limits {self._limits.frames} and {self._limits.bytes}"
            self.stop(Disconnect(f"too slow: {waiting}, {limits}", is_ours=True, is_slow=True))

    def answer(self, data: bytes) -> None:
        """Queue one encoded frame that the peer has asked for: it is on its account."""
        self._frames_counted += 1
        self._bytes_answered += len(data)
        self.send(data)

    def stop(self, disconnect: Disconnect) -> None:
        """End the connection soon; the first reason counts."""
        if self._disconnect is None:
            self._disconnect = disconnect
            self._outbox.clear()
            self._note_waiting(-self._outbox_bytes)
            self._over.set()

    def _note_waiting(self, change: int) -> None:
        self._outbox_bytes += change
        if self._backlogs is not None:
            self._backlogs.note(self, self._outbox_bytes)

    async def run(self, deliver: Callable[["Connection", Frame], float]) -> Disconnect:
        """Finish the handshake, then exchange frames until either side ends it.

        `deliver` says how many seconds to wait before the next frame is read.
        """
        await self._open()
        async with asyncio.TaskGroup() as group:
            parts = (group.create_task(self._read(deliver)), group.create_task(self._write()))
            await self._over.wait()
            for part in parts:
                part.cancel()
        assert self._disconnect is not None, "a link is over for a reason"
        disconnect = self._disconnect
        if disconnect.is_ours:
            self.channel.say(
                f"{disconnect.offence}: {disconnect.detail}" if disconnect.offence is not None else disconnect.detail
            )
        return disconnect

    async def _open(self) -> None:
        try:
            for frame in self._established.answer:
                await self.channel.send(encode_frame(frame))
        except ChannelClosedError as error:
            self.stop(Disconnect(str(error), is_ours=False))
        self.channel.seal_with(self._established.keys)

    async def _read(self, deliver: Callable[["Connection", Frame], float]) -> None:
        while self._disconnect is None:
            try:
                frame = await self.channel.receive()
            except FrameError as error:
                is_meddled_with = error.offence is None
                self.stop(Disconnect(str(error), is_ours=True, offence=error.offence, is_meddled_with=is_meddled_with))
            except ChannelClosedError as error:
                self.stop(Disconnect(str(error), is_ours=False))
            else:
                self._frames_counted += 1
                rest_seconds = deliver(self, frame)
                if rest_seconds:
                    await asyncio.sleep(rest_seconds)

    async def _write(self) -> None:
        while self._disconnect is None:
            await self._filled.wait()
            self._filled.clear()
            while self._outbox:
                data = self._outbox.popleft()
                try:
                    await self.channel.send(data)
                except ChannelClosedError as error:
                    self.stop(Disconnect(str(error), is_ours=False))
                if self._disconnect is None:
                    self._note_waiting(-len(data))
