"""Members of a total order that evolve, and some that do not keep to the rules."""

import random
from collections.abc import Callable, Iterable, Sequence

from learning.evolution.generations import Generations
from learning.evolution.mutation_candidates import MutationCandidates
from learning.evolution.mutation_submission import Submission, decode_submission, encode_submission
from learning.evolution.payload import Candidate
from learning.evolution.recipe import Recipe
from learning.evolution.rules import EvolutionRules
from learning.exact import FITNESS_LOWEST, FITNESS_MAX
from learning.learner import AdoptRequest, AuthoredPayload, ContributionFound, Participant, StateKept
from learning.model_consensus.slate import Scores
from learning.task import Task
from tests.learning.evolution.exchange import GENESIS, NETWORK, RULES, SETTINGS
from tests.learning.following.line_world import LineMember, Shelf, signed
from tests.learning.sphere import SphereTask

POOR = Recipe((0,))
"""An author's first mutation, untried: the best of the 32 that an honest one tries in one generation of 32."""

Distortion = Callable[["Member", Submission], Sequence[Submission]]
"""What a member really submits instead of what its learner has found."""


def names(count: int) -> tuple[bytes, ...]:
    return tuple(bytes([number + 1]) * 32 for number in range(count))


class Member(LineMember):
    """One of a network that evolves."""

    def __init__(
        self,
        author: bytes,
        members: tuple[bytes, ...],
        *,
        task: Task | None = None,
        rules: EvolutionRules = RULES,
        is_searching: bool = True,
        restored: StateKept | None = None,
        distortion: Distortion | None = None,
    ) -> None:
        self.members = members
        self.task = task or SphereTask()
        self.distortion = distortion
        participant = Participant(NETWORK, author, GENESIS, members, is_searching)
        self.mutations = MutationCandidates(self.task, rules, participant, SETTINGS)
        self.generations = Generations(self.mutations, participant)
        super().__init__(author, self.generations, Shelf(), restored)
        self.hear(self.learner.handle(AdoptRequest(GENESIS)))

    @property
    def height(self) -> int:
        return self.adopted[-1].height

    def submitted(self, found: ContributionFound) -> Iterable[AuthoredPayload]:
        """Distorted."""
        if self.distortion is None:
            return super().submitted(found)
        honest = decode_submission(found.payload, RULES.recipe_length_max, len(self.members))
        return [signed(self.author, found.base, encode_submission(item)) for item in self.distortion(self, honest)]


def some(chance: random.Random) -> int:
    """Slices of search between two commits."""
    return chance.randrange(8)


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
