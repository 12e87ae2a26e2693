"""Agreement is read off the peers' own statuses."""

from node.agreement import Disagreement, agreed_step, final_disagreement
from node.status import NodeStatus, StepStatus


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
