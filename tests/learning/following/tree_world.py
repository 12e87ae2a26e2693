"""What a node does around a learner under proof of work, without the network: sign findings, turn offers into steps."""

import hashlib

from learning.learner import (
    AdoptRequest,
    AssessRequest,
    AuthoredPayload,
    CheckRequest,
    ContributionAssessed,
    ContributionFound,
    ExportRequest,
    FinaliseRequest,
    GradientsReport,
    Learner,
    LearnerAnswer,
    LearnerRequest,
    ModelExported,
    ProposedStep,
    StateKept,
    StepAdopted,
    StepChecked,
    StepOffered,
    Verdict,
)
from tests.learning.following.line_world import Shelf, attached, signed


class TreePeer:
    """A learner and its author; keeps what it offers and answers."""

    def __init__(self, author: bytes, learner: Learner, shelf: Shelf) -> None:
        self.author = author
        self.shelf = shelf
        self.learner = learner
        self.answers: list[LearnerAnswer] = []
        self.offers: dict[bytes, StepOffered] = {}
        self.contributions: dict[bytes, AuthoredPayload] = {}

    @property
    def judged(self) -> list[GradientsReport]:
        return [answer for answer in self.answers if isinstance(answer, GradientsReport)]

    @property
    def kept(self) -> list[StateKept]:
        return [answer for answer in self.answers if isinstance(answer, StateKept)]

    def ask(self, request: LearnerRequest) -> tuple[LearnerAnswer, ...]:
        answers = self.learner.handle(request)
        self.answers += answers
        self.offers.update({answer.base: answer for answer in answers if isinstance(answer, StepOffered)})
        return answers

    def check(self, step: ProposedStep) -> StepChecked:
        (answer,) = self.ask(CheckRequest(step))
        assert isinstance(answer, StepChecked)
        return answer

    def adopt(self, step: bytes) -> StepAdopted:
        answer = self.ask(AdoptRequest(step))[0]
        assert isinstance(answer, StepAdopted)
        return answer

    def follow(self, *steps: ProposedStep) -> "TreePeer":
        """Check and adopt these, one after the other."""
        for step in steps:
            assert self.check(step) == StepChecked(step.id, Verdict.GOOD, False, "")
            self.adopt(step.id)
        return self

    def finalise(self, step: bytes) -> tuple[LearnerAnswer, ...]:
        return self.ask(FinaliseRequest(step))

    def exported(self, *, is_final: bool = False) -> ModelExported:
        (answer,) = self.ask(ExportRequest(is_final))
        assert isinstance(answer, ModelExported)
        return answer

    def assess(self, contribution: AuthoredPayload) -> ContributionAssessed:
        self.contributions[contribution.digest] = contribution
        answer = self.ask(AssessRequest(contribution))[0]
        assert isinstance(answer, ContributionAssessed)
        return answer

    def work(self, slices: int = 1) -> list[AuthoredPayload]:
        """What so many slices of search find, signed."""
        answers = [answer for _ in range(slices) for answer in self.learner.search()]
        self.offers.update({answer.base: answer for answer in answers if isinstance(answer, StepOffered)})
        return [self._signed(answer) for answer in answers if isinstance(answer, ContributionFound)]

    def lead(self, base: bytes, height: int) -> ProposedStep:
        """The step that this peer's newest offer for `base` makes."""
        offer = self.offers[base]
        contributions = tuple(self.contributions[digest] for digest in offer.contributions)
        return step_of(base, height, self.author, contributions, offer.state_digest, offer.claim)

    def _signed(self, found: ContributionFound) -> AuthoredPayload:
        large = [self.shelf.put(content) for content in found.large]
        return attached(signed(self.author, found.base, found.payload), *large)


def step_of(  # noqa: PLR0917 - each is another thing
    parent: bytes,
    height: int,
    leader: bytes,
    contributions: tuple[AuthoredPayload, ...],
    state_digest: bytes,
    claim: bytes = b"",
) -> ProposedStep:
    content = parent + leader + b"".join(item.digest for item in contributions) + claim + state_digest
    step = hashlib.blake2b(content, digest_size=32).digest()
    return ProposedStep(step, parent, height, leader, contributions, claim, state_digest)
