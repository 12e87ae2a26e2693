"""Whole scenarios: they pass where all is well, stand still where nothing can move, and survive a kill at any effect."""

from random import Random

import msgspec
import pytest

from consensus.proof_of_work.machine import ProofOfWork
from consensus.proof_of_work.rules import ChainRules
from node.lab.checkers.finding import NoProgress, Pass
from node.lab.scenarios.events import Crash, Heal, KillAt, Misbehave, Partition, Restart
from node.lab.scenarios.scenario import Scenario, TimedEvent, parse_scenario
from node.lab.simulation.run import Simulation, SimulationOutcome
from node.runtime.coupling import Coupling

BOUNDARIES = 4


def scenario(
    consensus: str, learning: str, *events: TimedEvent, peers: int = 4, duration_s: int = 12, **expect: int
) -> Scenario:
    text = f'name = "test"\nconsensus = "{consensus}"\nlearning = "{learning}"\npeers = {peers}\nduration_s = {duration_s}\n'
    expectation = "".join(f"{name} = {value}\n" for name, value in ({"calm_s": 6, "behind_max": 8} | expect).items())
    plain = parse_scenario(f"{text}[links]\nslice_ms = 100\n[expect]\n{expectation}")
    return msgspec.structs.replace(plain, events=events)


def run(plan: Scenario, seed: int = 1) -> SimulationOutcome:
    return Simulation(plan, seed).run()


@pytest.mark.parametrize("consensus", ["proof-of-work", "total-order"])
@pytest.mark.parametrize("learning", ["evolution", "gradient"])
def test_a_calm_network_passes_in_every_mode(consensus: str, learning: str) -> None:
    outcome = run(scenario(consensus, learning, heights_min=1))
    assert isinstance(outcome.run_outcome, Pass), outcome.run_outcome
    assert min(outcome.heights) >= 4
    assert outcome.virtual_ms == 12_000


def test_at_the_default_depth_a_split_heals_though_nothing_is_final_yet() -> None:
    split = TimedEvent(6, Partition(((0, 1, 2), (3, 4))))
    plan = scenario("proof-of-work", "evolution", split, TimedEvent(24, Heal()), peers=5, duration_s=36)
    work = msgspec.structs.replace(plan.proof_of_work, finality_depth=ChainRules().finality_depth)
    simulation = Simulation(msgspec.structs.replace(plan, proof_of_work=work), 1)
    outcome = simulation.run()
    assert isinstance(outcome.run_outcome, Pass), outcome.run_outcome
    assert outcome.run_outcome.counts["a cut healed, and both sides had blocks of their own"] == 1
    assert min(outcome.heights) > 12
    machines = [peer.replica.ordering for peer in simulation.network.peers.values()]
    assert [machine.status.final_height for machine in machines if isinstance(machine, ProofOfWork)] == [0] * 5


def test_without_a_quorum_there_is_no_progress() -> None:
    outcome = run(scenario("total-order", "evolution", TimedEvent(2, Crash((0, 1)))))
    assert isinstance(outcome.run_outcome, NoProgress)
    assert "gained 0 heights, expected 3 or more" in outcome.run_outcome.detail


@pytest.mark.parametrize("consensus", ["proof-of-work", "total-order"])
def test_a_kill_at_any_effect_breaks_nothing(consensus: str) -> None:
    """Sampled: each run kills two peers in the middle of what they do, one of them again in its next incarnation."""
    random = Random(f"boundaries/{consensus}")
    counted = Simulation(scenario(consensus, "evolution"), 1)
    counted.network.run_for(4_000)
    effects = min(peer.effects_done for peer in counted.network.peers.values())
    for seed in range(BOUNDARIES):
        first, second, again = (random.randrange(effects) for _ in range(3))
        plan = scenario(
            consensus,
            "evolution",
            TimedEvent(0, KillAt((1,), effect=first)),
            TimedEvent("0.5", KillAt((2,), effect=second)),
            TimedEvent(4, Restart((1, 2))),
            TimedEvent("4.5", KillAt((1,), effect=effects + again)),
            TimedEvent(6, Restart((1,))),
            duration_s=16,
            calm_s=10,
        )
        outcome = run(plan, seed)
        assert isinstance(outcome.run_outcome, Pass), (seed, first, second, again, outcome.run_outcome)


@pytest.mark.parametrize("consensus", ["proof-of-work", "total-order"])
@pytest.mark.parametrize(
    ("learning", "fault"), [("evolution", "inflated-claim"), ("gradient", "sign-flip"), ("gradient", "mute")]
)
def test_a_peer_that_turns_in_mid_run_and_back_again_is_borne_and_listened_to_no_more(
    consensus: str, learning: str, fault: str
) -> None:
    plan = scenario(
        consensus,
        learning,
        TimedEvent(3, Misbehave((2,), fault)),
        TimedEvent(6, Misbehave((2,), "")),
        heights_min=1,
    )
    simulation = Simulation(plan, 1)
    outcome = simulation.run()
    assert isinstance(outcome.run_outcome, Pass), outcome.run_outcome
    turned = simulation.population.ids[2]
    assert [peer for peer in simulation.population.ids if peer not in simulation.checkers.honest] == [turned]
    assert isinstance(simulation.network.peers[turned].replica, Coupling)
    assert outcome.heights[2] > 0


def test_a_peer_misbehaves_only_from_its_event_on() -> None:
    """Until then its trace is that of an honest peer; then it is the trace of another run."""

    def trace(duration_ms: int, *events: TimedEvent) -> str:
        simulation = Simulation(scenario("total-order", "evolution", *events), 1)
        simulation.network.run_for(duration_ms)
        return simulation.network.trace_digest

    mute = TimedEvent(0, Misbehave((2,), "mute"))
    assert trace(3_000) == trace(3_000, mute)
    honest, turned = (Simulation(scenario("total-order", "evolution", *events), 1) for events in ((), (mute,)))
    assert honest.run().trace_digest != turned.run().trace_digest
    assert (
        turned.network.peers[turned.population.ids[2]].bytes_sent
        < honest.network.peers[honest.population.ids[2]].bytes_sent / 2
    )


def test_flooded_messages_cross_a_sparse_network_and_all_agree() -> None:
    plan = scenario("proof-of-work", "evolution", peers=16, duration_s=14, behind_max=3)
    plan = msgspec.structs.replace(plan, links=msgspec.structs.replace(plan.links, neighbours=3, slice_ms=400))
    sparse = run(plan)
    assert isinstance(sparse.run_outcome, Pass), sparse.run_outcome
    assert max(sparse.heights) - min(sparse.heights) <= 1
    assert sparse.spread is not None
    assert sparse.spread.blocks >= max(sparse.heights)
    assert 5 <= sparse.spread.median_ms <= sparse.spread.slowest_twentieth_ms < 2_000


def test_checks_that_are_off_judge_progress_alone_and_change_nothing() -> None:
    plan = scenario("proof-of-work", "evolution")
    unchecked = run(msgspec.structs.replace(plan, are_checked=False))
    assert isinstance(unchecked.run_outcome, Pass)
    assert unchecked.trace_digest == run(plan).trace_digest


def test_another_seed_is_another_history() -> None:
    plan = scenario("proof-of-work", "evolution")
    assert len({run(plan, seed).trace_digest for seed in (1, 2, 1)}) == 2
