import msgspec
import pytest

from node.api.progress import ProgressLog, Stage, stage_of
from node.api.status import MemberStatus, NodeStatus, OrderStatus, PeerLink

PEERS = (PeerLink("12" * 32, "10.0.0.5:7600"),)
GOING = NodeStatus("0.1.0", "c4" * 32, "ab" * 32, height=1_423, final_height=7, peers=PEERS, metrics={"test_accuracy": 0.912})


def members(connected: int, waiting_for: tuple[str, ...] = ()) -> OrderStatus:
    """A total order of four, so many of them here."""
    return OrderStatus(
        round=9,
        own_round=9,
        commits=5,
        slots_skipped=0,
        timeout_ms=500,
        waiting_for=waiting_for,
        members=tuple(MemberStatus(f"{number:02x}" * 32, 9, number < connected, 0) for number in range(4)),
        quorum=3,
    )


def changed(**fields: object) -> NodeStatus:
    return msgspec.structs.replace(GOING, **fields)


@pytest.mark.parametrize(
    ("status", "line"),
    [
        (GOING, "height 1,423, final 7, 1 peer, test accuracy 91.2 %"),
        (changed(height=None, metrics={}), "no step of the model yet; height 0, final 7, 1 peer"),
        (changed(peers=(), metrics={}), "no peer is connected: goes on alone; height 1,423, final 7, 0 peers"),
        (changed(peers=(), metrics={}, is_observer=True), "waits for peers: none is connected; height 1,423, final 7, 0 peers"),
        (
            changed(order=members(1), metrics={}),
            "waits for peers: 1 of 4 members here, 3 are needed; height 1,423, final 7, 1 peer",
        ),
        (changed(order=members(3), metrics={}), "height 1,423, final 7, 1 peer"),
        (
            changed(order=members(3, ("03" * 32,)), metrics={}),
            "waits for 1 of 4 members: 03030303; height 1,423, final 7, 1 peer",
        ),
        (
            changed(waiting_for_payloads="1 payload of block 8, asked 2 peers", metrics={}),
            "waits for 1 payload of block 8, asked 2 peers; height 1,423, final 7, 1 peer",
        ),
        (changed(behind_by=1_200, metrics={}), "catches up: 1,200 blocks behind; height 1,423, final 7, 1 peer"),
        (changed(behind_by=40, order=members(4), metrics={}), "catches up: 40 commits behind; height 1,423, final 7, 1 peer"),
        (changed(behind_by=2, metrics={}), "height 1,423, final 7, 1 peer"),
    ],
)
def test_a_line_says_what_is_waited_for_and_how_far_it_is(status: NodeStatus, line: str) -> None:
    progress = ProgressLog(0.0)
    lines = [progress.line(status, second) for second in (0.0, 60.0)]
    assert line in lines


def times_of_lines(progress: ProgressLog, status: NodeStatus, seconds: range) -> list[int]:
    return [second for second in seconds if progress.line(status, second) is not None]


def test_the_first_line_comes_within_seconds_and_then_they_are_more_and_more_seldom() -> None:
    waiting = changed(order=members(1))
    assert times_of_lines(ProgressLog(0.0), waiting, range(300)) == [5, 10, 20, 40, 80, 140, 200, 260]


def test_the_first_step_is_told_at_once_and_a_change_within_seconds() -> None:
    progress = ProgressLog(0.0)
    assert times_of_lines(progress, changed(height=None), range(8)) == [5]
    assert times_of_lines(progress, GOING, range(8, 40)) == [8, 13, 23]
    assert times_of_lines(progress, changed(order=members(2)), range(40, 50)) == [43, 48]
    assert times_of_lines(progress, GOING, range(50, 60)) == [53, 58]


def test_what_is_over_within_seconds_is_not_told() -> None:
    progress = ProgressLog(0.0)
    assert times_of_lines(progress, GOING, range(20)) == [0, 5, 15]
    assert times_of_lines(progress, changed(order=members(4, ("01" * 32,))), range(20, 23)) == []
    assert times_of_lines(progress, GOING, range(23, 40)) == [35]


def test_a_peer_that_comes_and_goes_fills_no_log() -> None:
    progress, lines = ProgressLog(0.0), 0
    for second in range(600):
        status = changed(peers=() if second % 2 else PEERS)
        lines += progress.line(status, second) is not None
    assert lines <= 20


def test_at_height_0_there_is_no_step_yet() -> None:
    assert stage_of(changed(height=0)) is Stage.HAS_NO_STEP
