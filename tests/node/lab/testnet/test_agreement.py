"""Agreement is read off the peers' own statuses."""

import msgspec

from node.api.status import NodeStatus, StepStatus
from node.lab.testnet.agreement import Disagreement, agreed_step, final_disagreement


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
