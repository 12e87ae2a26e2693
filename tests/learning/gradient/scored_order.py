"""Members whose steps everybody scores, over a total order without a network: one log of commits, read at any pace."""

from collections.abc import Callable

import numpy as np

from learning.evolution.generations import Generations
from learning.evolution.scores import Scores
from learning.exact import FITNESS_LOWEST, FITNESS_MAX
from learning.following.line import LineLearner
from learning.gradient.scored_learner import Steps
from learning.gradient.scored_submission import decode_scored, encode_scored
from learning.gradient.submission import Submission
from learning.learner import (
    ContributionFound,
    DeliveredStep,
    DeliverRequest,
    ExportRequest,
    GenerationDecided,
    GradientsJudged,
    LearnerAnswer,
    ModelExported,
    Participant,
    SignedPayload,
    StateKept,
    StepAdopted,
)
from learning.rules.rule import Outcome
from learning.task import Float32Array, Int64Array
from learning.tasks.own_samples import OwnSamples
from node.lab.faults.gradient.conduct import Conduct, HonestConduct, Submitted
from tests.learning.evolution.exchange import GENESIS, NETWORK, signed
from tests.learning.gradient.quadratic import QuadraticTask, Shelf, attached, rules, worker_with
from tests.learning.gradient.stream import FOUR, World

ENTRIES_MAX = 40
"""More than any slate in these tests."""

SLICES = 6
"""Half of what a slate of four members takes."""

Distortion = Callable[["ScoredMember", Scores], Scores]
"""What a member submits as its scores instead of those that it has measured."""


def scored_world(members: tuple[bytes, ...] = FOUR, learning_rate: str = "0.5") -> World:
    """Half the squared distance to samples that lie together; a learning rate of 1 without noise would be there at once."""
    return World(QuadraticTask(), rules("scored", learning_rate=learning_rate), Shelf(), members)


class ScoredMember:
    """A learner and its author; keeps what it answers."""

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
        self.author = author
        self.shelf = world.shelf
        self.distortion = distortion
        everything = np.arange(len(world.task.sample_labels), dtype=np.int64)
        own = OwnSamples(world.task, everything if rows is None else rows, author)
        participant = Participant(NETWORK, author, GENESIS, world.members, is_searching)
        steps = Steps(world.task, world.rules, participant, world.shelf, own, worker_with(conduct))
        self.generations = Generations(steps, participant)
        self.learner = LineLearner(self.generations, restored)
        self.answers: list[LearnerAnswer] = []

    @property
    def model(self) -> ModelExported:
        (answer,) = self.learner.handle(ExportRequest())
        assert isinstance(answer, ModelExported)
        return answer

    @property
    def adopted(self) -> list[StepAdopted]:
        return [answer for answer in self.answers if isinstance(answer, StepAdopted)]

    @property
    def decided(self) -> list[GenerationDecided]:
        return [answer for answer in self.answers if isinstance(answer, GenerationDecided)]

    @property
    def kept(self) -> list[StateKept]:
        return [answer for answer in self.answers if isinstance(answer, StateKept)]

    @property
    def judged(self) -> list[GradientsJudged]:
        return [answer for answer in self.answers if isinstance(answer, GradientsJudged)]

    def outcomes(self, author: bytes) -> list[Outcome]:
        """What this member has told of the gradients of that author."""
        return [Outcome(one.outcome) for told in self.judged for one in told.judged if one.author == author]

    def deliver(self, *steps: DeliveredStep) -> None:
        for step in steps:
            self.answers += self.learner.handle(DeliverRequest(step))

    def work(self) -> list[SignedPayload]:
        """A few slices."""
        answers = [answer for _ in range(SLICES) for answer in self.learner.search()]
        return [self._signed(answer) for answer in answers if isinstance(answer, ContributionFound)]

    def work_until_idle(self) -> list[SignedPayload]:
        items: list[SignedPayload] = []
        while self.learner.is_searching:
            items += self.work()
        return items

    def _signed(self, found: ContributionFound) -> SignedPayload:
        payload = found.payload
        if not found.large and self.distortion is not None:
            scores = decode_scored(payload, ENTRIES_MAX)
            assert isinstance(scores, Scores)
            payload = encode_scored(self.distortion(self, scores))
        return attached(signed(self.author, found.base, payload), *(self.shelf.put(content) for content in found.large))


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


def named(item: SignedPayload) -> Submission:
    """The gradient that an honest item names."""
    submission = decode_scored(item.payload, ENTRIES_MAX)
    assert isinstance(submission, Submission)
    return submission
