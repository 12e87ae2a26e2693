"""Machines wired together in memory, with real puzzles in virtual time."""

from dataclasses import replace

from consensus.protocol import Step, Verdict
from consensus.types import StepId
from tests.consensus.proof_of_work.forge import RULES
from tests.consensus.proof_of_work.network import Network, Node, all_good

QUICK = replace(RULES, start_attempts=4)


def heads(*nodes: Node) -> set[StepId]:
    return {node.machine.status.head for node in nodes}


def test_two_peers_agree_on_one_chain() -> None:
    network = Network(QUICK)
    alice, bob = network.add("alice"), network.add("bob")
    network.connect(alice, bob)
    network.run(60_000)
    shorter = min(len(alice.finals), len(bob.finals))
    assert shorter > 20
    assert alice.finals[:shorter] == bob.finals[:shorter]
    assert alice.refused + bob.refused == []
    assert alice.accused + bob.accused == []
    assert alice.machine.status.blocks_led > 0
    assert bob.machine.status.blocks_led > 0
