"""When a block is due."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consensus.total_order.pacemaker import BARREN_ROUNDS, Pacemaker, Readiness
from consensus.total_order.rules import RulesError, TotalOrderRules
from consensus.types import Instant

RULES = TotalOrderRules(gc_depth=20, round_interval_ms=10, idle_interval_ms=1_000, delta_ms_min=100, delta_ms_max=1_000)
READY = Readiness(has_leader=True, is_leader_before_settled=True, is_late=False, is_idle=False)
START = Instant(50_000)


def entered(number: int = 1, at: int = 0) -> Pacemaker:
    pacemaker = Pacemaker(RULES, faulty_max=1)
    pacemaker.enter(number, Instant(START + at))
    return pacemaker


def due(pacemaker: Pacemaker, readiness: Readiness) -> int:
    return pacemaker.due_at(readiness, START) - START


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, 0),
        ({"has_leader": False}, 200),
        ({"is_leader_before_settled": False}, 200),
        ({"has_leader": False, "is_late": True}, 0),
        ({"is_idle": True}, 0),
    ],
)
def test_the_first_block_waits_for_the_leader_or_two_deltas(changes: dict[str, bool], expected: int) -> None:
    assert due(entered(), replace(READY, **changes)) == expected


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, 10),
        ({"is_idle": True}, 1_000),
        ({"has_leader": False}, 200),
        ({"has_leader": False, "is_idle": True}, 1_000),
        ({"is_late": True, "is_idle": True}, 0),
    ],
)
def test_the_next_block_keeps_its_distance_unless_we_are_late(changes: dict[str, bool], expected: int) -> None:
    pacemaker = entered()
    pacemaker.created(READY, START)
    pacemaker.enter(2, START)
    assert due(pacemaker, replace(READY, **changes)) == expected


def test_delta_grows_while_nothing_commits_and_shrinks_slowly_after() -> None:
    pacemaker = entered()
    missing = replace(READY, has_leader=False)
    for _ in range(BARREN_ROUNDS + 1):
        pacemaker.created(missing, START)
    assert pacemaker.timeout_ms == 200
    grown = []
    for _ in range(8):
        pacemaker.created(missing, START)
        grown.append(pacemaker.delta_ms)
    assert grown == [150, 225, 338, 507, 761, 1_000, 1_000, 1_000]
    pacemaker.committed()
    assert pacemaker.delta_ms == 971
    for _ in range(200):
        pacemaker.committed()
    assert pacemaker.delta_ms == 100


def test_rounds_without_a_timeout_do_not_make_delta_grow() -> None:
    pacemaker = entered()
    for _ in range(50):
        pacemaker.created(READY, START)
    assert pacemaker.delta_ms == 100


@given(jump_ms=st.integers(min_value=-(10**9), max_value=10**9), number=st.sampled_from([1, 2]))
def test_a_clock_that_jumps_never_makes_us_wait_longer_than_the_timeout(jump_ms: int, number: int) -> None:
    """In the round that we wait in, and in the next one."""
    pacemaker = entered()
    pacemaker.created(READY, START)
    now = Instant(START + jump_ms)
    pacemaker.enter(number, now)
    for readiness in (READY, replace(READY, has_leader=False), replace(READY, is_idle=True)):
        assert pacemaker.due_at(readiness, now) - now <= max(1_000, pacemaker.timeout_ms)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"gc_depth": 2}, "gc_depth is 2, allowed: 3 to 1000"),
        ({"round_interval_ms": 0}, "round_interval_ms is 0, allowed: 1 to 60000"),
        ({"idle_interval_ms": 5}, r"idle_interval_ms is 5, allowed: round_interval_ms \(10\) or more"),
        ({"delta_ms_min": 1_001}, r"delta_ms_min is 1001, allowed: 1 to delta_ms_max \(1000\)"),
    ],
)
def test_a_rule_out_of_range_names_itself(changes: dict[str, int], message: str) -> None:
    with pytest.raises(RulesError, match=message):
        replace(RULES, **changes)


def test_the_wait_begins_when_a_round_is_entered_however_often_it_is_looked_at() -> None:
    pacemaker = entered(number=3)
    assert pacemaker.round == 3
    pacemaker.enter(3, Instant(START + 150))
    assert due(pacemaker, replace(READY, has_leader=False)) == 200
    pacemaker.enter(4, Instant(START + 150))
    assert (pacemaker.round, due(pacemaker, replace(READY, has_leader=False))) == (4, 350)
