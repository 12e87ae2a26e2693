"""When a block is due."""

from dataclasses import replace

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from consensus.total_order.committee import TotalOrderRules
from consensus.total_order.pacemaker import BARREN_ROUNDS, Pacemaker, Readiness
from consensus.types import Instant

RULES = TotalOrderRules(gc_depth=20, round_interval_ms=10, idle_interval_ms=1_000, delta_ms_min=100, delta_ms_max=1_000)
READY = Readiness(awaited=None, is_late=False, is_idle=False)
SIZE = 4
LIAR = 2
MISSING = replace(READY, awaited=LIAR)
START = Instant(50_000)


def entered(number: int = 1, at: int = 0) -> Pacemaker:
    pacemaker = Pacemaker(RULES, SIZE, faulty_max=1)
    pacemaker.enter(number, Instant(START + at))
    return pacemaker


def due(pacemaker: Pacemaker, readiness: Readiness) -> int:
    return pacemaker.due_at(readiness, START) - START


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, 0),
        ({"awaited": 2}, 200),
        ({"awaited": 2, "is_late": True}, 0),
        ({"is_idle": True}, 0),
    ],
)
def test_the_first_block_waits_for_the_leader_or_two_deltas(changes: dict[str, int], expected: int) -> None:
    assert due(entered(), replace(READY, **changes)) == expected


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, 10),
        ({"is_idle": True}, 1_000),
        ({"awaited": 2}, 200),
        ({"awaited": 2, "is_idle": True}, 1_000),
        ({"is_late": True, "is_idle": True}, 0),
    ],
)
def test_the_next_block_keeps_its_distance_unless_we_are_late(changes: dict[str, int], expected: int) -> None:
    pacemaker = entered()
    pacemaker.on_own_block(READY, START)
    pacemaker.enter(2, START)
    assert due(pacemaker, replace(READY, **changes)) == expected


@pytest.mark.parametrize(
    ("steps", "changes", "expected"),
    [
        (9, {}, 90),
        (9, {"is_late": True}, 0),
        (9, {"is_idle": True}, 1_000),
        (9, {"awaited": 2}, 200),
        (10**6, {}, RULES.delta_ms_max),
    ],
)
def test_whose_learner_falls_behind_creates_its_blocks_more_slowly(steps: int, changes: dict[str, int], expected: int) -> None:
    pacemaker = entered()
    pacemaker.on_own_block(READY, START)
    pacemaker.enter(2, START)
    pacemaker.learner_behind = steps
    assert due(pacemaker, replace(READY, **changes)) == expected
    pacemaker.learner_behind = 0
    assert due(pacemaker, READY) == 10


def test_whose_learner_awaits_a_commit_does_not_idle() -> None:
    pacemaker = entered()
    pacemaker.on_own_block(READY, START)
    pacemaker.enter(2, START)
    idle = replace(READY, is_idle=True)
    pacemaker.is_commit_awaited = True
    assert due(pacemaker, idle) == due(pacemaker, READY) == 10
    pacemaker.is_commit_awaited = False
    assert due(pacemaker, idle) == 1_000


@pytest.mark.parametrize(
    ("is_part_due", "changes", "expected"),
    [
        (None, {"has_own": False, "have_all_spoken": True}, 10),
        (True, {"has_own": False, "have_all_spoken": True}, 1_000),
        (True, {"has_own": False, "is_late": True}, 0),
        (True, {"has_own": True, "have_all_spoken": True}, 10),
        (True, {"is_idle": True}, 1_000),
        (False, {"has_own": False}, 10),
        (False, {"has_own": False, "have_all_spoken": True}, 1),
        (False, {"have_all_spoken": True, "awaited": LIAR}, 200),
        (False, {"have_all_spoken": True, "is_idle": True}, 1_000),
    ],
)
def test_a_block_waits_for_what_our_learner_will_say_and_for_nothing_once_all_have_spoken(
    is_part_due: bool | None, changes: dict[str, bool], expected: int
) -> None:
    pacemaker = entered()
    pacemaker.on_own_block(READY, START)
    pacemaker.enter(2, START)
    pacemaker.is_part_due = is_part_due
    assert due(pacemaker, replace(READY, **changes)) == expected


@pytest.mark.parametrize(
    ("before", "has_items", "after"), [(None, True, None), (False, False, False), (False, True, True), (True, False, True)]
)
def test_a_commit_that_brings_something_may_be_our_learner_s_turn(
    before: bool | None, has_items: bool, after: bool | None
) -> None:
    pacemaker = entered()
    pacemaker.is_part_due = before
    pacemaker.on_commit(has_items=has_items)
    assert pacemaker.is_part_due is after


def test_delta_grows_while_nothing_commits_and_shrinks_slowly_after() -> None:
    pacemaker = entered()
    for _ in range(BARREN_ROUNDS + 1):
        pacemaker.on_own_block(MISSING, START)
    assert pacemaker.timeout_ms == 200
    grown = []
    for _ in range(8):
        pacemaker.on_own_block(MISSING, START)
        grown.append(pacemaker.delta_ms)
    assert grown == [150, 225, 338, 507, 761, 1_000, 1_000, 1_000]
    pacemaker.on_commit()
    assert pacemaker.delta_ms == 971
    for _ in range(200):
        pacemaker.on_commit()
    assert pacemaker.delta_ms == 100


def test_rounds_without_a_timeout_do_not_make_delta_grow() -> None:
    pacemaker = entered()
    for _ in range(50):
        pacemaker.on_own_block(READY, START)
    assert pacemaker.delta_ms == 100


