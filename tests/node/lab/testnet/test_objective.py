"""Agreement is read off the peers' own statuses. Who has a say, what they agree on, and when a testnet is over."""

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import cast

import msgspec
import pytest

from node.api.status import NodeStatus, StepStatus
from node.common.errors import EXIT_DISAGREEMENT, EXIT_GOAL_NOT_MET, EXIT_INTERRUPTED, EXIT_OK
from node.common.goal import MetricGoal
from node.lab.testnet.commands import CommandExecutor
from node.lab.testnet.objective import (
    Disagreement,
    Goal,
    GoalCheck,
    ObjectiveContext,
    TestnetOutcome,
    agreed_step,
    final_disagreement,
)
from node.lab.testnet.peer import SILENT_SECONDS, PeerState, TestnetPeer
from node.lab.testnet.supervisor import plain_line_seconds
from tests.node.lab.testnet.example_testnet import SETTINGS, AliveProcess, EndedProcess, chain, made


def status(peer: str, states: str, first_height: int = 0, final_height: int = 0, accuracy: float | None = None) -> NodeStatus:
    """A peer whose chain has one step per letter of `states`; the letter is its id and its state."""
    metrics = {} if accuracy is None else {"test_accuracy": accuracy}
    steps = tuple(
        StepStatus(first_height + place, id=letter, state_digest=letter * 2, metrics=metrics)
        for place, letter in enumerate(states)
    )
    return NodeStatus("0", "net", peer, steps=steps, height=first_height + len(states) - 1, final_height=final_height)


def test_the_highest_common_step_is_agreed_on() -> None:
    step = agreed_step([status("a", "abcd"), status("b", "abc"), status("c", "abcx")])
    assert step == StepStatus(2, "c", "cc")


def test_the_entry_with_metrics_is_told() -> None:
    step = agreed_step([status("a", "ab"), status("b", "ab", accuracy=0.5)])
    assert step is not None
    assert step.metrics == {"test_accuracy": 0.5}


def test_peers_without_a_common_step_do_not_agree() -> None:
    assert agreed_step([status("a", "abc"), status("b", "xyz")]) is None


def test_nobody_agrees_on_nothing() -> None:
    assert agreed_step([]) is None


def test_heads_may_differ_above_the_final_step() -> None:
    assert final_disagreement([status("a", "abc", final_height=1), status("b", "abx", final_height=1)]) is None


def test_two_final_steps_at_one_height_are_a_disagreement() -> None:
    found = final_disagreement([status("a", "abc", final_height=2), status("b", "axy", final_height=2)])
    assert found == Disagreement(1, "a", "b")


def test_a_step_that_only_one_calls_final_is_no_disagreement() -> None:
    assert final_disagreement([status("a", "abc", final_height=2), status("b", "axy", final_height=0)]) is None


def deep(peer: str, head: str, final: str, final_from: int) -> NodeStatus:
    """Its newest steps start at height 300; its newest final ones, at `final_from`, lie far below."""
    near, far = status(peer, head, first_height=300), status(peer, final, first_height=final_from)
    return msgspec.structs.replace(near, final_steps=far.steps, final_height=final_from + len(final) - 1)


def test_final_steps_far_below_the_heads_are_compared() -> None:
    one, other, third = deep("a", "pq", "abcd", 40), deep("b", "pr", "cxe", 42), deep("c", "pr", "cde", 42)
    assert final_disagreement([one, third]) is None
    assert final_disagreement([one, other, third]) == Disagreement(43, "a", "b")


def test_a_head_far_behind_agrees_on_what_is_final_to_the_others() -> None:
    step = agreed_step([deep("a", "pq", "abcd", 40), status("b", "zabc", first_height=39)])
    assert step is not None
    assert (step.height, step.id) == (42, "c")


@pytest.fixture
def peers(tmp_path: Path) -> list[TestnetPeer]:
    """Four that run, at heights 5, 6, 7 and 8 of one chain."""
    _, peers = made(tmp_path)
    for number, peer in enumerate(peers):
        peer.process, peer.status = AliveProcess(), chain(peer, 5 + number)
    return peers


