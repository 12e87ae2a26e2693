"""Virtual time: what is due first happens first, and at one instant in the order of planning.

Processors that take time: one thing after the other, and mining loses what verifying takes.
"""

from functools import partial

from hypothesis import given
from hypothesis import strategies as st

from consensus.effects import Send, SolvePuzzle, VerifyPuzzle
from consensus.encoding import encode
from consensus.proof_of_work import messages as work
from consensus.protocol import PuzzleSolved, PuzzleVerified
from consensus.total_order import messages as order
from consensus.types import Instant, StepId
from node.lab.simulation.links import ConstantLatency, Links
from node.lab.simulation.timeline import Core, Prices, Timeline
from node.rules.network_rules import Consensus
from tests.node.lab.simulation.puppet import Stage

START = Instant(1_000)

Plan = list[tuple[int, "Plan"]]
"""Delays in ms, and what is planned once each has passed."""

PLANS = st.recursive(st.just([]), lambda inner: st.lists(st.tuples(st.integers(-2, 5), inner), max_size=4), max_leaves=25)


@given(PLANS)
def test_what_happens_is_in_the_order_of_its_time_and_then_of_its_planning(plan: Plan) -> None:
    timeline = Timeline(START)
    planned: list[int] = []
    happened: list[tuple[int, int]] = []

    def take(inner: Plan) -> None:
        for delay_ms, rest in inner:
            planned.append(timeline.now + max(0, delay_ms))
            timeline.after(delay_ms, partial(happen, len(planned) - 1, rest))

    def happen(number: int, rest: Plan) -> None:
        happened.append((timeline.now, number))
        take(rest)

    take(plan)
    timeline.run_until(START + 1_000)
    assert happened == sorted((at, number) for number, at in enumerate(planned))


def test_time_stops_at_the_end_and_what_is_due_later_waits() -> None:
    timeline = Timeline(START)
    happened: list[int] = []
    for delay_ms in (30, 10, 20, 10):
        timeline.after(delay_ms, lambda: happened.append(timeline.now - START))
    timeline.run_until(START + 20)
    assert (happened, timeline.now) == ([10, 10, 20], START + 20)
    timeline.after(0, lambda: happened.append(0))
    timeline.run_until(START + 30)
    assert (happened, timeline.now) == ([10, 10, 20, 0, 30], START + 30)


DEAR = Prices(message_us=2_000, byte_ns=0, signature_us=5_000, puzzle_us=50_000)
EASY = 2**256 - 1


def test_a_core_does_one_thing_after_the_other_and_loses_no_fraction_of_a_millisecond() -> None:
    core = Core()
    assert [core.take(0, 400) for _ in range(5)] == [1, 1, 2, 2, 2]
    assert (core.take(10, 400), core.backlog_ms(10), core.worked_us) == (1, 1, 2_400)
    assert core.backlog_ms(11) == 0


def test_only_what_carries_signatures_costs_their_verification() -> None:
    tip, headers = encode(work.Tip(bytes(32), 1, bytes(40))), bytes([0x92, 4]) + bytes(288 * 10)
    assert DEAR.judging_us(tip, Consensus.PROOF_OF_WORK) == 2_000
    assert DEAR.judging_us(headers, Consensus.PROOF_OF_WORK) == 2_000 + 10 * 5_000
    assert DEAR.judging_us(encode(order.GetCommits(1, 5)), Consensus.TOTAL_ORDER) == 2_000


def test_messages_wait_while_the_event_loop_is_busy_and_keep_their_order() -> None:
    stage = Stage(2, Links(latency=ConstantLatency(10), disk_ms=0, prices=DEAR))
    stage.network.run_for(100)
    stage.tell(1, *(Send(stage.ids[0], b"message %d" % number) for number in range(3)))
    stage.network.run_for(100)
    times = [at for at, _ in stage.puppet(0).messages]
    texts = [message for _, message in stage.puppet(0).messages]
    assert texts == [b"message 0", b"message 1", b"message 2"]
    assert times[0] >= 100 + 10 + 2
    assert times[2] - times[0] >= 2 * 2


def test_puzzles_are_verified_one_by_one_and_mining_has_what_is_left() -> None:
    stage = Stage(1, Links(disk_ms=0, attempts_per_second=1e9, prices=Prices(puzzle_us=50_000)))
    verifications = [VerifyPuzzle(StepId(bytes([number])), b"prefix", 0, 1) for number in range(4)]
    stage.tell(0, *verifications, SolvePuzzle(b"ours", EASY))
    stage.network.run_for(1_000)
    heard = stage.puppet(0).heard
    assert [at for at, event in heard if isinstance(event, PuzzleVerified)] == [50, 100, 150, 200]
    (solved_at,) = [at for at, event in heard if isinstance(event, PuzzleSolved)]
    assert solved_at > 200


def test_who_is_busy_writes_to_the_connection_that_it_knows_and_not_to_the_one_that_replaced_it() -> None:
    stage = Stage(2, Links(latency=ConstantLatency(10), disk_ms=0, reconnect_ms=100, prices=Prices(message_us=500_000)))
    stage.network.run_for(2_000)
    stage.tell(1, *(Send(stage.ids[0], b"much to do") for _ in range(3)))
    stage.network.run_for(100)
    stage.network.reset(*stage.ids)
    stage.network.run_for(300)
    assert stage.network.wires.are_connected(*stage.ids)
    stage.tell(0, Send(stage.ids[1], b"on the old one"))
    stage.network.run_for(20_000)
    stage.tell(0, Send(stage.ids[1], b"on the new one"))
    stage.network.run_for(5_000)
    assert [message for _, message in stage.puppet(1).messages] == [b"on the new one"]
