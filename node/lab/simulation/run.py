"""Run a scenario with a seed: let its events befall the network, and judge it."""

import gc
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import assert_never

from consensus.types import Instant, PeerId
from learning.learner import LearnerAnswer, StepAdopted
from node.lab.checkers.finding import RunOutcome, Seen
from node.lab.checkers.progress import ExpectedPace
from node.lab.checkers.suite import CheckerSuite, Facts
from node.lab.scenarios import events
from node.lab.scenarios.events import Event, Heal, Join, Restart
from node.lab.scenarios.scenario import Scenario, in_order, late_peers, milliseconds
from node.lab.scenarios.scenario_check import check, needs_sockets
from node.lab.simulation.network import SimulatedNetwork
from node.lab.simulation.peer import SimulatedPeer
from node.lab.simulation.population import START, Population
from node.lab.simulation.propagation import Propagation, Spread
from node.lab.simulation.sockets.network import SocketNetwork
from node.lab.simulation.sockets.process import Doors, ground_of, places_of
from node.lab.simulation.trace import Sink, TraceFileError
from node.net.gossip import GossipLimits
from node.rules.conversion import proof_of_work_rules
from node.rules.network_rules import Consensus
from node.runtime.coupling import Coupling, OuterEffect

Network = SimulatedNetwork | SocketNetwork

Turn = Callable[[PeerId, str], None]
"""Starts a peer again with this fault, or without one, and tells the checkers."""


def apply(event: events.Event, network: Network, turn: Turn) -> None:
    """Let it befall the network now."""
    everybody = tuple(network.peers)

    def named(numbers: Iterable[int]) -> list[PeerId]:
        return [everybody[number] for number in numbers]

    match event:
        case events.Partition(groups):
            network.split(*map(named, groups))
        case events.Cut(senders, receivers):
            network.cut(named(senders), named(receivers))
        case events.Heal():
            network.heal()
        case _:
            for peer in named(event.peers):
                _apply_to(event, peer, network, turn)


def _apply_to(event: events.PeersEvent, peer: PeerId, network: Network, turn: Turn) -> None:
    match event:
        case events.Crash():
            network.crash(peer)
        case events.Restart() | events.Join():
            network.restart(peer)
        case events.KillAt(_, effect):
            _over_wires(network).kill_at(peer, effect)
        case events.Pause():
            _over_wires(network).pause(peer)
        case events.Resume():
            _over_wires(network).resume(peer)
        case events.Reset():
            for other in network.peers:
                network.reset(peer, other)
        case events.Wipe():
            network.wipe(peer)
        case events.BackUp():
            network.back_up(peer)
        case events.RestoreOldDisk():
            network.restore_backup(peer)
        case events.DiskFull():
            network.fill_disk(peer)
        case events.DiskLies(_, unsynced_ms):
            network.lie_about_syncing(peer, unsynced_ms)
        case events.Slow(_, factor):
            network.slow_down(peer, float(factor))
        case events.Clock(_, offset_ms, drift_ppm):
            network.set_clock(peer, offset_ms, drift_ppm)
        case events.Misbehave(_, fault):
            turn(peer, fault)
        case _:
            assert_never(event)


def _over_wires(network: Network) -> SimulatedNetwork:
    assert isinstance(network, SimulatedNetwork), "over sockets a scenario with such an event is refused"
    return network


INSPECTION_MS = 1_000
"""How often everybody's queues and tables are counted: between two, nothing grows by more than a second's messages."""

FINAL_LAG_MAX = 6
"""Blocks that are deep enough and not called final yet: contested ones delay it by up to four, and requests are under way."""

CROWD = 200
"""From so many peers on, each remembers fewer flooded messages, or a thousand of them would take gigabytes."""

INSPECTED_AT_ONCE = 32
"""So many of a larger network have their turn at a time: to count all that a thousand peers hold takes longer than their
second itself."""

CROWD_LIMITS = GossipLimits(cached_messages=128, seen=1_024, known_per_peer=256)


