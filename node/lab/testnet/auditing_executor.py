"""Carries out commands and audits them: what a peer has recorded is read before it is lost, and before a new run begins."""

import asyncio
import time
from collections.abc import Sequence

from consensus.types import Instant, PeerId
from node.lab.checkers.finding import Event
from node.lab.store_audit.autopsy import Autopsy
from node.lab.testnet import disks
from node.lab.testnet.checks import check_numbers
from node.lab.testnet.commands import (
    Command,
    CommandExecutor,
    Heal,
    Kill,
    Misbehave,
    Partition,
    PeerNumbers,
    Restart,
    RestoreOldDisk,
    Wipe,
)
from node.lab.testnet.peer import TestnetPeer


class AuditingExecutor:
    """Reads the peers' folders into an autopsy, one reading at a time and off the event loop. Implements `CommandExecutor`."""

    def __init__(self, executor: CommandExecutor, peers: Sequence[TestnetPeer], autopsy: Autopsy) -> None:
        self.autopsy = autopsy
        self._executor = executor
        self._peers = peers
        self._turn = asyncio.Lock()

    async def do(self, command: Command) -> str:
        """Do it as the hands do, and read what would be lost by it. Raises NodeError."""
        if not isinstance(command, Partition | Heal):
            check_numbers(command.peers, len(self._peers))
        async with self._turn:
            match command:
                case Wipe(numbers):
                    return await self._lose(command, numbers)
                case RestoreOldDisk(numbers):
                    for number in numbers:
                        disks.check_backup(self._peers[number])
                    return await self._lose(command, numbers)
                case Kill(numbers):
                    said = await self._executor.do(command)
                    await self._read(numbers)
                    return said
                case Restart(numbers):
                    return await self._begin(command, numbers)
                case Misbehave(numbers):
                    return await self._turn_them(command, numbers)
                case _:
                    return await self._executor.do(command)

    async def read(self) -> None:
        """All folders. Raises NodeError."""
        async with self._turn:
            await asyncio.to_thread(self.autopsy.read, now())

    async def note(self, seen: Sequence[tuple[PeerId, Event]]) -> None:
        """What was seen of peers in another way than in their folders."""
        async with self._turn:
            for peer, event in seen:
                self.autopsy.watch(peer, event, now())

    async def read_to_the_end(self) -> None:
        """Once all peers have stopped. Raises NodeError."""
        async with self._turn:
            await asyncio.to_thread(self.autopsy.read_to_the_end, now())

    async def _lose(self, command: Command, numbers: PeerNumbers) -> str:
        """Nothing is recorded between the end of a peer and the loss of its disk."""
        living = tuple(number for number in numbers if self._peers[number].is_running)
        if living:
            await self._executor.do(Kill(living))
        await self._read(numbers)
        return await self._executor.do(command)

    async def _begin(self, command: Command, numbers: PeerNumbers) -> str:
        ended = tuple(number for number in numbers if not self._peers[number].is_running)
        begun = tuple(number for number in numbers if self._peers[number].process is not None)
        await self._read(ended)
        said = await self._executor.do(command)
        for number in begun:
            self.autopsy.starts_again(self._id(number), was_read=number in ended)
        return said

    async def _turn_them(self, command: Command, numbers: PeerNumbers) -> str:
        """They are believed up to now."""
        await self._read(numbers)
        said = await self._executor.do(command)
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
