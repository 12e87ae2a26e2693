"""A total order without a network: one log of commits, which every member reads at its own pace."""

import hashlib
import random
from collections.abc import Callable, Iterable, Sequence

from learning.aggregation.quantised import payload_digest
from learning.aggregation.rule import GradientOutcome
from learning.following.line import Follower, LineLearner
from learning.learner import (
    AuthoredPayload,
    ContributionFound,
    DeliveredStep,
    DeliverRequest,
    ExportRequest,
    GenerationDecided,
    GradientsReport,
    LearnerAnswer,
    ModelExported,
    OwnPartDue,
    StateKept,
    StepAdopted,
)

COMMITS_MAX = 5_000


class Shelf:
    """Large payloads by digest: what a node's store is to its learner."""

    def __init__(self) -> None:
        self.held: dict[bytes, bytes] = {}
        self.reads = 0

    def put(self, encoded: bytes) -> tuple[bytes, int]:
        digest = payload_digest(encoded)
        self.held[digest] = encoded
        return digest, len(encoded)

    def payload(self, digest: bytes) -> bytes | None:
        self.reads += 1
        return self.held.get(digest)


class LineMember:
    """A learner and its author; keeps what it answers to commits, and, apart, what it says of its own part: that is its own."""

    def __init__(self, author: bytes, follower: Follower, shelf: Shelf, restored: StateKept | None = None) -> None:
        self.author = author
        self.shelf = shelf
        self.learner = LineLearner(follower, restored)
        self.answers: list[LearnerAnswer] = []
        self.parts_due: list[bool] = []

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
    def judged(self) -> list[GradientsReport]:
        return [answer for answer in self.answers if isinstance(answer, GradientsReport)]

    def outcomes(self, *authors: bytes) -> list[GradientOutcome]:
        """What this member has told of the gradients of these authors, or of all."""
        rows = (one for told in self.judged for one in told.judged)
        return [GradientOutcome(one.outcome) for one in rows if one.author in authors or not authors]

    def deliver(self, *steps: DeliveredStep) -> None:
        for step in steps:
            self.hear(self.learner.handle(DeliverRequest(step)))

    def hear(self, answers: tuple[LearnerAnswer, ...]) -> None:
        """Keep them."""
        self.answers += [answer for answer in answers if not isinstance(answer, OwnPartDue)]
        self.parts_due += [answer.is_due for answer in answers if isinstance(answer, OwnPartDue)]

    def work(self, slices: int = 1) -> list[AuthoredPayload]:
        """So many slices of idle time, and what comes of them."""
        answers = [answer for _ in range(slices) for answer in self.learner.search()]
        self.parts_due += [answer.is_due for answer in answers if isinstance(answer, OwnPartDue)]
        found = [answer for answer in answers if isinstance(answer, ContributionFound)]
        return [item for answer in found for item in self.submitted(answer)]

    def work_until_idle(self) -> list[AuthoredPayload]:
        items: list[AuthoredPayload] = []
        while self.learner.is_searching:
            items += self.work()
        return items

    def submitted(self, found: ContributionFound) -> Iterable[AuthoredPayload]:
        """An honest member signs what its learner has found."""
        item = signed(self.author, found.base, found.payload)
        return [attached(item, *(self.shelf.put(content) for content in found.large))]


Slices = Callable[[random.Random], int]
"""How much idle time a member has between two commits."""


class Order:
    """Commits what members submit, in any batches; each member reads when chance lets it."""

    def __init__(self, members: Sequence[LineMember], seed: int, slices: Slices) -> None:
        self.members = list(members)
        self.log: list[DeliveredStep] = []
        self.pending: list[AuthoredPayload] = []
        self._chance = random.Random(seed)
        self._slices = slices
        self._read = [0] * len(members)

    def run(self, commits: int) -> None:
        """So many commits, which all have read in the end."""
        for _ in range(commits):
            self._turn()
        self.catch_up()

    def run_to(self, height: int) -> None:
        """Until every member's model has this height, and all have read to the end."""
        while min(member.learner.follower.head.model.height for member in self.members) < height:
            assert len(self.log) < COMMITS_MAX, "the model does not move any more"
            self._turn()
        self.catch_up()

    def _turn(self) -> None:
        for member in self.members:
            self.pending += member.work(self._slices(self._chance))
        self._chance.shuffle(self.pending)
        count = self._chance.randrange(len(self.pending) + 1)
        items, self.pending = self.pending[:count], self.pending[count:]
        self.log.append(commit(len(self.log) + 1, items))
        for place in range(len(self.members)):
            self._read_on(place, self._chance.randrange(len(self.log) + 1 - self._read[place]))

    def catch_up(self) -> None:
        for place in range(len(self.members)):
            self._read_on(place, len(self.log) - self._read[place])

    def replace(self, place: int, member: LineMember) -> None:
        """By one that has read all there is."""
        self.members[place], self._read[place] = member, len(self.log)

    def _read_on(self, place: int, commits: int) -> None:
        first = self._read[place]
        self.members[place].deliver(*self.log[first : first + commits])
        self._read[place] = first + commits


def signed(author: bytes, base: bytes, payload: bytes) -> AuthoredPayload:
    return AuthoredPayload(hashlib.blake2b(author + base + payload, digest_size=32).digest(), author, base, payload)


def attached(item: AuthoredPayload, *large: tuple[bytes, int]) -> AuthoredPayload:
    return AuthoredPayload(item.digest, item.author, item.base, item.payload, large)


def commit(height: int, items: Sequence[AuthoredPayload]) -> DeliveredStep:
    return DeliveredStep(commit_id(height), commit_id(height - 1), height, tuple(items))


def commit_id(height: int) -> bytes:
    return hashlib.blake2b(height.to_bytes(8, "little"), digest_size=32).digest()
