"""A total order of gradients without a network: one log of commits, which every member reads at its own pace."""

import hashlib
import random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from learning.following.line import LineLearner
from learning.gradient.ledger import ledger_digest
from learning.gradient.rules import GradientRules
from learning.gradient.stream_learner import GradientStream
from learning.learner import (
    ContributionFound,
    DeliveredStep,
    DeliverRequest,
    GradientsJudged,
    LearnerAnswer,
    Participant,
    SignedPayload,
    StateKept,
    StepAdopted,
)
from learning.task import DifferentiableTask
from learning.tasks.own_samples import OwnSamples
from node.lab.faults.gradient.conduct import Conduct
from tests.learning.evolution.exchange import GENESIS, NETWORK, signed
from tests.learning.gradient.quadratic import QuadraticTask, Shelf, attached, rules, worker_with

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


class Member:
    """A learner and its author; keeps what it answers."""

    def __init__(
        self,
        world: World,
        author: bytes,
        *,
        restored: StateKept | None = None,
        is_searching: bool = True,
        conduct: Conduct | None = None,
    ) -> None:
        self.author = author
        self.shelf = world.shelf
        rows = OwnSamples(world.task, np.arange(len(world.task.sample_labels), dtype=np.int64), author)
        participant = Participant(NETWORK, author, GENESIS, world.members, is_searching)
        self.stream = GradientStream(world.task, world.rules, participant, world.shelf, rows, worker_with(conduct))
        self.learner = LineLearner(self.stream, restored)
        self.answers: list[LearnerAnswer] = []

    @property
    def digest(self) -> bytes:
        return ledger_digest(self.stream.ledger)

    @property
    def adopted(self) -> list[StepAdopted]:
        return [answer for answer in self.answers if isinstance(answer, StepAdopted)]

    @property
    def kept(self) -> list[StateKept]:
        return [answer for answer in self.answers if isinstance(answer, StateKept)]

    @property
    def judged(self) -> list[GradientsJudged]:
        return [answer for answer in self.answers if isinstance(answer, GradientsJudged)]

    def deliver(self, *steps: DeliveredStep) -> None:
        for step in steps:
            self.answers += self.learner.handle(DeliverRequest(step))

    def work(self) -> list[SignedPayload]:
        found = [answer for answer in self.learner.search() if isinstance(answer, ContributionFound)]
        return [self._signed(answer) for answer in found]

    def _signed(self, found: ContributionFound) -> SignedPayload:
        return attached(signed(self.author, found.base, found.payload), *(self.shelf.put(content) for content in found.large))


class Order:
    """Commits what members submit, in any batches; each member reads when chance lets it."""

    def __init__(self, members: Sequence[Member], seed: int) -> None:
        self.members = list(members)
        self.log: list[DeliveredStep] = []
        self.pending: list[SignedPayload] = []
        self._chance = random.Random(seed)
        self._read = {id(member): 0 for member in members}

    def run(self, commits: int) -> None:
        for _ in range(commits):
            for member in self.members:
                self.pending += member.work() if self._chance.random() < 0.7 else []
            self._chance.shuffle(self.pending)
            self.commit(self._chance.randrange(len(self.pending) + 1))
            for member in self.members:
                self._read_on(member, self._chance.randrange(len(self.log) + 1 - self._read[id(member)]))
        self.catch_up()

    def commit(self, count: int) -> None:
        items, self.pending = self.pending[:count], self.pending[count:]
        self.log.append(commit(len(self.log) + 1, items))

    def catch_up(self) -> None:
        for member in self.members:
            self._read_on(member, len(self.log) - self._read[id(member)])

    def _read_on(self, member: Member, commits: int) -> None:
        first = self._read[id(member)]
        member.deliver(*self.log[first : first + commits])
        self._read[id(member)] = first + commits


def commit(height: int, items: Sequence[SignedPayload]) -> DeliveredStep:
    return DeliveredStep(commit_id(height), commit_id(height - 1), height, tuple(items))


def commit_id(height: int) -> bytes:
    return hashlib.blake2b(height.to_bytes(8, "little"), digest_size=32).digest()
