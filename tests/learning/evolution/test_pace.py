"""How long a member ranks: by its own clock, and nothing that is agreed on depends on it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from learning.evolution.pace import RANKING_SHARE, REST_ASSUMED, RESTS_KEPT, Pace
from learning.evolution.search import SearchSettings
from learning.task import Float32Array, Float64Array, Int64Array
from tests.learning.evolution.joint_order import JointMember
from tests.learning.following.line_world import commit
from tests.learning.sphere import SphereTask

MEMBER = b"m" * 32


class Watch:
    """A clock that others move on."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


class TimedSphere(SphereTask):
    """Each mutation that is ranked takes so long; a slate is measured in no time."""

    def __init__(self, watch: Watch, seconds: float) -> None:
        super().__init__()
        self._watch, self._seconds = watch, seconds
        self.mutations = 0

    def scores(self, candidates: Float32Array, batch: Int64Array) -> Float64Array:
        if len(batch) == SETTINGS.rank_samples:
            self._watch.seconds += self._seconds * len(candidates)
            self.mutations += len(candidates)
        return super().scores(candidates, batch)


SETTINGS = SearchSettings(rank_samples=8, chunk=4, effort_min=1, effort_max=6)


def paced(watch: Watch, rests: list[float]) -> Pace:
    pace = Pace(watch)
    pace.generation_ends()
    for rest in rests:
        watch.seconds += rest
        pace.generation_ends()
    return pace


def test_who_knows_no_whole_generation_yet_assumes_a_short_one() -> None:
    watch = Watch()
    pace = Pace(watch)
    watch.seconds = 3_600.0  # until the network began
    pace.generation_ends()
    assert pace.has_time(0.9 * RANKING_SHARE * REST_ASSUMED)
    assert not pace.has_time(RANKING_SHARE * REST_ASSUMED)


@given(st.lists(st.floats(0.01, 100.0), min_size=1, max_size=20))
def test_ranking_has_a_share_of_the_usual_rest(rests: list[float]) -> None:
    pace = paced(Watch(), rests)
    kept = sorted(rests[-RESTS_KEPT:])
    usual = kept[(len(kept) - 1) // 2]
    assert pace.has_time(0.99 * RANKING_SHARE * usual)
    assert not pace.has_time(1.01 * RANKING_SHARE * usual)


def test_one_generation_that_took_an_hour_changes_nothing() -> None:
    pace = paced(Watch(), [0.1, 3_600.0, 0.1])
    assert not pace.has_time(RANKING_SHARE)


def test_ranking_is_no_part_of_the_rest() -> None:
    watch = Watch()
    pace = paced(watch, [])
    watch.seconds += 10.0
    pace.list_ends(9.0)
    pace.generation_ends()
    assert pace.has_time(0.9 * RANKING_SHARE)
    assert not pace.has_time(1.1 * RANKING_SHARE)


@pytest.mark.parametrize(("mutation_seconds", "first", "last"), [(0.001, 52, 72), (0.01, 12, 28), (10.0, 12, 12)])
def test_who_would_wait_ranks_on_and_costly_evaluations_are_ranked_once(mutation_seconds: float, first: int, last: int) -> None:
    """The rest of a generation takes a second: a quarter of it is time for 250 mutations, for 25, or for none."""
    watch = Watch()
    task = TimedSphere(watch, mutation_seconds)
    member = JointMember(MEMBER, (MEMBER,), task=task, settings=SETTINGS, clock=watch)
    found = []
    for number in range(1, 5):
        before = task.mutations
        items = member.work_until_idle()
        found.append(task.mutations - before)
        watch.seconds += 1.0
        member.deliver(commit(number, items))
    assert found == [first, first, first, last]
