import os
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.api.effort import MINUTE_SECONDS, SAMPLES_MAX, EffortTally, processor_time
from node.api.status import LearnerTime, ProcessorTime
from node.processes.effort import REPORT_SECONDS, LearnerEffort, Stopwatch, Work
from node.storage.store import Store


def test_effort_is_told_once_a_second_and_holds_all_that_was_done() -> None:
    watch = Stopwatch(100.0)
    assert watch.add(Work.RANKING, 100.0, 100.25) is None
    assert watch.add(Work.OTHER, 100.5, 100.75) is None
    assert watch.add(Work.SCORING, 101.0, 101.125) == LearnerEffort(0.625, 0.25, 0.125)
    assert watch.add(Work.SCORING, 101.5, 102.0) is None
    assert watch.add(Work.RANKING, 110.0, 110.5) == LearnerEffort(1.625, 0.75, 0.625)


def test_who_does_nothing_waits() -> None:
    tally = EffortTally(50.0)
    assert tally.since_start(50.0) == tally.last_minute(90.0) == LearnerTime(0.0, 0.0, 0.0, 1.0)


def test_shares_are_of_all_the_time_and_of_the_last_minute() -> None:
    tally = EffortTally(0.0)
    tally.add(LearnerEffort(30.0, 20.0, 10.0), 40.0)
    tally.add(LearnerEffort(36.0, 20.0, 13.0), 100.0)
    assert tally.since_start(120.0) == LearnerTime(0.3, 0.1667, 0.1083, 0.7)
    assert tally.last_minute(100.0) == LearnerTime(0.1, 0.0, 0.05, 0.9)
    assert tally.last_minute(500.0) == LearnerTime(0.0, 0.0, 0.0, 1.0)


stretches = st.lists(st.tuples(st.sampled_from(Work), st.floats(0, 3), st.floats(0, 3)), max_size=200)


@given(stretches=stretches)
def test_shares_never_leave_their_range(stretches: list[tuple[Work, float, float]]) -> None:
    now, watch, tally = 0.0, Stopwatch(0.0), EffortTally(0.0)
    for work, rest, spent in stretches:
        effort = watch.add(work, now + rest, now + rest + spent)
        now += rest + spent
        if effort is not None:
            tally.add(effort, now)
        for shares in (tally.since_start(now), tally.last_minute(now)):
            assert 0 <= shares.ranking + shares.scoring <= shares.busy + 0.001 <= 1.001
            assert shares.waiting == pytest.approx(1 - shares.busy, abs=0.001)


def test_a_minute_of_samples_is_kept() -> None:
    assert SAMPLES_MAX * REPORT_SECONDS > MINUTE_SECONDS


def test_processor_time_is_read_of_this_process_its_writer_and_its_workers(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "kubrat.db")
    for number in range(20):
        store.set_meta("number", str(number))
    before = time.process_time()
    found = processor_time(store.writer_ident, (os.getpid(),))
    store.close()
    assert found.ordering_s >= round(before, 3)
    assert 0 < found.store_s < found.ordering_s
    assert found.workers_s == pytest.approx(found.ordering_s, abs=0.5)
    assert store.writer_ident is None
    assert processor_time(None, (2**22 + 1,)).workers_s == 0


def test_the_ordering_s_share_is_of_all_processes() -> None:
    assert ProcessorTime(3.0, 0.5, 9.0).ordering_share == 0.25
    assert ProcessorTime(0.0, 0.0, 0.0).ordering_share is None
