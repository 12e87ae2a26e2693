"""A network's rules, for the tests of the node."""

from learning.evolution.rules import Strategy
from node.rules.network_file import new_rules
from node.rules.network_rules import NetworkRules, TaskSection


def example_rules(seed: int = 7, block_interval_ms: int = 500) -> NetworkRules:
    """Valid rules of a network that nobody runs."""
    task = TaskSection("digits", "ab" * 32, 4810)
    return new_rules("example", bytes([seed]) * 32, task, Strategy.PLUS, block_interval_ms=block_interval_ms, finality_depth=16)
