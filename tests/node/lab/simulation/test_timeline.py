"""Virtual time: what is due first happens first, and at one instant in the order of planning."""

from functools import partial

from hypothesis import given
from hypothesis import strategies as st

from consensus.types import Instant
from node.lab.simulation.timeline import Timeline

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
