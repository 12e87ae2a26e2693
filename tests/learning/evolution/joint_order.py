"""Members of a total order that learn by the joint rule, and some that do not keep to it."""

from collections.abc import Callable, Iterable
from dataclasses import replace

from msgspec import structs

from learning.evolution.joint_learner import JointGenerations
from learning.evolution.joint_submission import JointSubmission, ScoresAndList, decode_joint, encode_joint
from learning.evolution.ranked_list import RankedList, list_length
from learning.evolution.rules import EvolutionRules
from learning.evolution.search import SearchSettings
from learning.exact import FITNESS_LOWEST, FITNESS_MAX
from learning.learner import AdoptRequest, AuthoredPayload, ContributionFound, Participant, StateKept
from learning.model_consensus.slate import Scores
from learning.task import Task
from tests.learning.evolution.exchange import GENESIS, NETWORK, RULES
from tests.learning.following.line_world import LineMember, Shelf, signed
from tests.learning.sphere import SphereTask

JOINT_RULES = structs.replace(RULES, offspring=12, step_size_factor="1", step_size_floor="0.03", regression_allowed=-1)
JOINT_SETTINGS = SearchSettings(rank_samples=16, chunk=8)

Distortion = Callable[["JointMember", JointSubmission], Iterable[JointSubmission]]
"""What a member really submits instead of what its learner has found."""


class JointMember(LineMember):
    """One of a network that evolves jointly."""

    def __init__(
        self,
        author: bytes,
        members: tuple[bytes, ...],
        *,
        task: Task | None = None,
        rules: EvolutionRules = JOINT_RULES,
        settings: SearchSettings = JOINT_SETTINGS,
        restored: StateKept | None = None,
        is_searching: bool = True,
        distortion: Distortion | None = None,
    ) -> None:
        self.task = task or SphereTask()
        self.distortion = distortion
        self.list_length = list_length(rules.offspring)
        participant = Participant(NETWORK, author, GENESIS, members, is_searching)
        self.generations = JointGenerations(self.task, rules, participant, settings)
        super().__init__(author, self.generations, Shelf(), restored)
        self.answers += self.learner.handle(AdoptRequest(GENESIS))

    def submitted(self, found: ContributionFound) -> Iterable[AuthoredPayload]:
        """Distorted."""
        if self.distortion is None:
            return super().submitted(found)
        honest = decode_joint(found.payload, self.list_length)
        return [signed(self.author, found.base, encode_joint(said)) for said in self.distortion(self, honest)]


# --- members that do not keep to the rules ------------------------------------------------------------------------------


def reverses_lists(_: JointMember, submission: JointSubmission) -> list[JointSubmission]:
    """The worst first: its direction leads away from where all others go."""
    match submission:
        case RankedList(indices):
            return [RankedList(indices[::-1])]
        case ScoresAndList(scores, winner, ranked):
            return [ScoresAndList(scores, winner, RankedList(ranked.indices[::-1]))]
        case Scores():
            return [submission]


def scores_backwards(member: JointMember, submission: JointSubmission) -> list[JointSubmission]:
    """A reversed list, and scores in which the worst is the best."""
    (reversed_one,) = reverses_lists(member, submission)
    if not isinstance(reversed_one, ScoresAndList):
        return [reversed_one]
    scores = reversed_one.scores
    values = tuple(max(FITNESS_LOWEST, min(FITNESS_MAX, -value)) for value in scores.values)
    return [replace(reversed_one, scores=replace(scores, values=values))]


def expects_another_winner(_: JointMember, submission: JointSubmission) -> list[JointSubmission]:
    """Its lists are for models that do not come."""
    if not isinstance(submission, ScoresAndList):
        return [submission]
    return [replace(submission, winner=(submission.winner + 1) % len(submission.scores.values))]


def keeps_scores_back(_: JointMember, submission: JointSubmission) -> list[JointSubmission]:
    return [] if isinstance(submission, ScoresAndList) else [submission]


def says_all_twice(_: JointMember, submission: JointSubmission) -> list[JointSubmission]:
    return [submission, submission]


def says_nothing(_: JointMember, submission: JointSubmission) -> list[JointSubmission]:
    return []
