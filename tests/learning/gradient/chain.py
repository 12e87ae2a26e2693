"""Peers of a network of gradients under proof of work, and a forge for any blocks."""

from dataclasses import dataclass

import numpy as np

from learning.aggregation.rule import Workers
from learning.gradient.block_learner import BlockLearner
from learning.gradient.blocks import BlockState, BlockTransition
from learning.gradient.ledger import Aggregator, Gradients, first_ledger
from learning.gradient.rules import GradientRules
from learning.learner import AuthoredPayload, Participant, ProposedStep, StateKept
from learning.state import genesis_state
from learning.tasks.shards import OwnSamples
from node.lab.faults.gradient.conduct import Conduct
from tests.learning.evolution.exchange import GENESIS, NETWORK
from tests.learning.following.line_world import Shelf
from tests.learning.following.tree_world import TreePeer, step_of
from tests.learning.gradient.quadratic import (
    LAYOUT,
    SAMPLES,
    QuadraticTask,
    encoded_gradient,
    rules,
    submitted,
    worker_with,
)

ALICE, BOB, CAROL, DAVE = (bytes([number]) * 32 for number in range(1, 5))


@dataclass(frozen=True)
class World:
    """What all peers share."""

    rules: GradientRules
    shelf: Shelf


def world_of(rule: str = "mean", **changes: object) -> World:
    return World(rules(rule, **changes), Shelf())


class Forge:
    """Makes blocks by any leader, with any contributions, and knows the state after each."""

    def __init__(self, world: World) -> None:
        self.world = world
        rule = world.rules.named_rule()
        self._transition = BlockTransition(
            Aggregator(LAYOUT, world.rules.ledger_rules(), rule), world.shelf, world.rules.workers_window
        )
        self.states = {GENESIS: BlockState(first_ledger(genesis_state(NETWORK, LAYOUT).parameters, rule), ())}
        self.heights = {GENESIS: 0}

    def block(self, parent: bytes, leader: bytes, *contributions: AuthoredPayload) -> ProposedStep:
        height = self.heights[parent] + 1
        state = self._transition.apply(self.states[parent], step_of(parent, height, leader, contributions, b""))
        step = step_of(parent, height, leader, contributions, state.digest)
        self.states[step.id], self.heights[step.id] = state, height
        return step

    def group(self, step: ProposedStep) -> Workers:
        """The workers after it."""
        return self._transition.group(self.states[step.id])

    def path(self, parent: bytes, *leaders: bytes) -> list[ProposedStep]:
        """Empty blocks by these leaders."""
        blocks: list[ProposedStep] = []
        for leader in leaders:
            blocks.append(self.block(blocks[-1].id if blocks else parent, leader))
        return blocks

    def contribution(self, author: bytes, base: bytes, value: float = 0.5) -> AuthoredPayload:
        """A gradient on the model after this block, of equal components."""
        ledger = self.states[base].ledger
        return submitted(author, ledger.version, ledger.digest, encoded_gradient(value), self.world.shelf, base)


class Peer(TreePeer):
    """One of a network of gradients."""

    def __init__(
        self,
        world: World,
        author: bytes,
        *,
        restored: StateKept | None = None,
        conduct: Conduct | None = None,
        gradients: Gradients | None = None,
    ) -> None:
        task = QuadraticTask()
        rows = OwnSamples(task, np.arange(SAMPLES, dtype=np.int64), author)
        participant, shelf, worker = Participant(NETWORK, author, GENESIS), gradients or world.shelf, worker_with(conduct)
        super().__init__(author, BlockLearner(task, world.rules, participant, shelf, rows, restored, worker), world.shelf)
