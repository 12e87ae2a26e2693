"""What a node does around a learner, without the network: sign findings, turn offers into steps, hand them round."""

import hashlib

from learning.evolution.learner import EvolutionLearner
from learning.evolution.rules import EvolutionRules, SearchSettings
from learning.learner import (
    AdoptRequest,
    AssessRequest,
    CheckRequest,
    ContributionAssessed,
    ContributionFound,
    LearnerAnswer,
    LearnerRequest,
    Participant,
    ProposedStep,
    SignedPayload,
    StateKept,
    StepAdopted,
    StepChecked,
    StepOffered,
)
from learning.task import Task
from tests.learning.sphere import SphereTask

NETWORK = b"n" * 32
GENESIS = b"g" * 32
ALICE = b"a" * 32
BOB = b"b" * 32
RULES = EvolutionRules(
    offspring=32,
    recipe_length_max=1,
    step_size="0.03",
    step_size_factor="0.99",
    step_size_floor="0.001",
    fitness_tolerance=10,
    regression_allowed=0,
)
SETTINGS = SearchSettings(race_samples=16, finalists=4, chunk=8)
SLICES_MAX = 2_000


def signed(author: bytes, base: bytes, payload: bytes) -> SignedPayload:
    return SignedPayload(hashlib.blake2b(author + base + payload, digest_size=32).digest(), author, base, payload)


class Peer:
    """A learner and its author; keeps what it offers."""

    def __init__(
        self,
        author: bytes,
        rules: EvolutionRules = RULES,
        settings: SearchSettings = SETTINGS,
        task: Task | None = None,
        restored: StateKept | None = None,
    ) -> None:
        self.author = author
        self.task = task or SphereTask()
        self.learner = EvolutionLearner(self.task, rules, Participant(NETWORK, author, GENESIS), settings, restored)
        self.offers: dict[bytes, StepOffered] = {}
        self.contributions: dict[bytes, SignedPayload] = {}

    def ask(self, request: LearnerRequest) -> tuple[LearnerAnswer, ...]:
        answers = self.learner.handle(request)
        self.offers.update({answer.base: answer for answer in answers if isinstance(answer, StepOffered)})
        return answers

    def adopt(self, step: bytes) -> StepAdopted:
        answer = self.ask(AdoptRequest(step))[0]
        assert isinstance(answer, StepAdopted)
        return answer

    def assess(self, contribution: SignedPayload) -> ContributionAssessed:
        self.contributions[contribution.digest] = contribution
        answer = self.ask(AssessRequest(contribution))[0]
        assert isinstance(answer, ContributionAssessed)
        return answer

    def check(self, step: ProposedStep) -> StepChecked:
        (answer,) = self.ask(CheckRequest(step))
        assert isinstance(answer, StepChecked)
        return answer

    def explore(self, slices: int) -> list[SignedPayload]:
        """What so many slices of search find, signed."""
        answers = [answer for _ in range(slices) for answer in self.learner.search()]
        found = [answer for answer in answers if isinstance(answer, ContributionFound)]
        return [signed(self.author, finding.base, finding.payload) for finding in found]

    def find(self) -> SignedPayload:
        """Search until something is found."""
        for _ in range(SLICES_MAX):
            if found := self.explore(1):
                return found[0]
        raise AssertionError("nothing found")

    def lead(self, base: bytes, height: int) -> ProposedStep:
        """The step that this peer's newest offer for `base` makes."""
        offer = self.offers[base]
        contributions = tuple(self.contributions[digest] for digest in offer.contributions)
        content = base + b"".join(offer.contributions) + offer.claim + offer.state_digest
        return ProposedStep(
            hashlib.blake2b(content, digest_size=32).digest(),
            base,
            height,
            self.author,
            contributions,
            offer.claim,
            offer.state_digest,
        )


def grown(peer: Peer, generations: int) -> list[ProposedStep]:
    """The path that one peer makes by itself from genesis, each step checked and adopted by it."""
    path: list[ProposedStep] = []
    head = GENESIS
    peer.adopt(head)
    for height in range(1, generations + 1):
        peer.assess(peer.find())
        path.append(peer.lead(head, height))
        head = path[-1].id
        peer.check(path[-1])
        peer.adopt(head)
    return path
