"""A simulated learner that takes as long as its work does."""

from collections import deque
from collections.abc import Callable
from types import SimpleNamespace

import numpy as np
import pytest

from consensus.types import Instant
from learning.learner import DeliveredStep, DeliverRequest, LearnerAnswer, LearnerRequest, SearchProgress
from node.lab.simulation.timeline import Timeline
from node.lab.simulation.work import PricedTask, WorkClock, WorkPrices
from node.lab.simulation.working_desk import REQUEST_US, SLICE_US, WorkingDesk
from tests.learning.sphere import SphereTask

START = Instant(1_000)
STEP = DeliverRequest(DeliveredStep(bytes(32), bytes(32), 1, ()))


class Worker:
    """A learner whose slices and answers cost so much; it has so many slices to do."""

    def __init__(self, clock: WorkClock, slices: int, slice_us: int) -> None:
        self._clock, self._slices, self._slice_us = clock, slices, slice_us
        self.seen: list[float] = []

    @property
    def is_searching(self) -> bool:
        return self._slices > 0

    def search(self) -> tuple[LearnerAnswer, ...]:
        self._slices -= 1
        self._clock.charge(self._slice_us)
        self.seen.append(self._clock())
        return (SearchProgress(self._slices),)

    def handle(self, request: LearnerRequest) -> tuple[LearnerAnswer, ...]:
        return (SearchProgress(-1),)


def played(slices: int, slice_us: int, slowness: float = 1.0) -> tuple[Worker, list[tuple[int, int]]]:
    """Asked once at the start and once 5 ms later; when which answers came."""
    timeline, clock = Timeline(START), WorkClock()
    worker, heard = Worker(clock, slices, slice_us), []

    class Plan:
        @staticmethod
        def after(delay_ms: int, _peer: object, action: Callable[[], None]) -> None:
            timeline.after(delay_ms, action)

    peer = SimpleNamespace(
        learner=worker, work=clock, requests=deque(), is_learner_busy=False, slowness=slowness, incarnation=0, is_running=True
    )
    desk = WorkingDesk(peer, Plan(), timeline, lambda answer: heard.append((timeline.now - START, answer.candidates)))
    desk.start((STEP,))
    timeline.after(5, lambda: desk.ask(STEP))
    timeline.run_until(START + 100)
    return worker, heard


def test_nothing_is_searched_before_the_first_request_and_requests_wait_for_a_slice() -> None:
    _, heard = played(slices=2, slice_us=8_000 - SLICE_US)
    assert heard == [(1, -1), (9, 1), (9, -1), (17, 0)]


def test_short_slices_take_no_longer_than_one_long_one() -> None:
    """Ten of 300 us after a request of 200 us: 3.2 ms, not ten whole milliseconds."""
    worker, heard = played(slices=10, slice_us=300 - SLICE_US)
    assert [at for at, left in heard if left == 0] == [4]
    assert worker.seen[-1] == pytest.approx(START / 1000 + (REQUEST_US + 10 * 300) / 1_000_000)


def test_a_slow_peer_takes_as_many_times_as_long() -> None:
    _, heard = played(slices=1, slice_us=8_000 - SLICE_US, slowness=2.0)
    assert heard == [(1, -1), (17, 0), (17, -1)]


def test_a_task_is_paid_for_by_its_candidates_and_samples() -> None:
    clock = WorkClock()
    task = PricedTask(SphereTask(), WorkPrices(sample_us=2.0, canonical_us=3.0, metrics_us=5.0), clock)
    batch = task.draw_batch(bytes(32))
    parameters = np.zeros(sum(block.size for block in task.layout), dtype=np.float32)
    task.scores(np.stack([parameters] * 4), batch[:10])
    assert clock.now_us == 80.0
    task.fitness(parameters, batch[:10])
    assert clock.now_us == 110.0
    task.metrics(parameters)
    assert clock.now_us == 115.0
