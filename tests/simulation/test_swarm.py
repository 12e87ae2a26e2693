"""The swarm: a seed is a whole run, every run is judged, and a batch says what it has gone through."""

import dataclasses

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from node.faults.catalogue import Family, fault_named, parse_fault
from node.network_file import Consensus, Learning
from node.simulation.checkers.finding import Diverged, Excerpt, Finding, Pass
from node.simulation.checkers.rare_paths import RarePath
from node.simulation.network import SimulatedNetwork
from node.simulation.population import START
from node.simulation.schedule import check
from node.simulation.swarm.__main__ import main
from node.simulation.swarm.batch import run_batch
from node.simulation.swarm.plan import CALM_S, STORM_S, fitting_faults, scenario_of, title_of
from node.simulation.swarm.run import Ended, lines_of, run_scenario

BRIEF = {"storm_s": 6, "calm_s": 12}
"""Seconds; a third of the full run."""

SMALL_MAX = 5
"""Peers: such a run takes about a second."""

SEEDS = tuple(seed for seed in range(200, 300) if scenario_of(seed).peers <= SMALL_MAX)[:20]


PASS = Pass()
FAILURE = Diverged(Finding("nobody errs", "somebody erred", ()), Excerpt(("* 1 ms",)))


@settings(max_examples=100, deadline=None)
@given(seed=st.integers(min_value=0, max_value=2**40))
def test_every_seed_is_a_scenario_without_contradictions_and_within_what_is_tolerated(seed: int) -> None:
    scenario = scenario_of(seed)
    check(scenario)
    assert len(scenario.fault_of) <= (scenario.peers - 1) // 3
    assert scenario_of(seed) == scenario
    assert scenario.duration_s == STORM_S + CALM_S


def test_a_thousand_seeds_hold_every_mode_and_every_fault_that_fits() -> None:
    scenarios = [scenario_of(seed) for seed in range(1_000)]
    modes = {(scenario.consensus, scenario.learning) for scenario in scenarios}
    assert modes == {(consensus, learning) for consensus in Consensus for learning in Learning}
    for consensus, learning in modes:
        drawn = {
            fault
            for scenario in scenarios
            if (scenario.consensus, scenario.learning) == (consensus, learning)
            for fault in scenario.fault_of.values()
        }
        assert drawn == set(fitting_faults(consensus, learning))


def test_faults_below_all_messages_are_not_drawn() -> None:
    names = fitting_faults(Consensus.TOTAL_ORDER, Learning.GRADIENT)
    assert names
    assert Family.NETWORK not in {fault_named(parse_fault(name).name).family for name in names}


@pytest.mark.parametrize("seed", SEEDS)
def test_a_seed_passes(seed: int) -> None:
    ended = run_scenario(scenario_of(seed, **BRIEF), seed)
    assert ended.has_passed, "\n".join((ended.title, *lines_of(ended.verdict)))
    assert ended.height >= 3


def test_a_seed_gives_the_same_trace_again() -> None:
    first, again = (run_scenario(scenario_of(SEEDS[0], **BRIEF), SEEDS[0]) for _ in range(2))
    assert first == again


def test_a_mistake_that_is_raised_in_a_peer_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    proper = SimulatedNetwork.run_for

    def run_for(self: SimulatedNetwork, duration_ms: int) -> None:
        proper(self, duration_ms)
        assert self.now < START + 5_000, "a peer erred"

    monkeypatch.setattr(SimulatedNetwork, "run_for", run_for)
    verdict = run_scenario(scenario_of(SEEDS[0], **BRIEF), SEEDS[0]).verdict
    assert isinstance(verdict, Diverged)
    assert "AssertionError (a peer erred" in verdict.finding.detail


def test_a_batch_tells_of_each_run_in_order_and_sums_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("node.simulation.swarm.batch.run_seed", quick)
    told: list[int] = []
    summary = run_batch(range(5), 1, lambda ended: told.append(ended.seed))
    assert told == [0, 1, 2, 3, 4]
    assert [ended.seed for ended in summary.failed] == [3]
    assert summary.runs_with == {RarePath.REORGANISED.value: 5}
    assert RarePath.BLOCK_CONTESTED in summary.never_taken
    assert RarePath.REORGANISED not in summary.never_taken


def test_a_failing_seed_is_told_with_its_excerpt_and_the_command_that_replays_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("node.simulation.swarm.batch.run_seed", quick)
    result = CliRunner().invoke(main, ["--seeds", "2", "--first", "3", "--processes", "1"])
    assert result.exit_code == 1
    assert "Diverged" in result.output
    assert "replay: python -m node.simulation.swarm --first 3 --seeds 1" in result.output
    assert "never  a block was contested" in result.output


def test_a_batch_that_passes_ends_well(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("node.simulation.swarm.batch.run_seed", quick)
    assert CliRunner().invoke(main, ["--seeds", "2", "--processes", "1"]).exit_code == 0


def quick(seed: int) -> Ended:
    """In place of a run: seed 3 fails."""
    scenario = scenario_of(seed)
    ended = Ended(seed, title_of(scenario), PASS, "", 9, {RarePath.REORGANISED.value: 2})
    return dataclasses.replace(ended, verdict=FAILURE) if seed == 3 else ended
