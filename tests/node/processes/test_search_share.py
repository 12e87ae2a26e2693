"""Of a learner's time: a share is for its own search, however many deliveries wait."""

import pytest

from learning.learner import AdoptRequest, DeliveredStep, DeliverRequest, LearnerRequest
from node.processes.learner import SHARE, SearchShare

STEP = bytes(32)
DELIVERY = DeliverRequest(DeliveredStep(STEP, STEP, 1, ()))


def searched(request: LearnerRequest, request_ms: int, slice_ms: int, requests: int) -> float:
    """The share of the time that goes into search while there is always a request that waits."""
    share = SearchShare()
    searching = 0
    for _ in range(requests):
        share.answered(request, request_ms)
        while share.is_due(slice_ms):
            share.searched(slice_ms)
            searching += slice_ms
    return searching / (searching + requests * request_ms)


@pytest.mark.parametrize(("request_ms", "slice_ms"), [(20, 5), (20, 20), (1, 100), (300, 10)])
def test_where_deliveries_never_end_a_fifth_of_the_time_is_searched(request_ms: int, slice_ms: int) -> None:
    assert searched(DELIVERY, request_ms, slice_ms, 5_000) == pytest.approx(1 / SHARE, rel=0.05)


def test_all_other_requests_come_before_search() -> None:
    assert searched(AdoptRequest(STEP), 20, 5, 1_000) == 0.0


def test_who_has_rested_is_owed_nothing() -> None:
    share = SearchShare()
    share.answered(DELIVERY, 100)
    share.rested()
    assert not share.is_due(0)
