"""An executor that audits: what a peer has recorded is read before it is lost, and before a new life begins."""

import asyncio
import time
from collections.abc import Sequence

from consensus.types import Instant, PeerId
from node.lab.checkers.finding import Event as Observed
from node.lab.scenarios.events import Crash, Event, Join, Misbehave, PeerNumbers, PeersEvent, Restart, RestoreOldDisk, Wipe
from node.lab.store_audit.autopsy import Autopsy
from node.lab.testnet import folder
from node.lab.testnet.commands import CommandExecutor
from node.lab.testnet.executor import check_numbers
from node.lab.testnet.peer import TestnetPeer


class AuditingExecutor:
    """Reads the peers' folders into an autopsy, one reading at a time and off the event loop. Implements `CommandExecutor`."""

    def __init__(self, executor: CommandExecutor, peers: Sequence[TestnetPeer], autopsy: Autopsy) -> None:
        self.autopsy = autopsy
        self._executor = executor
        self._peers = peers
        self._turn = asyncio.Lock()

    async def do(self, event: Event) -> str:
        """Do it as the executor do, and read what would be lost by it. Raises NodeError."""
        if isinstance(event, PeersEvent):
            check_numbers(event.peers, len(self._peers))
        async with self._turn:
            match event:
                case Wipe(numbers):
                    return await self._lose(event, numbers)
                case RestoreOldDisk(numbers):
                    for number in numbers:
                        folder.check_backup(self._peers[number])
                    return await self._lose(event, numbers)
                case Crash(numbers):
                    said = await self._executor.do(event)
                    await self._read(numbers)
                    return said
                case Restart(numbers) | Join(numbers):
                    return await self._begin(event, numbers)
                case Misbehave(numbers):
                    return await self._turn_them(event, numbers)
                case _:
                    return await self._executor.do(event)

    async def read(self) -> None:
        """All folders. Raises NodeError."""
        async with self._turn:
            await asyncio.to_thread(self.autopsy.read, now())

    async def note(self, seen: Sequence[tuple[PeerId, Observed]]) -> None:
        """What was seen of peers in another way than in their folders."""
        async with self._turn:
            for peer, event in seen:
                self.autopsy.watch(peer, event, now())

    async def read_to_the_end(self) -> None:
        """Once all peers have stopped. Raises NodeError."""
        async with self._turn:
            await asyncio.to_thread(self.autopsy.read_to_the_end, now())

    async def _lose(self, event: Event, numbers: PeerNumbers) -> str:
        """Nothing is recorded between the end of a peer and the loss of its disk."""
        living = tuple(number for number in numbers if self._peers[number].is_running)
        if living:
            await self._executor.do(Crash(living))
        await self._read(numbers)
        return await self._executor.do(event)

    async def _begin(self, event: Event, numbers: PeerNumbers) -> str:
        ended = tuple(number for number in numbers if not self._peers[number].is_running)
        begun = tuple(number for number in numbers if self._peers[number].process is not None)
        await self._read(ended)
        said = await self._executor.do(event)
        for number in begun:
            self.autopsy.starts_again(self._id(number), was_read=number in ended)
        return said

    async def _turn_them(self, event: Event, numbers: PeerNumbers) -> str:
        """They are believed up to now."""
        await self._read(numbers)
        said = await self._executor.do(event)
        for number in numbers:
            self.autopsy.checkers.turns(self._id(number))
        return said

    async def _read(self, numbers: PeerNumbers) -> None:
        for number in numbers:
            await asyncio.to_thread(self.autopsy.read_one, self._id(number), now())

    def _id(self, number: int) -> PeerId:
        return PeerId(bytes.fromhex(self._peers[number].peer_id))


def now() -> Instant:
    """Milliseconds since 1970, UTC."""
    return Instant(time.time_ns() // 1_000_000)