@given(jump_ms=st.integers(min_value=-(10**9), max_value=10**9), number=st.sampled_from([1, 2]))
def test_a_clock_that_jumps_never_makes_us_wait_longer_than_the_timeout(jump_ms: int, number: int) -> None:
    """In the round that we wait in, and in the next one."""
    pacemaker = entered()
    pacemaker.on_own_block(READY, START)
    now = Instant(START + jump_ms)
    pacemaker.enter(number, now)
    for readiness in (READY, MISSING, replace(READY, is_idle=True)):
        assert pacemaker.due_at(readiness, now) - now <= max(1_000, pacemaker.timeout_ms)


@pytest.mark.parametrize(("field", "value"), [("gc_depth", 2), ("round_interval_ms", 0), ("delta_ms_max", 600_001)])
def test_a_rule_that_is_read_has_its_range(field: str, value: int) -> None:
    with pytest.raises(msgspec.ValidationError, match=rf"`\$\.{field}`"):
        msgspec.convert({field: value}, TotalOrderRules)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"idle_interval_ms": 5}, r"idle_interval_ms is 5; allowed is round_interval_ms \(10\) or more"),
        ({"delta_ms_min": 1_001}, r"delta_ms_min is 1001; allowed is 1 to delta_ms_max \(1000\)"),
    ],
)
def test_rules_that_contradict_each_other_are_told(changes: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        structs.replace(RULES, **changes)


def test_the_wait_begins_when_a_round_is_entered_however_often_it_is_looked_at() -> None:
    pacemaker = entered(number=3)
    assert pacemaker.round == 3
    pacemaker.enter(3, Instant(START + 150))
    assert due(pacemaker, MISSING) == 200
    pacemaker.enter(4, Instant(START + 150))
    assert (pacemaker.round, due(pacemaker, MISSING)) == (4, 350)


# --- patience -------------------------------------------------------------------------------------------------------


class Rounds:
    """One member's rounds, each of which takes others `pace_ms`; every fourth is led by the liar, whose block does not come."""

    def __init__(self, pace_ms: int = 10) -> None:
        self.pacemaker = Pacemaker(RULES, SIZE, faulty_max=1)
        self.pace_ms = pace_ms
        self.now = Instant(START)
        self.waited: list[int] = []
        """For the liar, each time."""

    def run(self, count: int, comes_after_ms: int | None = None, *, commits: bool = True) -> None:
        for number in range(self.pacemaker.round + 1, self.pacemaker.round + 1 + count):
            self.now = Instant(self.now + self.pace_ms)
            self.pacemaker.enter(number, self.now)
            entered_at = self.now
            readiness = MISSING if number % SIZE == LIAR else READY
            due_at = self.pacemaker.due_at(readiness, self.now)
            if readiness is MISSING and comes_after_ms is not None and self.now + comes_after_ms < due_at:
                self.now, readiness = Instant(self.now + comes_after_ms), READY
                due_at = self.pacemaker.due_at(readiness, self.now)
            self.now = max(self.now, due_at)
            self.pacemaker.due_at(readiness, self.now)
            self.pacemaker.on_own_block(readiness, self.now)
            if commits:
                self.pacemaker.on_commit()
            if number % SIZE == LIAR:
                self.waited.append(self.now - entered_at)


@pytest.mark.parametrize("comes_after_ms", [None, 190], ids=["never", "a little before the time is out"])
def test_who_keeps_us_waiting_gets_a_share_of_our_time_and_no_more(comes_after_ms: int | None) -> None:
    rounds = Rounds()
    rounds.run(2_000, comes_after_ms)
    full = [waited for waited in rounds.waited if waited > 2 * rounds.pace_ms]
    assert rounds.waited[0] >= 190
    assert set(rounds.waited) - set(full) == {2 * rounds.pace_ms}, "as long as two usual rounds all are waited for"
    assert 0 < sum(full) < (rounds.now - START) / 12


def test_who_is_as_quick_as_two_rounds_owes_nothing_and_is_waited_for_in_full_whenever_it_is_late() -> None:
    rounds = Rounds()
    rounds.run(2_000, comes_after_ms=20)
    assert set(rounds.waited) == {20}
    rounds.run(4, comes_after_ms=150)
    assert rounds.waited[-1] == 150


def test_who_was_away_for_long_is_waited_for_again_some_seconds_after_it_is_back() -> None:
    rounds = Rounds()
    rounds.run(2_000)
    rounds.run(400, comes_after_ms=5)
    rounds.run(4, comes_after_ms=150)
    assert rounds.waited[-1] == 150


def test_rounds_are_never_so_quick_that_what_comes_within_a_time_out_is_below_the_horizon() -> None:
    rounds = Rounds(pace_ms=2)
    rounds.run(1_000)
    began, count = rounds.now, 2_000
    rounds.run(count)
    of_depth = (rounds.now - began) / count * RULES.gc_depth
    assert of_depth >= rounds.pacemaker.timeout_ms


def test_everybody_is_waited_for_in_full_once_nothing_was_committed_for_some_rounds() -> None:
    rounds = Rounds()
    rounds.run(400)
    assert rounds.waited[-1] == 2 * rounds.pace_ms
    rounds.run(4 * BARREN_ROUNDS, commits=False)
    assert rounds.waited[-1] >= 200
    assert rounds.pacemaker.delta_ms > RULES.delta_ms_min


def test_a_wait_that_was_cut_short_does_not_make_delta_grow() -> None:
    rounds = Rounds()
    rounds.run(2_000)
    assert rounds.pacemaker.delta_ms == RULES.delta_ms_min