def height_agreed(peers: list[TestnetPeer]) -> int | None:
    agreed = GoalCheck(SETTINGS, peers).agreed()
    return None if agreed is None else agreed.height


def test_all_agree_on_what_the_slowest_holds(peers: list[TestnetPeer]) -> None:
    assert height_agreed(peers) == 5


def test_dead_paused_and_faulty_peers_have_no_say(peers: list[TestnetPeer]) -> None:
    peers[0].process = None
    assert height_agreed(peers) == 6
    peers[0].process, peers[0].waker = AliveProcess(), object()
    assert height_agreed(peers) == 6
    peers[0].waker, peers[0].was_faulty = None, True
    assert height_agreed(peers) == 6


def test_a_peer_that_has_fallen_silent_has_no_say_until_it_answers(peers: list[TestnetPeer]) -> None:
    peers[0].silent_s = SILENT_SECONDS
    assert (height_agreed(peers), peers[0].state) == (6, PeerState.SILENT)
    peers[1].silent_s = SILENT_SECONDS
    assert height_agreed(peers) is None
    peers[0].silent_s = 0.0
    assert (height_agreed(peers), peers[0].state) == (5, PeerState.RUNNING)


def test_without_most_honest_peers_nothing_is_agreed(peers: list[TestnetPeer]) -> None:
    peers[0].process = peers[1].process = None
    assert height_agreed(peers) is None
    peers[1].was_faulty = True
    assert height_agreed(peers) == 7


def test_a_peer_in_its_new_life_is_waited_for(peers: list[TestnetPeer]) -> None:
    peers[3].status = None
    assert height_agreed(peers) is None


def test_the_word_of_the_dead_on_final_steps_still_counts(peers: list[TestnetPeer]) -> None:
    peers[0].process, peers[0].status = None, chain(peers[0], 5, branch="x", final=5)
    peers[1].status = chain(peers[1], 6, final=6)
    outcome = GoalCheck(SETTINGS, peers).outcome(1.0, is_interrupted=False)
    reason = "peer-0 and peer-1 hold different final steps at height 0"
    assert outcome == TestnetOutcome(EXIT_DISAGREEMENT, reason, 1.0, None)
    peers[0].was_faulty = True
    assert GoalCheck(SETTINGS, peers).outcome(1.0, is_interrupted=False) is None


def ends(goal_check: GoalCheck, seconds: float, *, is_interrupted: bool = False) -> tuple[int, str] | None:
    outcome = goal_check.outcome(seconds, is_interrupted=is_interrupted)
    return None if outcome is None else (outcome.exit_code, ": ".join(filter(None, (outcome.reason, outcome.detail))))


def test_it_ends_at_the_goal_the_deadline_or_ctrl_c(peers: list[TestnetPeer]) -> None:
    goal_check = GoalCheck(SETTINGS, peers)
    assert ends(goal_check, 1.0) is None
    assert ends(goal_check, 2.0, is_interrupted=True) == (EXIT_INTERRUPTED, "interrupted: the goal is not reached")
    assert ends(goal_check, 60.0) == (EXIT_GOAL_NOT_MET, "deadline of 60 s passed")
    for peer in peers:
        peer.status = chain(peer, 9, accuracy=0.91)
    assert ends(goal_check, 3.0) == (EXIT_OK, "goal reached in agreement")


def test_a_goal_that_the_task_tells_nothing_of_ends_it_at_once(peers: list[TestnetPeer]) -> None:
    """A typo would cost all the time until the deadline."""
    misspelt = replace(SETTINGS, goal=MetricGoal("test_acuracy", 0.9))
    reason = "given up: the goal cannot be reached: this task tells no test_acuracy, but fitness, test_accuracy: set --until"
    assert ends(GoalCheck(misspelt, peers), 1.0) == (EXIT_GOAL_NOT_MET, reason)
    assert ends(GoalCheck(replace(misspelt, is_until_interrupted=True), peers), 1.0) is None


