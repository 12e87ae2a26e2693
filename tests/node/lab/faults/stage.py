"""One simulated network with its faulty peers, and all that its peers did and were told, for tests of what a fault does."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import Any, TypeVar

from msgspec import structs

from consensus.effects import Accusation
from consensus.types import Instant, PeerId
from learning.evolution.rules import EvolutionRules, Strategy
from learning.gradient.rules import GradientRules
from learning.learner import LearnerAnswer
from node.lab.checkers.finding import Pass
from node.lab.scenarios.scenario import ExpectSection, Faulty, Scenario
from node.lab.simulation.peer import SimulatedPeer
from node.lab.simulation.run import Simulation, SimulationOutcome
from node.rules.network_rules import Consensus, Learning
from node.runtime.coupling import OuterEffect

WORK, ORDER = Consensus.PROOF_OF_WORK, Consensus.TOTAL_ORDER
EVOLUTION, GRADIENT = Learning.EVOLUTION, Learning.GRADIENT

GRADIENTS = GradientRules(momentum="0.5", minibatch_size=4, staleness_max=30, workers_window=8, shards="whole")
"""So short a window that gradients count from the second block on."""

EVOLVING = EvolutionRules(offspring=16, step_size="0.05", step_size_factor="0.99", step_size_floor="0.005")

T = TypeVar("T")


@dataclass
class Play:
    """A run that is over."""

    simulation: Simulation
    happened: list[tuple[Instant, PeerId, OuterEffect | LearnerAnswer]] = field(default_factory=list)
    outcome: SimulationOutcome | None = None

    def run(self) -> None:
        network = self.simulation.network
        checkers = network.watch

        def watch(peer: SimulatedPeer, happening: OuterEffect | LearnerAnswer, now: Instant) -> None:
            self.happened.append((now, peer.id, happening))
            checkers(peer, happening, now)

        network.watch = watch
        self.outcome = self.simulation.run()

    @property
    def honest(self) -> list[SimulatedPeer]:
        return [peer for peer in self.simulation.network.peers.values() if peer.id in self.simulation.population.honest]

    @property
    def liars(self) -> list[SimulatedPeer]:
        return [peer for peer in self.simulation.network.peers.values() if peer.id not in self.simulation.population.honest]

    @property
    def liar(self) -> SimulatedPeer:
        (liar,) = self.liars
        return liar

    @property
    def accusations(self) -> list[Accusation]:
        """Of the liars, by the honest."""
        return [accusation for peer in self.honest for accusation in peer.accusations]

    @property
    def offences(self) -> set[str]:
        return {accusation.offence.name for accusation in self.accusations}

    @property
    def refusals(self) -> list[set[PeerId]]:
        """Whom each honest peer has refused."""
        return [peer.refused for peer in self.honest]

    @property
    def counts(self) -> dict[str, int]:
        assert self.outcome is not None
        return dict(self.outcome.run_outcome.counts)

    def by(self, peer: SimulatedPeer, kind: type[T]) -> Iterator[tuple[Instant, T]]:
        """What a peer did or was told, of one kind, with the true time."""
        return ((now, happening) for now, who, happening in self.happened if who == peer.id and isinstance(happening, kind))


@cache
def play(
    fault: str,
    consensus: Consensus,
    learning: Learning = EVOLUTION,
    *,
    peers: int = 4,
    faulty: int = 1,
    seed: int = 1,
    seconds: int = 0,
    strategy: Strategy = Strategy.PLUS,
) -> Play:
    """The last peers have the fault; what the honest ones did is checked while it runs. 0 seconds: what is enough for most."""
    seconds = seconds or (20 if consensus is WORK else 6)
    scenario = Scenario(
        name="faults",
        consensus=consensus,
        learning=learning,
        peers=peers,
        duration_s=seconds,
        gradient=GRADIENTS,
        evolution=structs.replace(EVOLVING, strategy=strategy),
        expect=ExpectSection(calm_s=seconds - 2, heights_min=3, behind_max=4 if learning is EVOLUTION else 20),
        faulty=(Faulty(fault, tuple(range(peers - faulty, peers))),) if faulty else (),
    )
    return play_scenario(scenario, seed)


def play_scenario(scenario: Scenario, seed: int = 1) -> Play:
    """A whole scenario, watched."""
    played = Play(Simulation(scenario, seed))
    played.run()
    return played


def withstood(fault: str, consensus: Consensus, learning: Learning = EVOLUTION, **others: Any) -> Play:
    """A play in which the honest agree and go on, and no checker has found anything."""
    played = play(fault, consensus, learning, **others)
    assert_passed(played)
    return played


def assert_passed(played: Play) -> None:
    """No checker has found anything, and everybody honest has moved on."""
    assert played.outcome is not None
    assert isinstance(played.outcome.run_outcome, Pass), played.outcome.run_outcome
