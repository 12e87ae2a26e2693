"""What a person or a scenario wants done to the peers is looked at, done one after the other, and told."""

import asyncio
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from typing import NoReturn, assert_never

from node.common.errors import EXIT_CANNOT_NOW, NodeError
from node.lab.faults.catalogue import FaultError, check_fits, parse_faults
from node.lab.scenarios import events
from node.lab.scenarios.events import PeerNumbers
from node.lab.testnet import folder, process
from node.lab.testnet.commands import Divider
from node.lab.testnet.peer import PeerState, TestnetPeer
from node.lab.testnet.setup import warning_of
from node.rules.network_rules import NetworkRules

UP = (PeerState.STARTING, PeerState.RUNNING, PeerState.SILENT)

_FIXES = {
    PeerState.STARTING: "it runs already: only a paused peer can be resumed",
    PeerState.RUNNING: "it runs already: only a paused peer can be resumed",
    PeerState.SILENT: "it runs, and does not answer: if that lasts, start it anew with --restart",
    PeerState.ABSENT: "start it with --restart",
    PeerState.KILLED: "start it with --restart",
    PeerState.STOPPED: "start it with --restart; its log says why it stopped",
    PeerState.PAUSED: "resume it with --resume",
}


SIMULATED: dict[type[events.Event], str] = {
    events.KillAt: "no process can be ended between two chosen effects",
    events.Cut: "a partition of processes holds in both directions; take partition",
    events.Reset: "the connections of a process are its own",
    events.DiskFull: "all peers share this machine's disk",
    events.DiskLies: "the system keeps what a killed process has written",
    events.Slow: "all peers share this machine's processors",
    events.Clock: "all peers share this machine's clock",
}
"""Why only a simulator can do it."""


def only_simulated(event: events.Event) -> NodeError:
    """Why this event cannot befall real peers."""
    return NodeError(f"{event.kind} can only be simulated: {SIMULATED[type(event)]}", "play it with simulate")


def check_numbers(numbers: PeerNumbers, count: int) -> None:
    """Raises NodeError unless they name different peers out of so many."""
    if not numbers:
        raise NodeError("no peer is named", f"name some, like 0 or 0,1; there are peers 0 to {count - 1}")
    for place, number in enumerate(numbers):
        if not 0 <= number < count:
            raise NodeError(f"there is no peer {number}", f"there are peers 0 to {count - 1}")
        if number in numbers[:place]:
            raise NodeError(f"peer {number} is named twice", "name it once")


def check_state(peers: Sequence[TestnetPeer], doing: str, allowed: Collection[PeerState]) -> None:
    """Raises NodeError where one of them is in another state."""
    for peer in peers:
        if peer.state not in allowed:
            raise NodeError(f"cannot {doing} {peer.name}: it is {peer.state}", _FIXES.get(peer.state), EXIT_CANNOT_NOW)


def whole_division(groups: tuple[PeerNumbers, ...], count: int) -> tuple[PeerNumbers, ...]:
    """The groups, and those in none as one more.

    Raises NodeError where a group is empty, a peer is in two, or all are in one.
    """
    if not all(groups):
        raise NodeError("a group of the partition is empty", "write groups like 0,1/2,3")
    named = tuple(number for group in groups for number in group)
    check_numbers(named, count)
    rest = tuple(number for number in range(count) if number not in named)
    whole = (*groups, rest) if rest else groups
    if len(whole) < 2:
        raise NodeError("all peers are in one group: that parts nobody", "write groups like 0,1/2,3")
    return whole


def canonical_fault(text: str, rules: NetworkRules) -> str:
    """The faults with all their parameters. Raises NodeError where there is none of a name, or the network cannot have it."""
    try:
        specs = parse_faults(text)
        for spec in specs:
            check_fits(spec, rules.consensus, rules.learning, rules.evolution.strategy)
    except FaultError as error:
        _refuse_fault(error)
    return "+".join(str(spec) for spec in specs)


def _refuse_fault(error: FaultError) -> NoReturn:
    raise NodeError(str(error), "choose another fault") from error


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
                raise NodeError("the testnet is stopping", "start another one when it has ended", exit_code=EXIT_CANNOT_NOW)
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
                return await self._lose(peers, folder.wipe, "lost the database")
            case events.BackUp():
                for peer in peers:
                    await asyncio.to_thread(folder.back_up, peer)
                return f"copied the database of {_names(peers)}"
            case events.RestoreOldDisk():
                for peer in peers:
                    folder.check_backup(peer)
                return await self._lose(peers, folder.restore_backup, "brought back the old database")
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
                raise NodeError(
                    f"{peer.name} is honest already", "name faulty peers: inject shows them", exit_code=EXIT_CANNOT_NOW
                )
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
