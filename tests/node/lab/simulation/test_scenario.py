"""A scenario that is wrong is refused in words that name the place."""

from pathlib import Path

import msgspec
import pytest

from consensus.proof_of_work.rules import ChainRules
from learning.evolution.rules import EvolutionRules
from learning.gradient.rules import GradientRules
from node.common.errors import NodeError
from node.lab.scenarios.events import EVENTS, Crash, Cut, Join, Partition
from node.lab.scenarios.scenario import (
    ExpectSection,
    Faulty,
    LinksSection,
    Scenario,
    in_order,
    late_peers,
    milliseconds,
    parse_scenario,
    read_scenario,
)
from node.lab.scenarios.scenario_check import check, warnings
from node.rules.network_rules import TotalOrderSection
from node.rules.typed_toml import TomlProblem, allowed_at
from tests.node.lab.simulation.scenario_texts import PLAIN, checked, event

SECTIONS = (LinksSection, ExpectSection, EvolutionRules, GradientRules, ChainRules, TotalOrderSection)

SCENARIOS = Path(__file__).parents[4] / "docs" / "scenarios"


@pytest.mark.parametrize("path", sorted(SCENARIOS.glob("*.toml")), ids=lambda path: path.stem)
def test_the_scenarios_that_come_with_the_project_are_right(path: Path) -> None:
    scenario = read_scenario(path)
    check(scenario)
    assert warnings(scenario) == ()


def test_there_is_a_calm_scenario_of_each_mode_and_some_that_are_not_calm() -> None:
    scenarios = [read_scenario(path) for path in SCENARIOS.glob("*.toml")]
    assert len({(one.consensus, one.learning) for one in scenarios if not one.events and not one.faulty}) == 4
    assert {Partition, Cut, Crash, Join} <= {type(timed.event) for one in scenarios for timed in one.events}
    assert any(one.faulty for one in scenarios)


@pytest.mark.parametrize(("text", "ms"), [(3, 3_000), ("0.5", 500), ("12.25", 12_250), ("7.001", 7_001)])
def test_seconds_are_read_exactly(text: int | str, ms: int) -> None:
    assert milliseconds(text) == ms


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (PLAIN.replace("peers = 4", "peers = 0"), "peers is 0; allowed is a whole number from 1 to 10,000"),
        (PLAIN.replace('"evolution"', '"evolutoin"'), 'did you mean "evolution"'),
        (PLAIN.replace("duration_s", "duraton_s"), "duraton_s is not a setting (did you mean duration_s?)"),
        (PLAIN.replace("40", "40.00001"), "duration_s is"),
        (PLAIN + event(1, "crsh", peers=[0]), '[[event]] number 1: kind is "crsh"'),
        (PLAIN + event(1, "crsh", peers=[0]), 'did you mean "crash"'),
        (PLAIN + "[[event]]\nat_s = 1\n", '[[event]] number 1: kind is missing; allowed is one of "crash", '),
        (PLAIN + event(1, ["crash"]), '[[event]] number 1: kind is ["crash"]; allowed is one of "crash", '),
        (PLAIN + event(1, "crash"), "[[event]] number 1: peers is missing; allowed is a list of one peer number or more"),
        (PLAIN + event(1, "crash", peers=[]), "[[event]] number 1: peers is []; allowed is a list of one peer number or more"),
        (PLAIN + event(1, "crash", peers=[0], factor=3), "factor is not a setting (known here: peers)"),
        (PLAIN + event(1, "heal", peers=[0]), "peers is not a setting (known here: none)"),
        (PLAIN + event(1, "misbehave", peers=[0]), "[[event]] number 1: fault is missing; allowed is a fault like"),
        (PLAIN + event(1, "partition", groups="[[0, 1], []]"), "groups is [[0, 1], []]; allowed is a list of lists"),
        (PLAIN + "[[faulty]]\nfault = 'mute'\npeers = []\n", "[[faulty]] number 1: peers is []; allowed is a list of one"),
        (PLAIN + event(1, "heal") + event(-1, "crash", peers=[0]), "[[event]] number 2: at_s is -1; allowed is a number of s"),
        (PLAIN + event(1, "crash", peers=["'a'"]), "[[event]] number 1: peers is"),
        (PLAIN + event(1, "partition", groups="[[0], ['b']]"), "[[event]] number 1: groups is"),
        (PLAIN + "event = 3\n", "event is not a list of at most 10,000 tables; write each as [[event]]"),
        (PLAIN + "[links]\ndelay = 'lognormel'\n", 'did you mean "lognormal"'),
        ("name = [", "not valid TOML"),
        (PLAIN.replace("peers = 4", f"peers = {'9' * 5_000}"), "not valid TOML: a whole number has thousands of digits"),
        (PLAIN.replace("peers = 4", f"peers = 0x{'f' * 5_000}"), "peers is a whole number of thousands of digits; allowed is"),
        (PLAIN + event(1, "crash", peers=f"[0x{'f' * 5_000}]"), "peers is a whole number of thousands of digits; allowed is a"),
        (
            PLAIN + event(1, "misbehave", peers=[0], fault=0),
            '[[event]] number 1: fault is 0; allowed is a fault like "sign-flip',
        ),
    ],
)
def test_a_mistake_is_told_with_its_place(text: str, told: str) -> None:
    with pytest.raises(TomlProblem) as problem:
        parse_scenario(text)
    assert told in str(problem.value)


@pytest.mark.parametrize("table", [*EVENTS.values(), Faulty, *SECTIONS, Scenario])
def test_of_every_field_it_is_known_what_is_allowed(table: type[msgspec.Struct]) -> None:
    assert all(allowed_at(table, (name,)) for name in table.__struct_fields__ if name not in {"events", "faulty"})


def test_events_happen_by_their_time_and_those_of_one_time_as_they_stand() -> None:
    text = (
        event(9, "crash", peers=[0])
        + event("1.5", "pause", peers=[1])
        + event(9, "restart", peers=[0])
        + event(3, "join", peers=[3])
    )
    scenario = checked(PLAIN + text)
    assert [timed.event.kind for timed in in_order(scenario)] == ["pause", "join", "crash", "restart"]
    assert late_peers(scenario) == {3}


def test_a_file_that_is_not_there_or_no_text_is_told(tmp_path: Path) -> None:
    with pytest.raises(NodeError, match="no such file"):
        read_scenario(tmp_path / "none.toml")
    (tmp_path / "bytes.toml").write_bytes(b"name = \xff")
    with pytest.raises(NodeError, match="byte 7 is not UTF-8"):
        read_scenario(tmp_path / "bytes.toml")
