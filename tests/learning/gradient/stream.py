"""Members of a total order of gradients."""

import random
from dataclasses import dataclass

import numpy as np

from learning.gradient.ledger import ledger_digest
from learning.gradient.rules import GradientRules
from learning.gradient.stream import GradientStream
from learning.learner import Participant, StateKept
from learning.task import DifferentiableTask
from learning.tasks.shards import OwnSamples
from node.lab.faults.gradient.conduct import Conduct
from tests.learning.evolution.exchange import GENESIS, NETWORK
from tests.learning.following.line_world import LineMember, Shelf
from tests.learning.gradient.quadratic import QuadraticTask, rules, worker_with

FOUR = tuple(bytes([number + 1]) * 32 for number in range(4))


@dataclass(frozen=True)
class World:
    """What all members share."""

    task: DifferentiableTask
    rules: GradientRules
    shelf: Shelf
    members: tuple[bytes, ...] = FOUR


def quadratic_world(rule: str = "mean") -> World:
    return World(QuadraticTask(), rules(rule), Shelf())


class Member(LineMember):
    """One of a network of gradients."""

    def __init__(
        self,
        world: World,
        author: bytes,
        *,
        restored: StateKept | None = None,
        is_searching: bool = True,
        conduct: Conduct | None = None,
    ) -> None:
        rows = OwnSamples(world.task, np.arange(len(world.task.sample_labels), dtype=np.int64), author)
        participant = Participant(NETWORK, author, GENESIS, world.members, is_searching)
        self.stream = GradientStream(world.task, world.rules, participant, world.shelf, rows, worker_with(conduct))
        super().__init__(author, self.stream, world.shelf, restored)

    @property
    def digest(self) -> bytes:
        return ledger_digest(self.stream.ledger)


def seven_of_ten(chance: random.Random) -> int:
    """Slices of work between two commits: a gradient, or none."""
    return int(chance.random() < 0.7)
