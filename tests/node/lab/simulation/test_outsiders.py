"""Outsiders: peers that have no part, and that come back under a new key when they are refused."""

import msgspec
import pytest

from consensus.effects import Refuse, SolvePuzzle
from node.lab.scenarios.scenario import ExpectSection, Faulty, Scenario
from node.lab.scenarios.scenario_check import check
from node.lab.simulation.population import Population
from node.rules.network_rules import Consensus
from node.rules.typed_toml import TomlProblem
from tests.node.lab.faults.stage import EVOLUTION, GRADIENT, ORDER, WORK, Play, assert_passed, play_scenario


def scenario_of(consensus: Consensus, fault: str) -> Scenario:
    return Scenario(
        name="outsiders",
        consensus=consensus,
        learning=EVOLUTION,
        peers=5,
        outsiders=1,
        duration_s=14,
        expect=ExpectSection(calm_s=10, heights_min=2, behind_max=4),
        faulty=(Faulty(fault, (4,)),),
    )


def refusals(played: Play) -> int:
    """Of the outsider by the first honest peer."""
    return sum(effect.peer == played.liar.id for _, effect in played.by(played.honest[0], Refuse))


def test_an_outsider_does_no_work_and_comes_back_whenever_it_is_refused() -> None:
    played = play_scenario(scenario_of(WORK, "workless-headers"))
    assert_passed(played)
    assert refusals(played) > 5
    assert list(played.by(played.liar, SolvePuzzle)) == []


def test_an_insider_that_is_refused_stays_away() -> None:
    scenario = msgspec.structs.replace(scenario_of(WORK, "workless-headers"), outsiders=0)
    played = play_scenario(scenario)
    assert_passed(played)
    assert refusals(played) == 1


def test_an_outsider_is_no_member_and_may_ask() -> None:
    played = play_scenario(scenario_of(ORDER, "asking"))
    assert_passed(played)
    assert played.liar.id not in played.simulation.population.members
    assert len(played.simulation.population.members) == 4


def test_an_honest_outsider_contradicts_itself() -> None:
    with pytest.raises(TomlProblem, match="outsiders is 2"):
        check(msgspec.structs.replace(scenario_of(WORK, "mute"), outsiders=2))


def test_a_tight_retention_keeps_payloads_only_as_long_as_somebody_may_ask_for_them() -> None:
    usual = msgspec.structs.replace(scenario_of(ORDER, "mute"), learning=GRADIENT, snapshot_behind=10, outsiders=0)
    tight = msgspec.structs.replace(usual, is_retention_tight=True)
    kept = [Population(scenario, 1)._kept_for() for scenario in (usual, tight)]  # a run that shows it takes minutes
    assert 10 < kept[1] < kept[0] / 2
