"""Peers over virtual time: seeded delays, cuts that heal, crashes, sampled puzzles. Same seed, same trace."""

from collections.abc import Collection, Iterable
from functools import partial
from itertools import combinations
from random import Random

from consensus.types import Instant, PeerId
from node.lab.simulation.connections import Direction, Wires
from node.lab.simulation.disk import Records
from node.lab.simulation.effect_runner import EffectRunner, World
from node.lab.simulation.links import Links
from node.lab.simulation.peer import Agenda, Build, FirstRequests, Machines, SimulatedPeer, Watch, watch_nothing
from node.lab.simulation.processes import Puzzles
from node.lab.simulation.timeline import Core, Timeline
from node.lab.simulation.trace import Happening, Sink, Trace
from node.net.gossip import GossipLimits

__all__ = ["Build", "Links", "Records", "SimulatedNetwork", "SimulatedPeer", "Watch", "watch_nothing"]


class SimulatedNetwork(Machines):
    """Peers that may be connected along `edges` (all with all where none are given). Those in `late` are not there at first.

    Everything random is drawn from streams that derive from the seed. `watch` may be replaced at any time.
    """

    def __init__(
        self,
        seed: int,
        builds: Iterable[tuple[PeerId, Build]],
        links: Links,
        start: Instant,
        *,
        watch: Watch = watch_nothing,
        edges: Iterable[Direction] | None = None,
        late: Collection[PeerId] = (),
        first_requests: FirstRequests = lambda _: (),
        gossip: GossipLimits | None = None,
        sink: Sink | None = None,
    ) -> None:
        self.watch = watch
        self.peers: dict[PeerId, SimulatedPeer] = {}
        self.trace = Trace(sink)
        self.puzzles = Puzzles(Random(f"{seed}/puzzles"))
        self._timeline = Timeline(start)
        self._crash_luck = Random(f"{seed}/crashes")
        self._first_requests = first_requests
        self._shells: dict[PeerId, EffectRunner] = {}
        for number, (peer_id, build) in enumerate(builds):
            records: Records = {}
            self.peers[peer_id] = peer = SimulatedPeer(peer_id, number, build, *build(records, 0))
            peer.disk.rows = records
            peer.is_up = peer_id not in late
        pairs = combinations(self.peers, 2) if edges is None else edges
        agenda = Agenda(self._timeline)
        self._agenda = agenda
        self.wires = Wires(self._timeline, Random(f"{seed}/links"), links, self.peers, pairs, self)
        world = World(
            timeline=self._timeline,
            agenda=agenda,
            links=links,
            gossip=gossip or GossipLimits(),
            wires=self.wires,
            puzzles=self.puzzles,
            shells=self._shells,
            happened=self._happened,
            ended=self._end,
        )
        self._shells.update((peer_id, EffectRunner(peer, world)) for peer_id, peer in self.peers.items())
        for peer in self.peers.values():
            if peer.is_up:
                self._shells[peer.id].start(first_requests(peer.records))
        self.wires.open_all()

    @property
    def now(self) -> Instant:
        """True time, in ms since 1970."""
        return self._timeline.now

    @property
    def trace_digest(self) -> str:
        """Hash of every effect and answer so far, with its time and peer: equal runs have equal digests."""
        return self.trace.digest

    @property
    def connections_lost(self) -> int:
        """Those that were torn down."""
        return self.wires.resets

    def run_for(self, duration_ms: int) -> None:
        """Let virtual time pass."""
        self._timeline.run_until(self._timeline.now + duration_ms)

    def close(self) -> None:
        """Nothing is held but memory."""

    # --- links ---

    def split(self, *groups: Iterable[PeerId]) -> None:
        """Cut every link between peers of different groups, instead of an earlier split."""
        self.wires.split(groups)

    def cut(self, senders: Iterable[PeerId], receivers: Iterable[PeerId]) -> None:
        """Lose what these send to those; the other direction works (half-open links, a one-way partition)."""
        heard = tuple(receivers)
        self.wires.cut((sender, receiver) for sender in senders for receiver in heard)

    def heal(self) -> None:
        """Join all again."""
        self.wires.heal()

    def reset(self, one: PeerId, other: PeerId) -> None:
        """Tear down a connection in the middle of whatever is under way on it."""
        self.wires.reset(one, other)

    # --- processes ---

    def crash(self, peer_id: PeerId) -> None:
        """Stop a peer at once, as `kill -9` or a power failure does: what is durable stays. One that is down stays down."""
        self._end(self.peers[peer_id], None)

    def kill_at(self, peer_id: PeerId, effect_number: int) -> None:
        """Let a peer be killed before it carries out the effect of this number, counted from its start."""
        self.peers[peer_id].kill_at = effect_number

    def restart(self, peer_id: PeerId) -> None:
        """Start a crashed, halted or late peer from its records, with room on its disk."""
        peer = self.peers[peer_id]
        self._end(peer, None)
        peer.replica, peer.learner, peer.serving_of, peer.work = peer.build(peer.records, peer.guard_round)
        peer.is_up, peer.puzzle, peer.halted, peer.stopped, peer.kill_at = True, None, None, None, None
        peer.timers.clear()
        peer.disk.is_full = False
        peer.core, peer.puzzle_core = Core(), Core()
        self._shells[peer_id].start(self._first_requests(peer.records))
        self.wires.peer_started(peer)

    def pause(self, peer_id: PeerId) -> None:
        """Let nothing of it run, as SIGSTOP does; what comes in waits."""
        peer = self.peers[peer_id]
        if peer.paused_since is None:
            peer.paused_since = self.now
            self.wires.peer_paused(peer)

    def resume(self, peer_id: PeerId) -> None:
        """Let it run again: all that came due meanwhile happens now, in order."""
        peer = self.peers[peer_id]
        peer.paused_since = None
        stalled, peer.stalled = peer.stalled, []
        for action in stalled:
            self._timeline.after(0, action)
        self.wires.peer_resumed(peer)

    # --- what the parts tell ---

    def joined(self, peer: SimulatedPeer, other: PeerId) -> None:
        """A connection exists."""
        self._agenda.after(0, peer, partial(self._shells[peer.id].joined, other, self.wires.number_of(peer.id, other)))

    def left(self, peer: SimulatedPeer, other: PeerId) -> None:
        """It is gone."""
        self._agenda.after(0, peer, partial(self._shells[peer.id].left, other))

    def _happened(self, peer: SimulatedPeer, happening: Happening) -> None:
        self.trace.add(self.now, peer.id, happening)
        self.watch(peer, happening, self.now)

    def _end(self, peer: SimulatedPeer, reason: str | None) -> None:
        """The process is gone; whether the write under way has reached the disk is a matter of luck."""
        if not peer.is_up:
            return
        self._shells[peer.id].end(is_written=self._crash_luck.random() < 0.5 and not peer.disk.is_full)
        peer.disk.lose_tail(self.now)
        peer.is_up, peer.stopped, peer.paused_since = False, reason, None
        peer.stalled.clear()
        peer.incarnation += 1
        self.wires.peer_ended(peer)
