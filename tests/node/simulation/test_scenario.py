"""A scenario that is wrong or contradicts itself is refused in words that name the place."""

from pathlib import Path

import pytest

from node.errors import NodeError
from node.simulation.scenario import EventKind, Scenario, milliseconds, parse_scenario, read_scenario
from node.simulation.schedule import check, in_order, late_peers, warnings
from node.typed_toml import TomlProblem

SCENARIOS = Path(__file__).parents[3] / "docs" / "scenarios"

PLAIN = """
name = "plain"
consensus = "total-order"
learning = "evolution"
peers = 4
duration_s = 40
"""


def event(at_s: object, kind: str, **fields: object) -> str:
    return "\n".join(
        ("[[event]]", f"at_s = {at_s}", f'kind = "{kind}"', *(f"{name} = {value}" for name, value in fields.items()), "")
    )


def checked(text: str) -> Scenario:
    scenario = parse_scenario(text)
    check(scenario)
    return scenario


@pytest.mark.parametrize("path", sorted(SCENARIOS.glob("*.toml")), ids=lambda path: path.stem)
def test_the_scenarios_that_come_with_the_project_are_right(path: Path) -> None:
    scenario = read_scenario(path)
    check(scenario)
    assert warnings(scenario) == ()


def test_there_is_a_calm_scenario_of_each_mode_and_some_that_are_not_calm() -> None:
    scenarios = [read_scenario(path) for path in SCENARIOS.glob("*.toml")]
    assert len({(one.consensus, one.learning) for one in scenarios if not one.events and not one.faulty}) == 4
    assert {EventKind.PARTITION, EventKind.CUT, EventKind.CRASH, EventKind.JOIN} <= {
        happening.kind for one in scenarios for happening in one.events
    }
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
        (PLAIN + event(1, "heal") + event(-1, "crash", peers=[0]), "[[event]] number 2: at_s is -1; allowed is a number of s"),
        (PLAIN + event(1, "crash", peers=["'a'"]), "[[event]] number 1: peers is"),
        (PLAIN + event(1, "partition", groups="[[0], ['b']]"), "[[event]] number 1: groups is"),
        (PLAIN + "event = 3\n", "event is not a list of at most 10,000 tables; write each as [[event]]"),
        (PLAIN + "[links]\ndelay = 'lognormel'\n", 'did you mean "lognormal"'),
        ("name = [", "not valid TOML"),
    ],
)
def test_a_mistake_is_told_with_its_place(text: str, told: str) -> None:
    with pytest.raises(TomlProblem) as problem:
        parse_scenario(text)
    assert told in str(problem.value)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (event(1, "crash", peers=[4]), "[[event]] number 1: names peer 4; allowed is 0 to 3"),
        (event(1, "crash"), '[[event]] number 1: peers is missing, which kind "crash" takes'),
        (event(1, "crash", peers=[0], groups="[[1]]"), 'groups is given; kind "crash" takes peers'),
        (event(1, "crash", peers=[0], factor=3), 'factor is given; kind "crash" takes peers'),
        (event(1, "slow", peers=[0], factor="0.5"), "factor is 0.5; allowed is 1 or more"),
        (event(1, "partition", groups="[[0, 1], [1, 2]]"), "groups name a peer twice"),
        (event(21, "crash", peers=[0]), "[[event]] number 1: at_s is 21; allowed is up to 20"),
        (event(1, "restart", peers=[2]), "restart of peer 2 at 1 s: it is up; crash it before"),
        (event(1, "crash", peers=[2]) + event(2, "crash", peers=[2]), "crash of peer 2 at 2 s: it is down"),
        (event(3, "crash", peers=[2]) + event(2, "restart", peers=[2]), "restart of peer 2 at 2 s: it is up"),
        (event(1, "resume", peers=[2]), "resume of peer 2 at 1 s: it is not paused"),
        (event(1, "crash", peers=[2]) + event(2, "join", peers=[2]), "crash of peer 2 at 1 s: it has not joined yet"),
        (event(1, "join", peers=[2]) + event(2, "join", peers=[2]), "join of peer 2 at 2 s: it has joined already"),
        (event(1, "restore-old-disk", peers=[2]), "there is no old disk; add an event of kind back-up before"),
        (event(1, "heal"), "heal at 1 s, where nothing is cut"),
        (event(1, "partition", groups="[[0], [1]]"), "the network is still cut in the calm at the end"),
        ("[expect]\ncalm_s = 41\n", "expect.calm_s is 41; allowed is up to duration_s (40)"),
        ("[links]\nms_min = 70\n", "links.ms_min is 70; allowed is 0 to links.ms_max (60)"),
        ("[links]\nneighbours = 2\n", "links.neighbours is 2; allowed is 0"),
        ("[total_order]\nmembers = ['ab']\n", "total_order.members is given; allowed is none"),
        ("[[faulty]]\nfault = 'mutee'\npeers = [0]\n", "[[faulty]] number 1: fault is 'mutee', allowed"),
        ("[[faulty]]\nfault = 'mutee'\npeers = [0]\n", "did you mean 'mute'"),
        (
            "[[faulty]]\nfault = 'sign-flip'\npeers = [0]\n",
            "[[faulty]] number 1: the fault 'sign-flip:scale=1' is one of gradient",
        ),
        ("[[faulty]]\nfault = 'mute'\npeers = [7]\n", "[[faulty]] number 1: peers names 7; allowed is 0 to 3"),
        ("[[faulty]]\nfault = 'mute'\npeers = [0, 1, 2, 3]\n", "all 4 peers are faulty; allowed is 3"),
        ("[[faulty]]\nfault = 'mute'\npeers = [0]\n" * 2, "[[faulty]] number 2: peer 0 is faulty already"),
    ],
)
def test_a_contradiction_is_told(text: str, told: str) -> None:
    with pytest.raises(TomlProblem) as problem:
        checked(PLAIN + text)
    assert told in str(problem.value)


def test_gradients_need_a_task_that_has_them() -> None:
    with pytest.raises(TomlProblem, match='task is "sphere", which has no gradient'):
        checked(PLAIN.replace("evolution", "gradient") + 'task = "sphere"\n')


def test_more_faulty_peers_than_the_order_tolerates_are_allowed_and_said_loudly() -> None:
    scenario = checked(PLAIN + "[[faulty]]\nfault = 'mute'\npeers = [1, 2]\n")
    assert warnings(scenario) == ("2 of 4 members are faulty, and a total order among 4 tolerates 1",)
    work = checked(PLAIN.replace("total-order", "proof-of-work") + "[[faulty]]\nfault = 'mute'\npeers = [1, 2]\n")
    assert "half the work or more" in warnings(work)[0]


def test_events_happen_by_their_time_and_those_of_one_time_as_they_stand() -> None:
    text = (
        event(9, "crash", peers=[0])
        + event("1.5", "pause", peers=[1])
        + event(9, "restart", peers=[0])
        + event(3, "join", peers=[3])
    )
    scenario = checked(PLAIN + text)
    assert [happening.kind.value for happening in in_order(scenario)] == ["pause", "join", "crash", "restart"]
    assert late_peers(scenario) == {3}


def test_a_file_that_is_not_there_or_no_text_is_told(tmp_path: Path) -> None:
    with pytest.raises(NodeError, match="no such file"):
        read_scenario(tmp_path / "none.toml")
    (tmp_path / "bytes.toml").write_bytes(b"name = \xff")
    with pytest.raises(NodeError, match="byte 7 is not UTF-8"):
        read_scenario(tmp_path / "bytes.toml")
