"""Peers whose connections are the real node's own code, over virtual time. Same seed, same trace."""

import asyncio
from collections.abc import Collection, Iterable, Mapping
from contextvars import copy_context
from random import Random

from consensus.effects import Offence, Refuse
from consensus.types import Instant, PeerId
from node.lab.simulation.disk import Records
from node.lab.simulation.links import Links
from node.lab.simulation.peer import Agenda, Build, Machines, SimulatedPeer, Watch
from node.lab.simulation.processes import Puzzles
from node.lab.simulation.sockets.loop import OWN_HOST, LoopTime, VirtualLoop
from node.lab.simulation.sockets.process import Doors, SimulatedProcess, SimulatedWorld, Surroundings
from node.lab.simulation.sockets.simulated_ports import DiskFullError
from node.lab.simulation.trace import Happening, Sink, Trace
from node.runtime.driver import HaltedError

DISK_FULL = "the disk is full"
"""Why a process ends whose write fails."""

LAST_SECONDS = 5.0
"""Of virtual time, for tasks to end in: every limit on closing is one second."""


class SocketNetwork(Machines):
    """Peers, each on a machine of its own; those in `late` are not there at first. Close it after use.

    `faults`: how some misbehave below all messages.
    """

    def __init__(
        self,
        seed: int,
        builds: Iterable[tuple[PeerId, Build]],
        links: Links,
        start: Instant,
        ground: SimulatedWorld,
        *,
        watch: Watch,
        late: Collection[PeerId] = (),
        faults: Mapping[PeerId, str],
        sink: Sink | None = None,
    ) -> None:
        self.watch = watch
        self.trace = Trace(sink)
        self.puzzles = Puzzles(Random(f"{seed}/puzzles"))
        self.peers: dict[PeerId, SimulatedPeer] = {}
        self.processes: dict[PeerId, SimulatedProcess] = {}
        """The newest process of each peer."""
        self.doors: dict[PeerId, Doors] = {}
        self._loop = VirtualLoop()
        self._loop.set_exception_handler(self._raised)
        self._loop.internet.lay(seed, links.delay, links.uplink_kbit_s)
        self._time = LoopTime(self._loop, start)
        self._crash_luck = Random(f"{seed}/crashes")
        self._tasks: dict[asyncio.Task[None], SimulatedProcess] = {}
        self._failure: Exception | None = None
        self._is_closing = False
        self._around = Surroundings(seed, ground, Agenda(self._time), links, self.puzzles, self._loop.time, self._happened)
        for number, (peer_id, build) in enumerate(builds):
            records: Records = {}
            self.peers[peer_id] = peer = SimulatedPeer(peer_id, number, build, *build(records, 0), faults.get(peer_id, ""))
            peer.disk.rows = records
            peer.is_up = peer_id not in late
            self.doors[peer_id] = Doors()
        for peer in self.peers.values():
            if peer.is_up:
                self._begin(peer)

    @property
    def now(self) -> Instant:
        """True time, in ms since 1970."""
        return self._time.now

    @property
    def trace_digest(self) -> str:
        """Hash of every effect and answer so far, with its time and peer: equal runs have equal digests."""
        return self.trace.digest

    @property
    def connections_lost(self) -> int:
        """TCP connections that stood and are over, those of outsiders among them."""
        return self._loop.internet.connections_lost

    @property
    def dials_to_nowhere(self) -> int:
        """To addresses that no machine has."""
        return self._loop.internet.dials_to_nowhere

    def run_for(self, duration_ms: int) -> None:
        """Let virtual time pass. Raises what a peer raises by a mistake of its own."""
        self._loop.run_for(duration_ms / 1000)
        for peer in self.peers.values():
            peer.bytes_sent = self._loop.internet.bytes_sent(peer.number)
            self.doors[peer.id].came = self._loop.internet.accepted[peer.number]
            self._tell_refusals(peer)
        if self._failure is not None:
            raise self._failure

    def close(self) -> None:
        """End everybody, and the loop."""
        self._is_closing = True
        for task in self._tasks:
            task.cancel()
        self._loop.run_for(LAST_SECONDS)
        self._loop.close()

    # --- links ---

    def split(self, *groups: Iterable[PeerId]) -> None:
        """Cut between peers of different groups, instead of an earlier split: what is sent waits, as TCP has it."""
        self._loop.internet.split([self.peers[peer].number for peer in group] for group in groups)

    def cut(self, senders: Iterable[PeerId], receivers: Iterable[PeerId]) -> None:
        """Let nothing that these send come to those; the other direction works."""
        heard = [self.peers[peer].number for peer in receivers]
        self._loop.internet.cut((self.peers[sender].number, number) for sender in senders for number in heard)

    def heal(self) -> None:
        """Let everything through."""
        self._loop.internet.heal()

    def reset(self, one: PeerId, other: PeerId) -> None:
        """Tear down their connections in the middle of whatever is under way."""
        self._loop.internet.reset(self.peers[one].number, self.peers[other].number)

    # --- processes ---

    def crash(self, peer_id: PeerId) -> None:
        """Stop a peer at once, as `kill -9` does: what is durable stays. One that is down stays down."""
        self._end(self.peers[peer_id], None)

    def restart(self, peer_id: PeerId) -> None:
        """Start a crashed, halted or late peer from its records, with room on its disk."""
        peer = self.peers[peer_id]
        self._end(peer, None)
        peer.replica, peer.learner, peer.serving_of, peer.work = peer.build(peer.records, peer.guard_round)
        peer.is_up, peer.puzzle, peer.halted, peer.stopped = True, None, None, None
        peer.disk.is_full = False
        self._begin(peer)

    # --- one process ---

    def _begin(self, peer: SimulatedPeer) -> None:
        """Everything that the process does runs on its own host."""
        host = self._loop.internet.host(peer.number)
        process = self.processes[peer.id] = SimulatedProcess(peer, host, self.doors[peer.id], self._around)
        context = copy_context()
        context.run(OWN_HOST.set, host)
        task = self._loop.create_task(process.run(), name=f"peer {peer.number}", context=context)
        self._tasks[task] = process
        task.add_done_callback(lambda done: self._over(peer, process, done))

    def _end(self, peer: SimulatedPeer, reason: str | None) -> None:
        """The process is gone; whether the write under way has reached the disk is a matter of luck."""
        if not peer.is_up:
            return
        process = self.processes[peer.id]
        if process.records.is_writing and self._crash_luck.random() < 0.5 and not peer.disk.is_full:
            process.records.finish()
        peer.disk.lose_tail(self.now)
        peer.is_up, peer.stopped = False, reason
        peer.incarnation += 1
        process.host.shut_down()
        for task, other in self._tasks.items():
            if other is process:
                task.cancel()

    def _over(self, peer: SimulatedPeer, process: SimulatedProcess, task: asyncio.Task[None]) -> None:
        """Why a process has ended: it was told to, or its machine halts, or its disk is full, or by a mistake."""
        del self._tasks[task]
        error = None if task.cancelled() else task.exception()
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        match error:
            case None:
                return
            case HaltedError():
                peer.halted = str(error)
                process.host.shut_down()
            case DiskFullError():
                self._end(peer, DISK_FULL)
            case Exception():
                self._fail(error)
            case _:
                raise error

    def _raised(self, _loop: asyncio.AbstractEventLoop, context: dict[str, object]) -> None:
        """A callback has raised, or a task was lost."""
        error = context.get("exception")
        self._fail(error if isinstance(error, Exception) else RuntimeError(str(context.get("message"))))

    def _fail(self, error: Exception) -> None:
        self._failure = self._failure or error
        if not self._is_closing:
            self._loop.stop()

    def _happened(self, peer: SimulatedPeer, happening: Happening) -> None:
        self.trace.add(self.now, peer.id, happening)
        self.watch(peer, happening, self.now)

    def _tell_refusals(self, peer: SimulatedPeer) -> None:
        """Those that the network itself has decided on, which no effect shows."""
        refused = self.processes[peer.id].network.refused_peers() if peer.is_running else frozenset()
        for other in sorted(refused - peer.refused):
            peer.refused.add(other)
            if other in self.peers:
                self._happened(peer, Refuse(other, Offence.MALFORMED, "what it says on the wire"))
