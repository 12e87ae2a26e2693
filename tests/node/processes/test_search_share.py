"""Of a learner's time: a share is for its own search, however many deliveries wait."""

import contextlib
import threading
import time
from dataclasses import replace
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from learning.evolution.rules import EvolutionRules
from learning.learner import (
    AdoptRequest,
    DeliveredStep,
    DeliverRequest,
    LearnerAnswer,
    LearnerRequest,
    Participant,
    StepApplied,
)
from node.processes.learner import SHARE, LearnerSpec, SearchShare
from node.processes.learner import _LearnerLoop as learner_loop

STEP = bytes(32)
DELIVERY = DeliverRequest(DeliveredStep(STEP, STEP, 1, ()))


def searched(request: LearnerRequest, request_ms: int, slice_ms: int, requests: int) -> float:
    """The share of the time that goes into search while there is always a request that waits."""
    share = SearchShare()
    searching = 0
    for _ in range(requests):
        share.on_answer(request, request_ms)
        while share.is_due(slice_ms):
            share.on_search(slice_ms)
            searching += slice_ms
    return searching / (searching + requests * request_ms)


@pytest.mark.parametrize(("request_ms", "slice_ms"), [(20, 5), (20, 20), (1, 100), (300, 10)])
def test_where_deliveries_never_end_a_fifth_of_the_time_is_searched(request_ms: int, slice_ms: int) -> None:
    assert searched(DELIVERY, request_ms, slice_ms, 5_000) == pytest.approx(1 / SHARE, rel=0.05)


def test_all_other_requests_come_before_search() -> None:
    assert searched(AdoptRequest(STEP), 20, 5, 1_000) == 0.0


def test_who_has_rested_is_owed_nothing() -> None:
    share = SearchShare()
    share.on_answer(DELIVERY, 100)
    share.on_rest()
    assert not share.is_due(0)


CALM, PRESSED = 400, 40
"""Deliveries that come one by one, and then at once. A fourth of their number is how often a search would be due after each."""


class CalmThenPressed:
    """Answers and searches in a millisecond each; has nothing to search while it is calm."""

    def __init__(self, pipe: Connection) -> None:
        self.delivered = self.searched_while_asked = 0
        self._pipe = pipe

    @property
    def is_scoring(self) -> bool:
        return False

    @property
    def is_searching(self) -> bool:
        return self.delivered >= CALM

    def handle(self, request: LearnerRequest) -> tuple[LearnerAnswer, ...]:
        assert isinstance(request, DeliverRequest)
        time.sleep(0.001)
        self.delivered += 1
        return (StepApplied(request.step.height),)

    def search(self) -> tuple[LearnerAnswer, ...]:
        self.searched_while_asked += self._pipe.poll(0)
        time.sleep(0.001)
        return ()


def hear_of_step(pipe: Connection) -> None:
    """What it says of its effort in between is passed over."""
    while not isinstance(pipe.recv(), StepApplied):
        pass


@pytest.mark.slow
def test_a_long_calm_is_not_paid_for_by_those_who_ask_later(tmp_path: Path) -> None:
    ours, theirs = Pipe()
    learner = CalmThenPressed(theirs)
    rules = EvolutionRules(16, 1, "0.1", "1", "0.1", 10, 0)
    spec = LearnerSpec("rosenbrock", str(tmp_path), rules, Participant(bytes(32), b"a" * 32, STEP), None, store="none")
    spec = replace(spec, make=lambda task, spec, gradients: learner)

    def live() -> None:
        with contextlib.suppress(EOFError, BrokenPipeError):
            learner_loop(theirs, spec).run()

    living = threading.Thread(target=live)
    living.start()
    ours.recv()  # it is ready
    for _ in range(CALM):
        ours.send(DELIVERY)
        hear_of_step(ours)
    for _ in range(PRESSED):
        ours.send(DELIVERY)
    for _ in range(PRESSED):
        hear_of_step(ours)
    ours.close()
    living.join(10)
    assert learner.searched_while_asked <= PRESSED, "ten are owed for the pressed ones, a hundred would be for the calm ones"
