"""Members of a total order whose steps everybody scores."""

import random
from collections.abc import Callable, Iterable

import numpy as np

from learning.evolution.generations import Generations
from learning.exact import FITNESS_LOWEST, FITNESS_MAX
from learning.gradient.ledger import GradientSubmission
from learning.gradient.scored_slate import decode_scored, encode_scored
from learning.gradient.step_candidates import StepCandidates
from learning.learner import AuthoredPayload, ContributionFound, Participant, StateKept
from learning.model_consensus.slate import Scores
from learning.task import Float32Array, Int64Array
from learning.tasks.shards import OwnSamples
from node.lab.faults.gradient.conduct import Conduct, HonestConduct, Submitted
from tests.learning.evolution.exchange import GENESIS, NETWORK
from tests.learning.following.line_world import LineMember, Shelf, signed
from tests.learning.gradient.quadratic import QuadraticTask, rules, worker_with
from tests.learning.gradient.stream import FOUR, World

ENTRIES_MAX = 40
"""More than any slate in these tests."""


def half_a_slate(chance: random.Random) -> int:
    """Slices of work between two commits, seven times of ten: half of what a slate of four members takes."""
    return 6 if chance.random() < 0.7 else 0


Distortion = Callable[["ScoredMember", Scores], Scores]
"""What a member submits as its scores instead of those that it has measured."""


def scored_world(members: tuple[bytes, ...] = FOUR, learning_rate: str = "0.5") -> World:
    """Half the squared distance to samples that lie together; a learning rate of 1 without noise would be there at once."""
    return World(QuadraticTask(), rules("scored", learning_rate=learning_rate), Shelf(), members)


class ScoredMember(LineMember):
    """One of a network whose steps are scored."""

    def __init__(
        self,
        world: World,
        author: bytes,
        *,
        restored: StateKept | None = None,
        is_searching: bool = True,
        conduct: Conduct | None = None,
        distortion: Distortion | None = None,
        rows: Int64Array | None = None,
    ) -> None:
        self.distortion = distortion
        everything = np.arange(len(world.task.sample_labels), dtype=np.int64)
        own = OwnSamples(world.task, everything if rows is None else rows, author)
        participant = Participant(NETWORK, author, GENESIS, world.members, is_searching)
        steps = StepCandidates(world.task, world.rules, participant, world.shelf, own, worker_with(conduct))
        self.generations = Generations(steps, participant)
        super().__init__(author, self.generations, world.shelf, restored)

    def submitted(self, found: ContributionFound) -> Iterable[AuthoredPayload]:
        """Its scores are distorted."""
        if not found.large and self.distortion is not None:
            scores = decode_scored(found.payload, ENTRIES_MAX)
            assert isinstance(scores, Scores)
            return [signed(self.author, found.base, encode_scored(self.distortion(self, scores)))]
        return super().submitted(found)


class Attacker(HonestConduct):
    """Submits what a function makes of its own gradient."""

    def __init__(self, attack: Callable[[Float32Array], tuple[Submitted, ...]]) -> None:
        self._attack = attack

    def submissions(self, own: Float32Array) -> tuple[Submitted, ...]:
        return self._attack(own)


def favours(*authors: bytes) -> Distortion:
    """Top scores for what these have put up, bottom scores for all else."""

    def distorted(member: ScoredMember, scores: Scores) -> Scores:
        slate = member.generations.consensus.slate
        assert slate is not None
        return Scores(
            scores.slate, tuple(FITNESS_MAX if entry.author in authors else FITNESS_LOWEST for entry in slate.entries)
        )

    return distorted


def named(item: AuthoredPayload) -> GradientSubmission:
    """The gradient that an honest item names."""
    submission = decode_scored(item.payload, ENTRIES_MAX)
    assert isinstance(submission, GradientSubmission)
    return submission
