"""Run a scenario with a seed, and judge it."""

from collections.abc import Callable
from dataclasses import dataclass

from consensus.types import Instant, PeerId
from learning.learner import LearnerAnswer, StepAdopted
from node.assembly import proof_of_work_rules
from node.net.gossip import GossipLimits
from node.network_file import Consensus
from node.replica import OuterEffect, Replica
from node.simulation.checkers.court import Court, Facts
from node.simulation.checkers.finding import Seen, Verdict
from node.simulation.checkers.progress import Pace
from node.simulation.network import SimulatedNetwork
from node.simulation.peer import SimulatedPeer
from node.simulation.population import START, Population
from node.simulation.propagation import Propagation, Spread
from node.simulation.scenario import Scenario, milliseconds
from node.simulation.schedule import apply, check, in_order, late_peers
from node.simulation.trace import Sink

INSPECTION_MS = 1_000
"""How often everybody's queues and tables are counted: between two, nothing grows by more than a second's messages."""

CROWD = 200
"""From so many peers on, each remembers fewer flooded messages, or a thousand of them would take gigabytes."""

CROWD_LIMITS = GossipLimits(cached_messages=128, seen=1_024, known_per_peer=256)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a run."""

    verdict: Verdict
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


class Simulation:
    """One scenario, one seed. Raises TomlProblem when the scenario contradicts itself."""

    def __init__(self, scenario: Scenario, seed: int, sink: Sink | None = None) -> None:
        check(scenario)
        self.scenario = scenario
        self.population = population = Population(scenario, seed)
        self.court = Court(self._facts())
        self._propagation = Propagation()
        late = frozenset(population.ids[number] for number in late_peers(scenario))
        self.network = SimulatedNetwork(
            seed,
            population.builds(),
            population.links(),
            START,
            watch=self._watch,
            edges=population.edges(),
            late=late,
            first_requests=population.first_requests,
            gossip=CROWD_LIMITS if scenario.peers >= CROWD else None,
            sink=sink,
        )

    def run(self, tell: Callable[[int], None] = lambda _: None) -> Outcome:
        """To the end, or to the first finding. `tell` hears once a virtual second how many ms have passed."""
        end = START + self.scenario.duration_ms
        calm_at = end - self.scenario.calm_ms
        for event in in_order(self.scenario):
            self._pass_until(START + milliseconds(event.at_s), tell)
            apply(event, self.network)
        self._pass_until(calm_at, tell)
        self.court.progress.calm(Instant(calm_at))
        self._pass_until(end, tell)
        return self._outcome()

    def _pass_until(self, end: int, tell: Callable[[int], None]) -> None:
        while self.network.now < end and self.court.finding is None:
            try:
                self.network.run_for(min(INSPECTION_MS, end - self.network.now))
            except Exception as error:  # noqa: BLE001 - whatever a peer raises is what a run looks for: it becomes the verdict
                self.court.failed(error, self.network.now)
                return
            if self.scenario.are_checked:
                self._inspect()
            tell(self.network.now - START)

    def _inspect(self) -> None:
        for peer in self.network.peers.values():
            if isinstance(peer.replica, Replica):
                self.court.inspect(peer.id, peer.replica, peer.records, self.network.now)

    def _watch(self, peer: SimulatedPeer, happening: OuterEffect | LearnerAnswer, now: Instant) -> None:
        self._propagation.see(happening, now)
        if self.scenario.are_checked:
            self.court.watch(peer, happening, now)
        elif isinstance(happening, StepAdopted):
            self.court.progress.see(Seen(now, peer.id, peer.life, happening))

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
        )

    def _expected(self) -> tuple[PeerId, ...]:
        """Who should have moved on: whoever is honest, up and not paused. One that has halted is among them."""
        peers = self.network.peers.values()
        return tuple(peer.id for peer in peers if peer.id in self.population.honest and peer.is_up and not peer.is_paused)

    def _outcome(self) -> Outcome:
        peers, expect = tuple(self.network.peers.values()), self.scenario.expect
        heads = [peer.head for peer in peers if peer.head is not None]
        return Outcome(
            verdict=self.court.verdict(self._expected(), Pace(expect.heights_min, expect.behind_max), self.network.now),
            trace_digest=self.network.trace_digest,
            events=self.network.trace.count,
            heights=tuple(0 if peer.head is None else peer.head.height for peer in peers),
            fitness=max(heads, key=lambda head: head.height).fitness if heads else 0.0,
            bytes_sent=tuple(peer.bytes_sent for peer in peers),
            connections_lost=self.network.wires.resets,
            virtual_ms=self.network.now - START,
            spread=self._propagation.spread(),
        )
