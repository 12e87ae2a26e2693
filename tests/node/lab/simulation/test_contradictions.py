"""A scenario that contradicts itself is refused in words that name the place; one that may surprise is said loudly."""

import pytest

from node.lab.scenarios.scenario_check import warnings
from node.rules.typed_toml import TomlProblem
from tests.node.lab.simulation.scenario_texts import PLAIN, checked, event


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (event(1, "crash", peers=[4]), "[[event]] number 1: names peer 4; allowed is 0 to 3"),
        (event(1, "slow", peers=[0], factor="0.5"), "factor is 0.5; allowed is 1 or more"),
        (event(1, "partition", groups="[[0, 1], [1, 2]]"), "groups names 1 twice; allowed is each peer once"),
        (event(1, "partition", groups="[[0, 1, 2, 3]]"), "[[event]] number 1: groups names all peers in one group; allowed"),
        (event(1, "cut", senders=[0], receivers=[0]), "[[event]] number 1: senders and receivers both name 0; allowed is each"),
        (
            event(1, "cut", senders=[1, 1], receivers=[0]),
            "number 1: senders names 1 twice; allowed is each peer once",
        ),
        (event(1, "crash", peers=[2, 0, 2]), "[[event]] number 1: peers names 2 twice; allowed is each peer once"),
        (event(1, "pause", peers=[2]) + event(2, "pause", peers=[2]), "pause of peer 2 at 2 s: it is paused already"),
        (event(1, "disk-lies", peers=[2]), "disk-lies of peer 2 at 1 s: its disk is honest already; give unsynced_ms"),
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
        ("[[faulty]]\nfault = 'mutee'\npeers = [0]\n", "[[faulty]] number 1: there is no fault 'mutee'"),
        ("[[faulty]]\nfault = 'mutee'\npeers = [0]\n", "did you mean 'mute'"),
        (
            "[[faulty]]\nfault = 'sign-flip'\npeers = [0]\n",
            "[[faulty]] number 1: the fault 'sign-flip:scale=1' is one of gradient",
        ),
        ("[[faulty]]\nfault = ''\npeers = [1]\n", '[[faulty]] number 1: fault is ""; allowed is one like "mute"'),
        ("[[faulty]]\nfault = 'mute'\npeers = [7]\n", "[[faulty]] number 1: peers names 7; allowed is 0 to 3"),
        ("[[faulty]]\nfault = 'mute'\npeers = [0, 1, 2, 3]\n", "all 4 peers are faulty; allowed is 3"),
        ("[[faulty]]\nfault = 'mute'\npeers = [0]\n" * 2, "[[faulty]] number 2: peer 0 is faulty already"),
        (event(1, "misbehave", peers=[0], fault="'mutee'"), "did you mean 'mute'"),
        (event(1, "misbehave", peers=[0], fault="'sign-flip'"), "[[event]] number 1: the fault 'sign-flip:scale=1' is one of"),
        (event(1, "misbehave", peers=[0], fault="''"), "misbehave of peer 0 at 1 s: it is honest already; name a fault"),
        (
            event(1, "crash", peers=[0]) + event(2, "misbehave", peers=[0], fault="'mute'"),
            "misbehave of peer 0 at 2 s: it is down",
        ),
        (
            event(1, "misbehave", peers=[0], fault="'mute'") + event(2, "restart", peers=[0]),
            "restart of peer 0 at 2 s: it is up",
        ),
        (event(1, "misbehave", peers=[0, 1, 2, 3], fault="'mute'"), "all 4 peers are faulty; allowed is 3"),
    ],
)
def test_a_contradiction_is_told(text: str, told: str) -> None:
    with pytest.raises(TomlProblem) as problem:
        checked(PLAIN + text)
    assert told in str(problem.value)


def test_only_where_fitness_is_claimed_must_measurements_agree_within_the_tolerance() -> None:
    text = PLAIN + "measured_apart = 11\n"
    assert checked(text).measured_apart == 11
    with pytest.raises(TomlProblem, match=r"measured_apart is 11; allowed is 0 to evolution.fitness_tolerance \(10\)"):
        checked(text.replace("total-order", "proof-of-work"))


def test_over_sockets_all_dial_each_other() -> None:
    text = PLAIN.replace("total-order", "proof-of-work") + "[links]\nsockets = true\nneighbours = 1\n"
    with pytest.raises(TomlProblem, match=r"links.neighbours is 1; allowed is 0 over sockets"):
        checked(text)


def test_a_pause_after_another_and_a_disk_that_lies_no_more_are_no_contradictions() -> None:
    pauses = (event(at_s, kind, peers=[2]) for at_s, kind in ((1, "pause"), (2, "resume"), (3, "pause"), (4, "resume")))
    lies = event(5, "disk-lies", peers=[1], unsynced_ms=50) + event(6, "disk-lies", peers=[1])
    part = event(7, "partition", groups="[[0, 1]]") + event(8, "heal")
    assert len(checked(PLAIN + "".join(pauses) + lies + part).events) == 8


def test_gradients_need_a_task_that_has_them() -> None:
    with pytest.raises(TomlProblem, match='task is "sphere", which has no gradient'):
        checked(PLAIN.replace("evolution", "gradient") + 'task = "sphere"\n')


def test_more_faulty_peers_than_the_order_tolerates_are_allowed_and_said_loudly() -> None:
    scenario = checked(PLAIN + "[[faulty]]\nfault = 'mute'\npeers = [1, 2]\n")
    assert warnings(scenario) == ("2 of 4 members are faulty, and a total order among 4 tolerates 1",)
    turning = checked(PLAIN + "[[faulty]]\nfault = 'mute'\npeers = [1]\n" + event(1, "misbehave", peers=[2], fault="'mute'"))
    assert warnings(turning) == warnings(scenario)
    work = checked(PLAIN.replace("total-order", "proof-of-work") + "[[faulty]]\nfault = 'mute'\npeers = [1, 2]\n")
    assert "half the work or more" in warnings(work)[0]
