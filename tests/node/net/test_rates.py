"""Rates: what flows in may be spent, and no more."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.net.rates import Meter, RateLimits, TokenBucket, TokenBuckets
from node.net.wire import FloodError


@given(st.lists(st.tuples(st.floats(0, 5), st.floats(0, 10))))
def test_a_bucket_never_gives_more_than_its_burst_and_its_rate(requests: list[tuple[float, float]]) -> None:
    bucket = TokenBucket(per_second=2.0, burst=10.0, now=0.0)
    now = taken = 0.0
    for pause, tokens in requests:
        now += pause
        if bucket.take(tokens, now):
            taken += tokens
        assert taken <= 10.0 + 2.0 * now + 1e-6


def test_each_name_has_a_bucket_and_the_oldest_is_forgotten() -> None:
    buckets = TokenBuckets(per_second=1.0, burst=1.0, count_max=2)
    assert [buckets.take(name, 0.0) for name in ("a", "a", "b", "a", "c", "a", "b")] == [
        True,
        False,
        True,
        False,
        True,
        False,
        True,
    ]


def test_a_meter_names_the_rate_that_was_exceeded() -> None:
    limits = RateLimits(frames_per_second=1, frames_burst=2, bytes_per_second=10, bytes_burst=100)
    meter = Meter(limits, 0.0)
    meter.charge(1, 0.0)
    meter.charge(1, 0.0)
    with pytest.raises(FloodError, match=r"^more than 1 frames a second$"):
        meter.charge(1, 0.0)
    with pytest.raises(FloodError, match=r"^more than 10 bytes a second$"):
        meter.charge(101, 10.0)
