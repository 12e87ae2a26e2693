"""The wall clock goes an hour back or forth while a request is open that nobody answers: it costs one retry at most."""

from functools import cache

import pytest

from learning.learner import StepAdopted
from node.lab.scenarios.events import Clock, Join
from node.lab.scenarios.scenario import ExpectSection, Faulty, Scenario, TimedEvent
from node.lab.scenarios.toy_tasks import ToyTask
from node.lab.simulation.population import START
from node.rules.network_rules import Consensus, Learning, TotalOrderSection
from tests.node.lab.faults.stage import ORDER, WORK, Play, assert_passed, play_scenario

HOUR_MS = 3_600_000

JUMP_MS = 9_000
"""A second after peer 1 has joined: with seed 1 it waits for an answer then that does not come."""

RETRY_MS = 6_000
"""An answer's time-out, and a look at what is overdue."""


@cache
def play_jump(consensus: Consensus, before_ms: int, after_ms: int) -> Play:
    """Peer 1 joins late, and two of the six others answer nothing."""
    scenario = Scenario(
        name="clock jump",
        consensus=consensus,
        learning=Learning.EVOLUTION,
        peers=7,
        duration_s=25,
        task=ToyTask.SPHERE,
        total_order=TotalOrderSection(round_interval_ms=150),
        expect=ExpectSection(calm_s=8, heights_min=2, behind_max=4),
        faulty=(Faulty("unanswering", (5, 6)),),
        events=(
            TimedEvent("8.0", Join((1,))),
            TimedEvent("8.0", Clock((1,), offset_ms=before_ms)),
            TimedEvent("9.0", Clock((1,), offset_ms=after_ms)),
        ),
    )
    return play_scenario(scenario)


def caught_up_ms(played: Play) -> int:
    """After the jump, when peer 1 has what the others had then."""
    jumped_at = START + JUMP_MS
    others = [peer for place, peer in enumerate(played.honest) if place != 1]
    goal = max(head.height for peer in others for now, head in played.by(peer, StepAdopted) if now <= jumped_at)
    own = played.by(played.honest[1], StepAdopted)
    return next(now for now, head in own if now > jumped_at and head.height >= goal) - jumped_at


@pytest.mark.parametrize("consensus", [WORK, ORDER])
@pytest.mark.parametrize(("before_ms", "after_ms"), [(HOUR_MS, 0), (0, HOUR_MS), (-HOUR_MS, 0)])
def test_an_hour_back_or_forth_while_requests_are_open_costs_one_retry_at_most(
    consensus: Consensus, before_ms: int, after_ms: int
) -> None:
    played = play_jump(consensus, before_ms, after_ms)
    assert_passed(played)
    assert caught_up_ms(played) <= caught_up_ms(play_jump(consensus, 0, 0)) + RETRY_MS
    assert played.refusals == [set()] * 5
