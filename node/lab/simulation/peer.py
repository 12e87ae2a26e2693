"""One simulated peer: all that it holds, what outlives it, what is wrong with its machine, and what befalls that."""

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple, Protocol

from consensus.effects import Accusation, SolvePuzzle
from consensus.types import Instant, PeerId
from learning.learner import Learner, LearnerAnswer, LearnerRequest, StepAdopted
from node.lab.faults.consensus.withheld_parts import ServingOf, gives_all
from node.lab.simulation.disk import Disk, Records
from node.lab.simulation.timeline import Action, Core, LocalClock
from node.lab.simulation.work import WorkClock
from node.runtime.coupling import OuterEffect, ReplicaPort
from node.runtime.effect_queue import EffectQueue


class Built(NamedTuple):
    """What one incarnation of a peer is made of."""

    replica: ReplicaPort
    learner: Learner
    serving_of: ServingOf = gives_all
    """How who asks for large bytes is answered."""
    work: WorkClock | None = None
    """The clock of its learner's process, which its work moves on; None: each answer takes as long as another."""


Build = Callable[[Records, int], Built]
"""Makes these from a peer's disk and signed round: called at the start and after every crash."""

FirstRequests = Callable[[Records], tuple[LearnerRequest, ...]]
"""What a peer's learner is asked before all else, by what its disk holds."""


@dataclass
class SimulatedPeer:
    """One peer. What a crash ends is in `process`; the rest outlives it."""

    id: PeerId
    number: int
    """Its place in the network."""
    build: Build
    replica: ReplicaPort
    learner: Learner
    serving_of: ServingOf
    """How it answers who asks for large bytes."""
    work: WorkClock | None = None
    """Of its learner, where that takes as long as its work does."""
    fault: str = ""
    """How it misbehaves below all messages, too; the rest of that is in its replica and its learner."""
    disk: Disk = field(default_factory=Disk)
    refused: set[PeerId] = field(default_factory=set)
    """All that it ever refused."""
    accusations: list[Accusation] = field(default_factory=list)
    puzzle: SolvePuzzle | None = None
    timers: dict[str, int] = field(default_factory=dict)
    """When each fires, by this peer's clock."""
    head: StepAdopted | None = None
    halted: str | None = None
    """Why its machine refuses to go on."""
    stopped: str | None = None
    """Why its process ended by itself: a full disk."""
    is_up: bool = True
    incarnation: int = 0
    """Counts ends: what was meant for an earlier incarnation is dropped."""
    # --- the process ---
    effects: EffectQueue = field(default_factory=EffectQueue)
    """Wanted and not yet carried out: they wait behind the disk."""
    requests: deque[LearnerRequest] = field(default_factory=deque)
    """What its learner has yet to answer."""
    is_learner_busy: bool = False
    has_slice_planned: bool = False
    # --- the machine that it runs on ---
    clock: LocalClock = field(default_factory=LocalClock)
    slowness: float = 1.0
    """How many times longer everything takes that this peer computes."""
    core: Core = field(default_factory=Core)
    """Of its event loop."""
    puzzle_core: Core = field(default_factory=Core)
    """Of its puzzle process."""
    paused_since: int | None = None
    stalled: list[Action] = field(default_factory=list)
    """What came due while it was paused, in order."""
    kill_at: int | None = None
    """It is killed before it carries out the effect of this number."""
    # --- counters ---
    effects_done: int = 0
    bytes_sent: int = 0
    bytes_received: int = 0
    messages_received: int = 0

    @property
    def records(self) -> Records:
        """The durable rows."""
        return self.disk.rows

    @property
    def guard_round(self) -> int:
        """The signed round in the redo log."""
        return self.disk.guard_round

    @property
    def is_paused(self) -> bool:
        """Whether its process is stopped for the moment."""
        return self.paused_since is not None

    @property
    def is_running(self) -> bool:
        """Whether it does anything, now or once it is resumed."""
        return self.is_up and self.halted is None


