import io
from dataclasses import replace

import pytest
from rich.console import Console

from node.common.goal import MetricGoal
from node.lab.testnet.live_view import PeerView, TestnetScreen, TestnetView, plain_line, render

RUNNING = PeerView(
    "peer0", "running", 1423, "ab12cd34ef", -0.43211, 0.912, 13_450.2, 412, 3, learner_busy=0.4, ordering_share=0.125
)
FAILING = PeerView("peer1", "running", 1422, "0123456789", -0.5, 0.9, 9_000.0, 380, 2, "no answer from [127.0.0.1]:41234")
STARTING = PeerView("peer2")
KILLED = PeerView("peer3", "killed", last_error="killed by signal 9", conduct="faulty: mute", has_say=False)
VIEW = TestnetView(
    "c460bcc648ee92810e5b",
    37.2,
    300.0,
    MetricGoal("test_accuracy", 0.9),
    (RUNNING, FAILING, STARTING, KILLED),
    1420,
    "deadbeefdeadbeefdead",
)


def screen(view: TestnetView, columns: int) -> list[str]:
    console = Console(width=columns, file=io.StringIO(), record=True)
    console.print(render(view, columns))
    return [line.rstrip() for line in console.export_text().splitlines()]


def test_a_wide_screen_shows_each_error_beside_its_peer() -> None:
    assert screen(VIEW, 120) == [
        "network c460bcc648ee9281  37 of 300 s  goal test accuracy 90.0 % or more",
        "peer     height  head      fitness    test  cand/s  led    busy   order  links  remarks",
        "peer0     1,423  ab12cd34  -0.4321  91.2 %  13,450  412  40.0 %  12.5 %      3",
        "peer1     1,422  01234567  -0.5000  90.0 %   9,000  380       -       -      2  no answer from [127.0.0.1]:41234",
        "peer2  starting  -               -       -       -    -       -       -      -",
        "peer3    killed  -               -       -       -    -       -       -      -  faulty: mute; killed by signal 9",
        "the 3 of 4 with a say agree at height 1,420 on state deadbeefdeadbeef",
    ]


def test_a_narrow_screen_shows_errors_in_full_below_the_table() -> None:
    assert screen(VIEW, 80)[-3:] == [
        "peer1: no answer from [127.0.0.1]:41234",
        "peer3: faulty: mute; killed by signal 9",
        "the 3 of 4 with a say agree at height 1,420 on state deadbeefdeadbeef",
    ]


def test_curves_stand_above_what_is_agreed() -> None:
    view = replace(VIEW, curves=("fitness ▁▃█", "test_accuracy ▁▅█"))
    assert screen(view, 120)[-2:] == ["fitness ▁▃█  test_accuracy ▁▅█", screen(VIEW, 120)[-1]]


@pytest.mark.parametrize("columns", [60, 80, 99, 100, 120, 200])
def test_no_line_is_longer_than_the_screen(columns: int) -> None:
    view = replace(VIEW, peers=(replace(FAILING, last_error="word " * 80), *VIEW.peers))
    assert max(len(line) for line in screen(view, columns)) <= columns


def test_one_plain_line_tells_the_whole() -> None:
    assert plain_line(VIEW) == (
        "   37 s  peer0 1,423/91.2 %  peer1 1,422/90.0 %  peer2 starting  peer3 killed  "
        "the 3 of 4 with a say agree at height 1,420 on state deadbeefdeadbeef"
    )


def test_what_is_agreed_is_told_with_the_figure_of_the_goal() -> None:
    line = plain_line(replace(VIEW, agreed_figure=0.8888))
    assert line.endswith("agree at height 1,420 on state deadbeefdeadbeef: test accuracy 88.9 % (goal: 90.0 % or more)")
    loss = replace(VIEW, goal=MetricGoal("test_loss", 0.3, is_lowest_best=True), agreed_figure=0.41)
    assert plain_line(loss).endswith(": test loss 0.41 (goal: 0.3 or less)")
    assert screen(loss, 120)[0].endswith("goal test loss 0.3 or less")
    assert plain_line(replace(loss, scenario="split")) == plain_line(VIEW)


def test_disagreement_is_told_above_all() -> None:
    view = replace(VIEW, disagreement="peer0 and peer1 hold different final steps at height 7")
    told = "peers DISAGREE: peer0 and peer1 hold different final steps at height 7"
    assert screen(view, 120)[-1] == told
    assert plain_line(view).endswith(told)


def test_before_a_common_step_nothing_is_claimed() -> None:
    assert plain_line(replace(VIEW, agreed_height=None, agreed_digest=None)).endswith("  no common step yet")


def test_without_a_terminal_each_snapshot_is_one_line_of_text() -> None:
    stream = io.StringIO()
    with TestnetScreen(stream) as shown:
        shown.show(VIEW)
        shown.show(VIEW)
    assert stream.getvalue() == f"{plain_line(VIEW)}\n" * 2


def test_a_line_that_stays_is_said_as_it_is() -> None:
    stream = io.StringIO()
    with TestnetScreen(stream) as shown:
        shown.say("   12 s  parted: peer-0 / peer-1 [bold]")
    assert stream.getvalue() == "   12 s  parted: peer-0 / peer-1 [bold]\n"
