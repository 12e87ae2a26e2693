"""What the network file becomes for the ordering machine."""

from consensus.proof_of_work.rules import AUTHOR_WINDOW_MAX
from learning.gradient.block_learner import BASE_AGE_MAX
from node.assembly import proof_of_work_rules
from node.network_file import GradientSection, TaskSection, new_rules
from node.strategy import Strategy
from tests.node.example_network import example_rules


def test_candidates_are_heard_of_who_led_lately_on_the_head_alone_and_name_no_payloads() -> None:
    rules = proof_of_work_rules(example_rules())
    assert (rules.author_window, rules.base_age_max, rules.attachments_max) == (AUTHOR_WINDOW_MAX, 0, 0)


def test_gradients_are_heard_of_workers_as_long_as_they_are_offered_and_name_one_payload() -> None:
    task = TaskSection("digits-mlp", "ab" * 32, 4_810)
    network = new_rules("example", bytes(32), task, Strategy.COMMA, gradient=GradientSection(workers_window=32, shards="whole"))
    rules = proof_of_work_rules(network)
    assert (rules.author_window, rules.base_age_max, rules.attachments_max) == (32, BASE_AGE_MAX, 1)
