"""What a node does around a block learner, without the network: sign findings, turn offers into blocks, hand them round."""

import hashlib
from dataclasses import dataclass, replace

import numpy as np

from learning.gradient.block_learner import BlockLearner
from learning.gradient.blocks import BlockState, Scribe
from learning.gradient.ledger import Clerk, Gradients, first_ledger
from learning.gradient.rules import GradientRules
from learning.learner import (
    AdoptRequest,
    AssessRequest,
    CheckRequest,
    ContributionAssessed,
    ContributionFound,
    FinaliseRequest,
    GradientsJudged,
    Judgement,
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
from learning.rules.rule import Group
from learning.state import genesis_state
from learning.tasks.own_samples import OwnSamples
from node.lab.faults.gradient.conduct import Conduct
from tests.learning.evolution.exchange import GENESIS, NETWORK, signed
from tests.learning.gradient.quadratic import (
    LAYOUT,
    SAMPLES,
    QuadraticTask,
    Shelf,
    attached,
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
        self._scribe = Scribe(Clerk(LAYOUT, world.rules.ledger_rules(), rule), world.shelf, world.rules.workers_window)
        self.states = {GENESIS: BlockState(first_ledger(genesis_state(NETWORK, LAYOUT).parameters, rule), ())}
        self.heights = {GENESIS: 0}

    def block(self, parent: bytes, leader: bytes, *contributions: SignedPayload) -> ProposedStep:
        height = self.heights[parent] + 1
        state = self._scribe.applied(self.states[parent], block_of(parent, height, leader, contributions, b""))
        step = block_of(parent, height, leader, contributions, state.digest)
        self.states[step.id], self.heights[step.id] = state, height
        return step

    def group(self, step: ProposedStep) -> Group:
        """The workers after it."""
        return self._scribe.group(self.states[step.id])

    def path(self, parent: bytes, *leaders: bytes) -> list[ProposedStep]:
        """Empty blocks by these leaders."""
        blocks: list[ProposedStep] = []
        for leader in leaders:
            blocks.append(self.block(blocks[-1].id if blocks else parent, leader))
        return blocks

    def contribution(self, author: bytes, base: bytes, value: float = 0.5) -> SignedPayload:
        """A gradient on the model after this block, of equal components."""
        ledger = self.states[base].ledger
        return submitted(author, ledger.version, ledger.digest, encoded_gradient(value), self.world.shelf, base)


def block_of(
    parent: bytes, height: int, leader: bytes, contributions: tuple[SignedPayload, ...], state_digest: bytes
) -> ProposedStep:
    content = parent + leader + b"".join(item.digest for item in contributions) + state_digest
    block = hashlib.blake2b(content, digest_size=32).digest()
    return ProposedStep(block, parent, height, leader, contributions, b"", state_digest)


class Peer:
    """A learner and its author; keeps what it answers."""

    def __init__(
        self,
        world: World,
        author: bytes,
        *,
        restored: StateKept | None = None,
        conduct: Conduct | None = None,
        gradients: Gradients | None = None,
    ) -> None:
        self.world = world
        self.author = author
        task = QuadraticTask()
        rows = OwnSamples(task, np.arange(SAMPLES, dtype=np.int64), author)
        shelf, worker = gradients or world.shelf, worker_with(conduct)
        self.learner = BlockLearner(task, world.rules, Participant(NETWORK, author, GENESIS), shelf, rows, restored, worker)
        self.offers: dict[bytes, StepOffered] = {}
        self.contributions: dict[bytes, SignedPayload] = {}
        self.judged: list[GradientsJudged] = []
        self.kept: list[StateKept] = []

    def ask(self, request: LearnerRequest) -> tuple[LearnerAnswer, ...]:
        answers = self.learner.handle(request)
        self.offers.update({answer.base: answer for answer in answers if isinstance(answer, StepOffered)})
        self.judged += [answer for answer in answers if isinstance(answer, GradientsJudged)]
        self.kept += [answer for answer in answers if isinstance(answer, StateKept)]
        return answers

    def check(self, step: ProposedStep) -> StepChecked:
        (answer,) = self.ask(CheckRequest(step))
        assert isinstance(answer, StepChecked)
        return answer

    def adopt(self, step: bytes) -> StepAdopted:
        answer = self.ask(AdoptRequest(step))[0]
        assert isinstance(answer, StepAdopted)
        return answer

    def follow(self, *steps: ProposedStep) -> "Peer":
        """Check and adopt these, one after the other."""
        for step in steps:
            assert self.check(step) == StepChecked(step.id, Judgement.GOOD, False, "")
            self.adopt(step.id)
        return self

    def finalise(self, step: bytes) -> tuple[LearnerAnswer, ...]:
        return self.ask(FinaliseRequest(step))

    def assess(self, contribution: SignedPayload) -> ContributionAssessed:
        self.contributions[contribution.digest] = contribution
        answer = self.ask(AssessRequest(contribution))[0]
        assert isinstance(answer, ContributionAssessed)
        return answer

    def work(self) -> list[SignedPayload]:
        found = [answer for answer in self.learner.search() if isinstance(answer, ContributionFound)]
        return [self._signed(answer) for answer in found]

    def lead(self, base: bytes, height: int) -> ProposedStep:
        """The block that this peer's newest offer for `base` makes."""
        offer = self.offers[base]
        contributions = tuple(self.contributions[digest] for digest in offer.contributions)
        return replace(block_of(base, height, self.author, contributions, offer.state_digest), claim=offer.claim)

    def _signed(self, found: ContributionFound) -> SignedPayload:
        large = [self.world.shelf.put(content) for content in found.large]
        return attached(signed(self.author, found.base, found.payload), *large)
