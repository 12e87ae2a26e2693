"""The swarm: a seed is a whole run, every run is judged, and a batch says what it has gone through."""

import dataclasses
import json
from collections import Counter
from itertools import product
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from learning.evolution.rules import Strategy
from node.lab.checkers.finding import Diverged, Excerpt, Finding, Pass
from node.lab.checkers.rare_paths import RarePath
from node.lab.faults.catalogue import Family, fault_named, parse_fault
from node.lab.scenarios.events import EVENTS, Misbehave
from node.lab.scenarios.scenario import Scenario
from node.lab.scenarios.scenario_check import check
from node.lab.simulation.network import SimulatedNetwork
from node.lab.simulation.population import START
from node.lab.simulation.swarm.__main__ import main
from node.lab.simulation.swarm.plan import (
    APART,
    CALM_S,
    LARGE_SIZES,
    LONG_STORM_S,
    OUTSIDERS,
    SIZES,
    STRATEGIES,
    fitting_faults,
    scenario_of,
    title_of,
)
from node.lab.simulation.swarm.run import Ended, Summary, lines_of, replay_command, run_batch, run_seed
from node.rules.network_rules import Consensus, Learning

SEEDS = range(1_000, 1_240)
COPIED = range(1_607, 1_608)
"""Somebody copies a gradient under the rule `robust` and a total order: leaders of blocks list no copies."""

SLICES = [*(SEEDS[first : first + 12] for first in range(0, len(SEEDS), 12)), COPIED]
"""A seed takes about 2.5 s on an idle core: a slice takes half a minute, and all of them five minutes on two."""

ROUNDING_MAX = 2
"""Micro-units by which any two peers may measure apart."""

SEED = 1_001
"""A small network."""

PASS = Pass()
FAILURE = Diverged(Finding("nobody errs", "somebody erred", ()), Excerpt(("* 1 ms",)))


@settings(max_examples=100, deadline=None)
@given(seed=st.integers(min_value=0, max_value=2**40))
def test_every_seed_is_a_scenario_without_contradictions_and_within_what_is_tolerated(seed: int) -> None:
    scenario = scenario_of(seed)
    check(scenario)
    assert sum(number < scenario.insiders for number in scenario.ever_faulty) <= (scenario.insiders - 1) // 3
    assert scenario_of(seed) == scenario
    check(scenario_of(seed, is_brief=True))


def mode_of(scenario: Scenario) -> tuple[Consensus, Learning, Strategy]:
    return scenario.consensus, scenario.learning, scenario.evolution.strategy


def faults_of(scenario: Scenario) -> set[str]:
    """From the start on, or later."""
    later = (timed.event.fault for timed in scenario.events if isinstance(timed.event, Misbehave))
    return {parse_fault(text).name for text in (*scenario.fault_of.values(), *later) if text}