def test_until_interrupted_it_goes_on_after_the_goal_and_remembers_it(peers: list[TestnetPeer]) -> None:
    goal_check = GoalCheck(replace(SETTINGS, is_until_interrupted=True), peers)
    for peer in peers:
        peer.status = chain(peer, 9, accuracy=0.91)
    assert ends(goal_check, 3.0) is None
    for peer in peers:
        peer.status = chain(peer, 10, accuracy=0.89)
    assert ends(goal_check, 4.0) is None
    assert ends(goal_check, 5.0, is_interrupted=True) == (EXIT_OK, "goal reached in agreement after 3.0 s, interrupted")
    assert ends(goal_check, 60.0) == (EXIT_OK, "goal reached in agreement after 3.0 s, deadline of 60 s passed")


def test_until_interrupted_it_fails_where_no_agreement_is_left(peers: list[TestnetPeer]) -> None:
    goal_check = GoalCheck(replace(SETTINGS, is_until_interrupted=True), peers)
    for peer in peers:
        peer.status = chain(peer, 9, accuracy=0.91)
    assert ends(goal_check, 3.0) is None
    for peer in peers:
        peer.process, peer.was_killed = None, True
    reason = "goal reached in agreement after 3.0 s, interrupted, but no agreement is left"
    assert ends(goal_check, 5.0, is_interrupted=True) == (EXIT_GOAL_NOT_MET, reason)


def test_where_all_have_stopped_only_killed_ones_are_waited_for(peers: list[TestnetPeer]) -> None:
    for peer in peers:
        peer.process = None
    peers[2].was_killed = True
    assert ends(GoalCheck(SETTINGS, peers), 1.0) is None
    peers[2].was_killed = False
    assert ends(GoalCheck(SETTINGS, peers), 1.0) == (EXIT_GOAL_NOT_MET, "all peers have stopped by themselves")
    peers[1].process = EndedProcess(2)
    outcome = GoalCheck(SETTINGS, peers).outcome(1.0, is_interrupted=False)
    assert outcome is not None
    assert outcome.sentence.startswith("all peers have stopped by themselves after 1.0 s: peer-1: ended with exit code 2 (")


def test_what_came_of_the_goal_is_told_to_programs(peers: list[TestnetPeer]) -> None:
    goal_check = GoalCheck(SETTINGS, peers)
    goal = Goal(ObjectiveContext(peers, cast("CommandExecutor", None), goal_check, lambda _: None))
    asyncio.run(goal.conclude(goal_check.outcome(2.0, is_interrupted=True)))
    told = {"goal": "test_accuracy >= 0.9", "goal_figure": 0.5, "goal_reached": False, "goal_reached_s": None}
    assert goal.document() == told
    for peer in peers:
        peer.status = chain(peer, 9, accuracy=0.91)
    asyncio.run(goal.conclude(goal_check.outcome(3.0, is_interrupted=False)))
    assert goal.document() == {**told, "goal_figure": 0.91, "goal_reached": True, "goal_reached_s": 3.0}


@pytest.mark.parametrize("is_until_interrupted", [False, True])
def test_where_it_goes_on_after_the_goal_that_is_said_once(peers: list[TestnetPeer], is_until_interrupted: bool) -> None:
    said: list[str] = []
    goal_check = GoalCheck(replace(SETTINGS, is_until_interrupted=is_until_interrupted), peers)
    goal = Goal(ObjectiveContext(peers, cast("CommandExecutor", None), goal_check, said.append))
    assert goal.outcome(1.0, is_interrupted=False) is None
    assert said == []
    for peer in peers:
        peer.status = chain(peer, 9, accuracy=0.91)
    for second in (3.0, 4.0):
        goal.outcome(second, is_interrupted=False)
    assert said == (["goal reached in agreement; going on until Ctrl-C or --deadline"] if is_until_interrupted else [])


def test_lines_that_stay_become_more_seldom() -> None:
    assert [plain_line_seconds(seconds) for seconds in (0, 100, 600, 3_600, 86_400)] == [2.0, 2.0, 10.0, 60.0, 60.0]
