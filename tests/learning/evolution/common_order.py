"""A total order without a network: one log of commits, which every member reads at its own pace."""

import hashlib
import random
from collections.abc import Callable, Sequence

from learning.evolution.generations import Generations
from learning.evolution.payload import Candidate
from learning.evolution.recipe import Recipe
from learning.evolution.rules import EvolutionRules, SearchSettings
from learning.evolution.scores import Scores, Submission, decode_submission, encode_submission
from learning.evolution.slate_learner import Mutations
from learning.exact import FITNESS_LOWEST, FITNESS_MAX
from learning.following.line import LineLearner
from learning.learner import (
    AdoptRequest,
    ContributionFound,
    DeliveredStep,
    DeliverRequest,
    ExportRequest,
    GenerationDecided,
    LearnerAnswer,
    ModelExported,
    Participant,
    SignedPayload,
    StateKept,
    StepAdopted,
)
from learning.task import Task
from tests.learning.evolution.exchange import GENESIS, NETWORK, RULES, SETTINGS, signed
from tests.learning.sphere import SphereTask

COMMITS_MAX = 5_000

POOR = Recipe((0,))
"""An author's first mutation, untried: the best of the 32 that an honest one tries in one generation of 32."""

Distortion = Callable[["Member", Submission], Sequence[Submission]]
"""What a member really submits instead of what its learner has found."""


def names(count: int) -> tuple[bytes, ...]:
    return tuple(bytes([number + 1]) * 32 for number in range(count))


class Member:
    """A learner and its author; keeps what it answers."""

    def __init__(
        self,
        author: bytes,
        members: tuple[bytes, ...],
        *,
        task: Task | None = None,
        rules: EvolutionRules = RULES,
        settings: SearchSettings = SETTINGS,
        restored: StateKept | None = None,
        distortion: Distortion | None = None,
    ) -> None:
        self.author = author
        self.members = members
        self.task = task or SphereTask()
        participant = Participant(NETWORK, author, GENESIS, members, settings.is_searching)
        self.mutations = Mutations(self.task, rules, participant, settings)
        self.generations = Generations(self.mutations, participant)
        self.learner = LineLearner(self.generations, restored)
        self.distortion = distortion
        self.decided: list[GenerationDecided] = []
        self.adopted: list[StepAdopted] = []
        self.kept: list[StateKept] = []
        self.others: list[LearnerAnswer] = []
        self._listen(self.learner.handle(AdoptRequest(GENESIS)))

    @property
    def height(self) -> int:
        return self.adopted[-1].height

    @property
    def model(self) -> ModelExported:
        (answer,) = self.learner.handle(ExportRequest())
        assert isinstance(answer, ModelExported)
        return answer

    def deliver(self, step: DeliveredStep) -> None:
        self._listen(self.learner.handle(DeliverRequest(step)))

    def work(self, slices: int) -> list[SignedPayload]:
        """So many slices of idle time, and what comes of them."""
        answers = [answer for _ in range(slices) for answer in self.learner.search()]
        found = [answer for answer in answers if isinstance(answer, ContributionFound)]
        return [item for answer in found for item in self._submitted(answer)]

    def work_until_idle(self) -> list[SignedPayload]:
        found: list[SignedPayload] = []
        while self.learner.is_searching:
            found += self.work(1)
        return found

    def _submitted(self, answer: ContributionFound) -> list[SignedPayload]:
        if self.distortion is None:
            return [signed(self.author, answer.base, answer.payload)]
        honest = decode_submission(answer.payload, RULES.recipe_length_max, len(self.members))
        return [signed(self.author, answer.base, encode_submission(item)) for item in self.distortion(self, honest)]

    def _listen(self, answers: tuple[LearnerAnswer, ...]) -> None:
        for answer in answers:
            match answer:
                case GenerationDecided():
                    self.decided.append(answer)
                case StepAdopted():
                    self.adopted.append(answer)
                case StateKept():
                    self.kept.append(answer)
                case _:
                    self.others.append(answer)


class CommonOrder:
    """Puts what members submit into commits, by chance, and hands these out, each member at its own time."""

    def __init__(self, members: Sequence[Member], seed: int) -> None:
        self.members = list(members)
        self.log: list[DeliveredStep] = []
        self._read = [0] * len(members)
        self._pending: list[SignedPayload] = []
        self._chance = random.Random(seed)

    def run(self, generations: int) -> None:
        """Until every member stands at this height."""
        while min(member.height for member in self.members) < generations:
            assert len(self.log) < COMMITS_MAX, "no generation is decided any more"
            for member in self.members:
                self._pending += member.work(self._chance.randrange(8))
            self._commit()
            for place in range(len(self.members)):
                self._catch_up(place, self._chance.randrange(len(self.log) + 1 - self._read[place]))
        self.catch_up()

    def submit(self, item: SignedPayload) -> None:
        self._pending.append(item)

    def catch_up(self) -> None:
        """Everybody reads to the end."""
        for place in range(len(self.members)):
            self._catch_up(place, len(self.log) - self._read[place])

    def _commit(self) -> None:
        self._chance.shuffle(self._pending)
        count = self._chance.randrange(len(self._pending) + 1)
        items, self._pending = self._pending[:count], self._pending[count:]
        self.log.append(commit(len(self.log) + 1, items))

    def _catch_up(self, place: int, commits: int) -> None:
        for _ in range(commits):
            self.members[place].deliver(self.log[self._read[place]])
            self._read[place] += 1


def commit(height: int, items: Sequence[SignedPayload]) -> DeliveredStep:
    return DeliveredStep(_id(height), _id(height - 1), height, tuple(items))


def _id(height: int) -> bytes:
    return hashlib.blake2b(height.to_bytes(8, "little"), digest_size=32).digest()


# --- members that do not keep to the rules --------------------------------------------------------------------------


def claims_perfection(_: Member, submission: Submission) -> list[Submission]:
    """A poor candidate with the highest claim."""
    if isinstance(submission, Candidate):
        return [Candidate(POOR, FITNESS_MAX)]
    return [submission]


def favours(*authors: bytes) -> Distortion:
    """Offers a poor candidate, and scores those of these authors top and all others bottom."""

    def distort(member: Member, submission: Submission) -> list[Submission]:
        if isinstance(submission, Candidate):
            return [Candidate(POOR, submission.claimed_fitness)]
        slate = member.generations.consensus.slate
        assert slate is not None
        return [Scores(submission.slate, tuple(_favour(entry.mutation, authors) for entry in slate.entries))]

    def _favour(mutation: object, favoured: tuple[bytes, ...]) -> int:
        return FITNESS_MAX if getattr(mutation, "author", None) in favoured else FITNESS_LOWEST

    return distort


def keeps_scores_back(_: Member, submission: Submission) -> list[Submission]:
    return [submission] if isinstance(submission, Candidate) else []


def says_all_twice(_: Member, submission: Submission) -> list[Submission]:
    """A second candidate, or second scores, right after the first."""
    if isinstance(submission, Candidate):
        return [submission, Candidate(submission.recipe, submission.claimed_fitness - 1)]
    return [submission, Scores(submission.slate, tuple(-value for value in submission.values))]
