"""What the network file becomes for the ordering machine."""

import pytest
from msgspec.structs import replace

from consensus.proof_of_work.rules import AUTHOR_WINDOW_MAX
from consensus.types import PeerId
from learning.evolution.rules import Strategy
from learning.gradient.block_learner import BASE_AGE_MAX
from learning.gradient.rules import GradientRules
from node.rules.conversion import proof_of_work_rules
from node.rules.network_file import new_rules
from node.rules.network_rules import Learning, TaskSection
from node.runtime.composition import learner_spec
from tests.node.example_network import example_rules


def test_candidates_are_heard_of_who_led_lately_on_the_head_alone_and_name_no_payloads() -> None:
    rules = proof_of_work_rules(example_rules())
    assert (rules.author_window, rules.base_age_max, rules.attachments_max) == (AUTHOR_WINDOW_MAX, 0, 0)


def test_gradients_are_heard_of_workers_as_long_as_they_are_offered_and_name_one_payload() -> None:
    task = TaskSection("digits-mlp", "ab" * 32, 4_810)
    network = new_rules("example", bytes(32), task, Strategy.PLUS, gradient=GradientRules(workers_window=32, shards="whole"))
    rules = proof_of_work_rules(network)
    assert (rules.author_window, rules.base_age_max, rules.attachments_max) == (32, BASE_AGE_MAX, 1)


@pytest.mark.parametrize(("interval_ms", "check_ms"), [(100, 25), (500, 125), (60_000, 15_000)])
def test_a_block_of_gradients_may_take_a_quarter_of_the_block_interval_to_check(interval_ms: int, check_ms: int) -> None:
    rules = replace(
        example_rules(),
        learning=Learning.GRADIENT,
        proof_of_work=replace(example_rules().proof_of_work, block_interval_ms=interval_ms),
    )
    spec = learner_spec(rules, PeerId(bytes(32)), None)
    assert (spec.rules, spec.check_ms_max) == (rules.gradient, check_ms)
