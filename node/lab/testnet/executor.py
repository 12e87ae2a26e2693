"""The supervisor's executor: what a person or a scenario wants done to the peers, done one after the other, and told."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import assert_never

from node.common.errors import EXIT_CANNOT_NOW, NodeError
from node.lab.scenarios import events
from node.lab.scenarios.events import PeerNumbers
from node.lab.testnet import disks, process
from node.lab.testnet.checks import UP, canonical_fault, check_numbers, check_state, only_simulated, whole_division
from node.lab.testnet.commands import Divider
from node.lab.testnet.peer import PeerState, TestnetPeer
from node.lab.testnet.setup import warning_of
from node.rules.network_rules import NetworkRules


class TestnetExecutor:
    """Lets events befall the peers (a `CommandExecutor`); `tell` hears of each in a line, beside whoever asked for it."""

    __test__ = False

    def __init__(
        self, peers: Sequence[TestnetPeer], rules: NetworkRules, divider: Divider, tell: Callable[[str], None]
    ) -> None:
        self._peers = peers
        self._rules = rules
        self._divider = divider
        self._tell = tell
        self._groups: tuple[PeerNumbers, ...] = ()
        self._turn = asyncio.Lock()
        self._is_closed = False

    async def start_all(self, absent: PeerNumbers = ()) -> None:
        """Start every peer but these, which join when they are restarted. Raises NodeError."""
        async with self._turn:
            await process.warm_up()
            for number, peer in enumerate(self._peers):
                if number not in absent and not self._is_closed:
                    process.start(peer)
                    await asyncio.sleep(0)  # Ctrl-C is heard between two

    def close(self) -> None:
        """Let nothing more befall the peers."""
        self._is_closed = True

    async def stop_all(self) -> tuple[TestnetPeer, ...]:
        """Let the event under way end, let no other befall the peers, and stop them all; those that had to be killed for it."""
        self.close()
        async with self._turn:
            return await self._stop(self._peers)

    def kill_all(self) -> None:
        """Let nothing more befall the peers, and leave nothing to wait for."""
        self.close()
        for peer in self._peers:
            process.request_kill(peer)

    async def do(self, event: events.Event) -> str:
        """Let it befall the peers after all earlier events, and say in a line what was done. Raises NodeError."""
        async with self._turn:
            if self._is_closed:
                raise NodeError("the testnet is stopping", None, exit_code=EXIT_CANNOT_NOW)
            said = await self._do(event)
        self._tell(said)
        return said

    async def _do(self, event: events.Event) -> str:
        match event:
            case events.Partition(groups):
                return await self._part(groups)
            case events.Heal():
                return await self._heal()
            case events.Cut():
                raise only_simulated(event)
            case _:
                return await self._befall(event, self._named(event.peers))

    def _named(self, numbers: PeerNumbers) -> tuple[TestnetPeer, ...]:
        check_numbers(numbers, len(self._peers))
        return tuple(self._peers[number] for number in numbers)

    async def _befall(self, event: events.PeersEvent, peers: tuple[TestnetPeer, ...]) -> str:
        match event:
            case events.Crash():
                check_state(peers, "kill", (*UP, PeerState.PAUSED))
                await self._kill(peers)
                return f"killed {_names(peers)}"
            case events.Restart() | events.Join():
                await self._restart(peers)
                return f"restarted {_names(peers)}"
            case events.Pause():
                check_state(peers, "pause", UP)
                for peer in peers:
                    process.pause(peer)
                return f"paused {_names(peers)}"
            case events.Resume():
                check_state(peers, "resume", (PeerState.PAUSED,))
                for peer in peers:
                    process.resume(peer)
                await self._divide()
                return f"resumed {_names(peers)}"
            case events.Misbehave(_, fault):
                return await self._misbehave(peers, fault)
            case events.Wipe():
                return await self._lose(peers, disks.wipe, "lost the database")
            case events.BackUp():
                for peer in peers:
                    await asyncio.to_thread(disks.back_up, peer)
                return f"copied the database of {_names(peers)}"
            case events.RestoreOldDisk():
                for peer in peers:
                    disks.check_backup(peer)
                return await self._lose(peers, disks.restore_backup, "brought back the old database")
            case events.KillAt() | events.Reset() | events.DiskFull() | events.DiskLies() | events.Slow() | events.Clock():
                raise only_simulated(event)
            case _:
                assert_never(event)

    # --- processes ---

    async def _stop(self, peers: Sequence[TestnetPeer]) -> tuple[TestnetPeer, ...]:
        for peer in peers:
            process.request_stop(peer)
        return tuple([peer for peer in peers if not await process.stopped(peer)])

    async def _kill(self, peers: Sequence[TestnetPeer]) -> None:
        for peer in peers:
            await process.kill(peer)
            peer.was_killed = True

    async def _restart(self, peers: Sequence[TestnetPeer]) -> None:
        """Each is told where the others are that run: the one that it dialled at first may be gone, or kept apart from it."""
        await self._stop(peers)
        for peer in peers:
            others = tuple(other.address for other in self._peers if other is not peer and other.is_running)
            peer.settings = replace(peer.settings, peers=others or peer.settings.peers)
            process.start(peer)
        await self._divide()

    # --- conduct ---

    async def _misbehave(self, peers: tuple[TestnetPeer, ...], text: str) -> str:
        fault = canonical_fault(text, self._rules)
        check_state(peers, "restart", UP)
        for peer in peers:
            if not fault and not peer.fault:
                raise NodeError(f"{peer.name} is honest already", None, exit_code=EXIT_CANNOT_NOW)
        for peer in peers:
            peer.was_faulty = peer.was_faulty or bool(peer.fault)
            peer.fault = fault
        faulty = tuple(peer.peer_id for peer in self._peers if peer.fault)
        for peer in peers:
            peer.colluders = faulty if fault else ()
        await self._restart(peers)
        if not fault:
            return f"told {_names(peers)} to be honest again; nobody counts on that"
        warning = warning_of(len(self._peers), sum(not peer.is_honest for peer in self._peers))
        return f"told {_names(peers)} to misbehave: {fault}" + (f"; {warning}" if warning else "")

    # --- links ---

    async def _part(self, groups: tuple[PeerNumbers, ...]) -> str:
        self._groups = whole_division(groups, len(self._peers))
        for place, group in enumerate(self._groups):
            for number in group:
                self._peers[number].group = place
        await self._divide()
        sides = (", ".join(self._peers[number].name for number in group) for group in self._groups)
        return f"parted: {' / '.join(sides)}"

    async def _heal(self) -> str:
        if not self._groups:
            return "there was no partition"
        self._groups = ()
        for peer in self._peers:
            peer.group = None
        await self._divide()
        return "healed: everybody reaches everybody again"

    async def _divide(self) -> None:
        """After each start and resume too: who did not run has not heard of it."""
        await self._divider.divide(self._groups or (tuple(range(len(self._peers))),))

    # --- disks ---

    async def _lose(self, peers: tuple[TestnetPeer, ...], lose: Callable[[TestnetPeer], None], said: str) -> str:
        """Those that run are killed for it."""
        living = tuple(peer for peer in peers if peer.is_running)
        await self._kill(peers)
        for peer in peers:
            lose(peer)
        killed = f"killed {_names(living)}, and " if living else ""
        return f"{killed}{said} of {_names(peers)}"


def _names(peers: Sequence[TestnetPeer]) -> str:
    """ "peer-0", "peer-0 and peer-1", "peer-0, peer-1 and peer-2"."""
    *some, last = (peer.name for peer in peers)
    return f"{', '.join(some)} and {last}" if some else last
