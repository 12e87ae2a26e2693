"""The simulator's speed: processor time of small networks of every mode, and of a thousand peers, against what is wanted of it.

All checks are on. Ratios above 1 are good; they assume that the runs of small networks keep two cores busy.

    python benchmarks/scale.py
"""

import gc
import sys
import time
from pathlib import Path

import msgspec

from node.lab.checkers.finding import Pass
from node.lab.scenarios.scenario import ExpectSection, Scenario, read_scenario
from node.lab.scenarios.toy_tasks import ToyTask
from node.lab.simulation.run import Simulation, SimulationOutcome
from node.rules.network_rules import Consensus, Learning

THOUSAND = Path(__file__).resolve().parents[1] / "docs" / "scenarios" / "thousand.toml"

PEERS = 7
HEIGHT = 30
"""What is called thirty generations: models that every peer agrees on."""

VIRTUAL_S = {
    (Consensus.PROOF_OF_WORK, Learning.EVOLUTION): 45,
    (Consensus.PROOF_OF_WORK, Learning.GRADIENT): 45,
    (Consensus.TOTAL_ORDER, Learning.EVOLUTION): 28,
    (Consensus.TOTAL_ORDER, Learning.GRADIENT): 8,
}
"""So long it takes until then, and little longer."""

SEEDS_WANTED = 300
WITHIN_S = 600
CORES = 2


def main() -> int:
    """Print all costs; 1 when a goal was missed."""
    gc.disable()  # as `simulate` does
    seconds = [cost_of_small(consensus, learning) for consensus, learning in VIRTUAL_S]
    seeds = CORES * WITHIN_S * len(seconds) / sum(seconds)
    of_seeds = seeds / SEEDS_WANTED
    print(f"{seeds:.0f} seeds in {WITHIN_S} s on {CORES} cores, {of_seeds:.2f} times the {SEEDS_WANTED} wanted")
    of_time = speed_of_thousand()
    print(f"a thousand peers: {of_time:.2f} times as fast as real time")
    return 0 if min(of_seeds, of_time) >= 1 else 1


def cost_of_small(consensus: Consensus, learning: Learning) -> float:
    """Print and return the seconds of one small network's run; the lower of two: other work on the machine only adds."""
    virtual_s = VIRTUAL_S[consensus, learning]
    scenario = Scenario(
        name="benchmark",
        consensus=consensus,
        learning=learning,
        peers=PEERS,
        duration_s=virtual_s,
        expect=ExpectSection(calm_s=virtual_s // 2, heights_min=1, behind_max=100),
        task=ToyTask.QUADRATIC,
    )
    outcome, cost = min((timed(scenario, seed=1) for _ in range(2)), key=lambda run: run[1])
    lowest = min(outcome.heights)
    print(f"{PEERS} peers, {consensus}, {learning}: {cost:.2f} s for {virtual_s} virtual s, heights from {lowest}")
    assert lowest >= HEIGHT, f"the lowest head is at {lowest}, expected {HEIGHT}: let it run for longer"
    return cost


def speed_of_thousand() -> float:
    """Virtual seconds of the shipped scenario per second of one core."""
    scenario = msgspec.structs.replace(read_scenario(THOUSAND), are_checked=True)
    outcome, cost = timed(scenario, seed=1)
    return outcome.virtual_ms / 1000 / cost


def timed(scenario: Scenario, seed: int) -> tuple[SimulationOutcome, float]:
    """A run that has to pass, and the processor time that it took."""
    simulation = Simulation(scenario, seed)
    begun = time.process_time()
    outcome = simulation.run()
    assert isinstance(outcome.run_outcome, Pass), outcome.run_outcome
    return outcome, time.process_time() - begun


if __name__ == "__main__":
    sys.exit(main())