def test_two_thousand_seeds_hold_every_mode_every_fault_that_fits_and_every_trouble() -> None:
    scenarios = [scenario_of(seed) for seed in range(2_000)]
    assert {mode_of(scenario)[:2] for scenario in scenarios} == set(product(Consensus, Learning))
    of_mode = {mode: [scenario for scenario in scenarios if mode_of(scenario) == mode] for mode in map(mode_of, scenarios)}
    assert {strategy for consensus, _, strategy in of_mode if consensus is Consensus.TOTAL_ORDER} == {*STRATEGIES}
    for consensus, learning in product(Consensus, Learning):
        drawn: set[str] = set()
        fitting: set[str] = set()
        for mode in [mode for mode in of_mode if mode[:2] == (consensus, learning)]:
            drawn.update(*map(faults_of, of_mode[mode]))
            fitting.update(fitting_faults(*mode))
            assert drawn <= fitting
        assert drawn == fitting
    assert {type(timed.event) for scenario in scenarios for timed in scenario.events} == set(EVENTS.values())
    assert {scenario.insiders for scenario in scenarios} == {*SIZES, *LARGE_SIZES}
    assert {scenario.outsiders for scenario in scenarios} == set(OUTSIDERS)
    apart = {mode_of(scenario)[:2] for scenario in scenarios if scenario.measured_apart > ROUNDING_MAX}
    assert apart == {(Consensus.TOTAL_ORDER, Learning.EVOLUTION)}
    joint = of_mode[Consensus.TOTAL_ORDER, Learning.EVOLUTION, Strategy.JOINT]
    assert {scenario.measured_apart // min(filter(None, APART)) for scenario in joint} == {0, 1, 10, 100}
    assert 30 <= sum(scenario.duration_s == LONG_STORM_S + CALM_S for scenario in scenarios) <= 100


def test_faults_below_all_messages_are_not_drawn() -> None:
    names = fitting_faults(Consensus.TOTAL_ORDER, Learning.GRADIENT, Strategy.PLUS)
    assert names
    assert Family.NETWORK not in {fault_named(parse_fault(name).name).family for name in names}


@pytest.mark.timeout(3_000)
@pytest.mark.parametrize("seeds", SLICES, ids=lambda seeds: f"{seeds.start}-{seeds.stop - 1}")
def test_a_few_hundred_seeds_pass_and_every_rare_path_is_taken_in_some_of_them(
    seeds: range, folder_of_all_workers: Path
) -> None:
    """The slices may run beside each other; whichever ends last looks at the paths that all of them have taken."""
    summary = run_batch(seeds, 1, lambda _: None, is_brief=True)
    told = [(*lines_of(ended.outcome), ended.title, replay_command(ended.seed, is_brief=True)) for ended in summary.failed]
    assert told == []
    slices = slices_after(seeds, summary, folder_of_all_workers)
    if len(slices) == len(SLICES):
        assert Summary(runs_with=sum(slices, Counter())).never_taken == ()


def slices_after(seeds: range, summary: Summary, folder: Path) -> list[Counter[str]]:
    """What each slice that has ended so far has gone through, this one included."""
    draft = folder / f"swarm-{seeds.start}.draft"
    draft.write_text(json.dumps(summary.runs_with))
    draft.rename(draft.with_suffix(".json"))
    return [Counter(json.loads(path.read_text())) for path in folder.glob("swarm-*.json")]


def test_a_seed_gives_the_same_trace_again() -> None:
    first, again = (run_seed(SEED, is_brief=True) for _ in range(2))
    assert first == again
    assert first != run_seed(SEED + 1, is_brief=True)


def test_a_mistake_that_is_raised_in_a_peer_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    proper = SimulatedNetwork.run_for

    def run_for(self: SimulatedNetwork, duration_ms: int) -> None:
        proper(self, duration_ms)
        assert self.now < START + 5_000, "a peer erred"

    monkeypatch.setattr(SimulatedNetwork, "run_for", run_for)
    outcome = run_seed(SEED, is_brief=True).outcome
    assert isinstance(outcome, Diverged)
    assert "AssertionError (a peer erred" in outcome.finding.detail


def test_a_batch_tells_of_each_run_in_order_and_sums_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("node.lab.simulation.swarm.run.run_seed", quick)
    told: list[int] = []
    summary = run_batch(range(5), 1, lambda ended: told.append(ended.seed))
    assert told == [0, 1, 2, 3, 4]
    assert [ended.seed for ended in summary.failed] == [3]
    assert summary.runs_with == {RarePath.REORGANISED.value: 5}
    assert RarePath.BLOCK_CONTESTED in summary.never_taken
    assert RarePath.REORGANISED not in summary.never_taken


def test_a_failing_seed_is_told_with_its_excerpt_and_the_command_that_replays_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("node.lab.simulation.swarm.run.run_seed", quick)
    result = CliRunner().invoke(main, ["--seeds", "2", "--first", "3", "--processes", "1", "--brief"])
    assert result.exit_code == 1
    assert "Diverged" in result.output
    assert "replay: python -m node.lab.simulation.swarm --first 3 --seeds 1 --brief" in result.output
    assert "never  a block was contested" in result.output


def test_a_batch_that_passes_ends_well(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("node.lab.simulation.swarm.run.run_seed", quick)
    assert CliRunner().invoke(main, ["--seeds", "2", "--processes", "1"]).exit_code == 0


def quick(seed: int, *, is_brief: bool) -> Ended:
    """In place of a run: seed 3 fails."""
    scenario = scenario_of(seed, is_brief=is_brief)
    ended = Ended(seed, title_of(scenario), PASS, "", 9, {RarePath.REORGANISED.value: 2})
    return dataclasses.replace(ended, outcome=FAILURE) if seed == 3 else ended