Watch = Callable[[SimulatedPeer, OuterEffect | LearnerAnswer, Instant], None]
"""Sees each effect as it is carried out (a record: once it is durable) and each answer as the peer hears it, at a true time."""


def watch_nothing(_peer: SimulatedPeer, _happening: OuterEffect | LearnerAnswer, _now: Instant) -> None:
    """Nobody looks."""


class TrueTime(Protocol):
    """The time that all peers share, in ms since 1970."""

    @property
    def start(self) -> Instant:
        """When the network began."""
        ...

    @property
    def now(self) -> Instant:
        """True time."""
        ...

    def after(self, delay_ms: int, action: Action) -> None:
        """Let `action` happen in `delay_ms`, at the earliest now."""
        ...


class Agenda:
    """Plans what a peer does itself: dropped with its incarnation, put off while it is paused."""

    def __init__(self, timeline: TrueTime) -> None:
        self._timeline = timeline

    def local_now(self, peer: SimulatedPeer) -> Instant:
        """What the peer measures durations with."""
        return peer.clock.now(self._timeline.now)

    def after(self, delay_ms: int, peer: SimulatedPeer, action: Action) -> None:
        """Let this incarnation of the peer do it."""
        self._timeline.after(delay_ms, partial(self._do, peer, peer.incarnation, action))

    def at_once(self, peer: SimulatedPeer, action: Action) -> None:
        """Let it do it now, or once it is resumed."""
        self._do(peer, peer.incarnation, action)

    def _do(self, peer: SimulatedPeer, incarnation: int, action: Action) -> None:
        if not peer.is_running or peer.incarnation != incarnation:
            return
        if peer.is_paused:
            peer.stalled.append(partial(self._do, peer, incarnation, action))
        else:
            action()


class PeerClock:
    """What this peer's clocks show."""

    def __init__(self, peer: SimulatedPeer, agenda: Agenda) -> None:
        self._peer = peer
        self._agenda = agenda

    def now(self) -> Instant:
        """By the clock for durations."""
        return self._agenda.local_now(self._peer)

    def wall_offset_ms(self) -> int:
        """The wall clock reads `now + wall_offset_ms`."""
        return self._peer.clock.offset_ms


class Machines(ABC):
    """One for each peer; the network that connects them says how a process ends."""

    peers: dict[PeerId, SimulatedPeer]

    @property
    @abstractmethod
    def now(self) -> Instant:
        """True time."""

    @abstractmethod
    def crash(self, peer_id: PeerId) -> None:
        """Stop a peer at once, as `kill -9` or a power failure does: what is durable stays. One that is down stays down."""

    def slow_down(self, peer_id: PeerId, factor: float) -> None:
        """From now on all that it computes takes `factor` times as long, at least 1."""
        self.peers[peer_id].slowness = factor

    def set_clock(self, peer_id: PeerId, offset_ms: int, drift_ppm: int = 0) -> None:
        """Put its wall clock wrong, or right; and let both of its clocks go too fast, or too slow."""
        peer = self.peers[peer_id]
        peer.clock = peer.clock.put(self.now, offset_ms, drift_ppm)

    def wipe(self, peer_id: PeerId) -> None:
        """Crash a peer, and lose all its rows; key and redo log are kept."""
        self.crash(peer_id)
        self.peers[peer_id].disk.replace({})

    def back_up(self, peer_id: PeerId) -> None:
        """Copy its rows."""
        self.peers[peer_id].disk.keep_backup()

    def restore_backup(self, peer_id: PeerId) -> None:
        """Crash a peer, and put the copy in place of its rows; the redo log is as it was."""
        self.crash(peer_id)
        self.peers[peer_id].disk.restore_backup()

    def fill_disk(self, peer_id: PeerId) -> None:
        """Its next write fails, and ends it."""
        self.peers[peer_id].disk.is_full = True

    def lie_about_syncing(self, peer_id: PeerId, unsynced_ms: int) -> None:
        """From now on a crash loses what its disk acknowledged within so long."""
        self.peers[peer_id].disk.unsynced_ms = unsynced_ms
