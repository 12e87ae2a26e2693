"""Delays are drawn from what their names say, and a wrong clock is wrong by what it is told."""

from random import Random
from statistics import mean, median

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consensus.types import Instant
from node.lab.simulation.links import LATENCY_MS_MAX, REGION_MS, ConstantLatency, Lognormal, Regions, Uniform
from node.lab.simulation.timeline import LocalClock, Timeline

DRAWS = 4_000


@given(seed=st.integers(0, 2**32), median_ms=st.integers(1, 60_000), sigma=st.floats(0, 5))
def test_no_delay_is_negative_or_beyond_the_limit(seed: int, median_ms: int, sigma: float) -> None:
    random = Random(seed)
    for latency in (Lognormal(median_ms, sigma), Regions((0, 3)), Uniform(0, median_ms), ConstantLatency(median_ms)):
        assert 0 <= latency.sample(random, 0, 1) <= LATENCY_MS_MAX


def test_a_lognormal_delay_has_its_median_and_a_heavy_tail() -> None:
    random = Random(1)
    draws = [Lognormal(100, 0.5).sample(random, 0, 1) for _ in range(DRAWS)]
    assert 95 < median(draws) < 105
    assert 0.005 < sum(draw > 320 for draw in draws) / DRAWS < 0.02


@pytest.mark.parametrize(("one", "other"), [(0, 0), (1, 5), (4, 2)])
def test_a_region_is_as_far_as_it_was_measured(one: int, other: int) -> None:
    random = Random(2)
    regions = Regions((one, other))
    assert mean(regions.sample(random, 0, 1) for _ in range(DRAWS)) == pytest.approx(REGION_MS[one][other], rel=0.05)


def test_peers_live_where_the_measured_shares_say() -> None:
    places = Regions.drawn(DRAWS, Random(3)).places
    assert places.count(1) / DRAWS == pytest.approx(0.4998, abs=0.03)
    assert places == Regions.drawn(DRAWS, Random(3)).places


def test_what_measures_durations_drifts_and_never_jumps() -> None:
    clock = LocalClock(offset_ms=-500, drift_ppm=200, since=1_000)
    assert (clock.now(Instant(1_000)), clock.offset_ms) == (1_000, -500)
    assert clock.now(Instant(11_000)) == 11_000 + 2
    put = clock.put(Instant(11_000), offset_ms=3_600_000, drift_ppm=-100)
    assert (put.now(Instant(11_000)), put.offset_ms) == (11_000 + 2, 3_600_000)
    assert put.now(Instant(21_000)) == 21_000 + 2 - 1


def test_what_is_due_at_one_instant_happens_in_the_order_in_which_it_was_planned() -> None:
    timeline, told = Timeline(Instant(0)), []
    timeline.after(5, lambda: told.append("first"))
    timeline.after(5, lambda: timeline.after(0, lambda: told.append("last")))
    timeline.after(5, lambda: told.append("second"))
    timeline.run_until(5)
    assert (told, timeline.now) == (["first", "second", "last"], 5)