@dataclass(frozen=True, slots=True)
class SimulationOutcome:
    """What became of a run."""

    run_outcome: RunOutcome
    trace_digest: str
    events: int
    """Effects and answers, all peers together."""
    heights: tuple[int, ...]
    """Of the heads, by peer number; 0 without one."""
    fitness: float
    """Of the highest head."""
    bytes_sent: tuple[int, ...]
    """By peer number."""
    connections_lost: int
    virtual_ms: int
    spread: Spread | None
    """How blocks spread; None under a total order."""
    doors: Doors | None = None
    """What has come to honest peers; None but over sockets."""


@contextmanager
def without_garbage_collection() -> Iterator[None]:
    """It takes a quarter of the time of a thousand peers, and finds next to nothing before the run has ended."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


class Simulation:
    """One scenario, one seed. Raises TomlProblem when the scenario contradicts itself."""

    def __init__(self, scenario: Scenario, seed: int, sink: Sink | None = None) -> None:
        check(scenario)
        self.scenario = scenario
        self.population = population = Population(scenario, seed)
        self.checkers = CheckerSuite(self._facts())
        self._propagation = Propagation()
        self._inspected = 0
        late = frozenset(population.ids[number] for number in late_peers(scenario))
        self.network: SimulatedNetwork | SocketNetwork = (
            self._over_sockets(seed, late, sink) if needs_sockets(scenario) else self._over_wires(seed, late, sink)
        )

    def _over_wires(self, seed: int, late: frozenset[PeerId], sink: Sink | None) -> SimulatedNetwork:
        """Messages go from shell to shell: thousands of peers."""
        population = self.population
        return SimulatedNetwork(
            seed,
            population.builds(),
            population.links(),
            START,
            watch=self._watch,
            edges=population.edges(),
            late=late,
            first_requests=population.first_requests,
            gossip=CROWD_LIMITS if self.scenario.peers >= CROWD else None,
            sink=sink,
        )

    def _over_sockets(self, seed: int, late: frozenset[PeerId], sink: Sink | None) -> SocketNetwork:
        """Messages go through the real node's connections: what is wrong with those is seen, too."""
        population = self.population
        return SocketNetwork(
            seed,
            population.builds(),
            population.links(),
            START,
            ground_of(population),
            watch=self._watch,
            late=late,
            faults={population.ids[number]: fault for number, fault in self.scenario.fault_of.items()},
            sink=sink,
        )

    def run(self, tell: Callable[[int], None] = lambda _: None) -> SimulationOutcome:
        """To the end, or to the first finding. `tell` hears once a virtual second how many ms have passed.

        Raises TraceFileError when the sink does.
        """
        with closing(self.network):
            self._play(tell)
            return self._outcome()

    def _play(self, tell: Callable[[int], None]) -> None:
        end = START + self.scenario.duration_ms
        calm_at = end - self.scenario.calm_ms
        for timed in in_order(self.scenario):
            self._pass_until(START + milliseconds(timed.at_s), tell)
            self._attempt(partial(self._befall, timed.event))
        self._pass_until(calm_at, tell)
        self.checkers.progress.calm(Instant(calm_at))
        self.checkers.parts.calm(Instant(calm_at))
        self._pass_until(end, tell)

    def _befall(self, event: Event) -> None:
        self._count(event)
        apply(event, self.network, self._turn)

    def _count(self, event: Event) -> None:
        """What only the disks and the tree of blocks tell, before the event befalls them."""
        rare_paths = self.checkers.rare_paths
        numbers = event.peers if isinstance(event, Join | Restart) else ()
        if isinstance(event, Heal):
            rare_paths.heals()
        for peer in [tuple(self.network.peers.values())[number] for number in numbers]:
            if isinstance(event, Join):
                rare_paths.joins(peer.id)
            elif isinstance(event, Restart) and peer.id in self.checkers.honest:
                rare_paths.starts(peer.id, peer.records, peer.guard_round, is_full=peer.stopped is not None)
                self.checkers.starts(peer, peer.records, self.network.now)

    def _turn(self, peer: PeerId, fault: str) -> None:
        """Start it again, to misbehave from now on, or no more."""
        self.checkers.turns(peer)
        turning = self.network.peers[peer]
        turning.build, turning.fault = self.population.build(peer, fault), fault
        self.network.restart(peer)

    def _pass_until(self, end: int, tell: Callable[[int], None]) -> None:
        while self.network.now < end and self.checkers.finding is None:
            self._attempt(partial(self.network.run_for, min(INSPECTION_MS, end - self.network.now)))
            if self.scenario.are_checked:
                self._inspect()
            tell(self.network.now - START)

    def _attempt(self, action: Callable[[], None]) -> None:
        """Nothing more, once something was found: what a peer raises leaves a network that cannot go on."""
        if self.checkers.finding is None:
            try:
                action()
            except TraceFileError:
                raise  # no peer's doing
            except Exception as error:  # noqa: BLE001 - whatever a peer raises is what a run looks for: it becomes the outcome
                self.checkers.on_error(error, self.network.now)

    def _inspect(self) -> None:
        for peer in self._inspected_now():
            if isinstance(peer.replica, Coupling):
                self.checkers.inspect(peer.id, peer.replica, peer.records, self.network.now)

    def _inspected_now(self) -> tuple[SimulatedPeer, ...]:
        """Everybody, or whose turn it is."""
        peers = tuple(self.network.peers.values())
        first = self._inspected % len(peers)
        self._inspected += INSPECTED_AT_ONCE
        return (peers[first:] + peers[:first])[:INSPECTED_AT_ONCE]

    def _watch(self, peer: SimulatedPeer, happening: OuterEffect | LearnerAnswer, now: Instant) -> None:
        self._propagation.see(happening, now)
        if self.scenario.are_checked:
            self.checkers.watch(peer, happening, now)
        elif isinstance(happening, StepAdopted):
            self.checkers.progress.see(Seen(now, peer.id, peer.incarnation, happening))

    def _facts(self) -> Facts:
        population, rules = self.population, self.population.rules
        is_work = rules.consensus is Consensus.PROOF_OF_WORK
        return Facts(
            network_id=population.network_id,
            honest=population.honest,
            peers=len(population.ids),
            start=START,
            members=population.members,
            gc_depth=0 if is_work else rules.total_order.gc_depth,
            work_rules=proof_of_work_rules(rules) if is_work else None,
            outsiders_max=places_of(population) if needs_sockets(self.scenario) else 0,
            is_solved=self._is_solved,
        )

    def _is_solved(self, prefix: bytes, nonce: int, target: int) -> bool:
        """By the luck of the network's own miners; the checkers is there before they are."""
        return self.network.puzzles.is_solved(prefix, nonce, target)

    def _expected(self) -> tuple[PeerId, ...]:
        """Who should have moved on: whoever is honest, up and not paused. One that has halted is among them."""
        peers = self.network.peers.values()
        return tuple(peer.id for peer in peers if peer.id in self.checkers.honest and peer.is_up and not peer.is_paused)

    def _pace(self) -> ExpectedPace:
        """What is final to a machine moves with its head, and nobody tells of it where nothing is checked."""
        expect, rules = self.scenario.expect, self.population.rules
        is_told = rules.consensus is Consensus.PROOF_OF_WORK and self.scenario.are_checked
        depth = rules.proof_of_work.finality_depth + FINAL_LAG_MAX
        return ExpectedPace(expect.heights_min, expect.behind_max, depth if is_told else None)

    def _outcome(self) -> SimulationOutcome:
        peers = tuple(self.network.peers.values())
        heads = [peer.head for peer in peers if peer.head is not None]
        return SimulationOutcome(
            run_outcome=self.checkers.run_outcome(self._expected(), self._pace(), self.network.now),
            trace_digest=self.network.trace_digest,
            events=self.network.trace.count,
            heights=tuple(0 if peer.head is None else peer.head.height for peer in peers),
            fitness=max(heads, key=lambda head: head.height).fitness if heads else 0.0,
            bytes_sent=tuple(peer.bytes_sent for peer in peers),
            connections_lost=self.network.connections_lost,
            virtual_ms=self.network.now - START,
            spread=self._propagation.spread(),
            doors=self._doors(),
        )

    def _doors(self) -> Doors | None:
        if isinstance(self.network, SimulatedNetwork):
            return None
        return sum((doors for peer, doors in self.network.doors.items() if peer in self.checkers.honest), Doors())
