"""The shape that most faults of a learner share: an honest learner, and what becomes of its answers."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

from learning.evolution.joint_blocks import (
    ClaimedList,
    decode_claimed_list,
    decode_joint_claim,
    encode_claimed_list,
    encode_joint_claim,
)
from learning.evolution.joint_submission import JointSubmission, ScoresAndList, decode_joint, encode_joint
from learning.evolution.mutation_submission import decode_submission, encode_submission
from learning.evolution.payload import Candidate, decode_candidate, decode_claim, encode_candidate, encode_claim
from learning.evolution.ranked_list import RankedList, list_length
from learning.evolution.rules import EvolutionRules, Strategy
from learning.learner import ContributionFound, Learner, LearnerAnswer, LearnerRequest, StepOffered
from learning.model_consensus.slate import Scores
from learning.task import Task
from node.lab.faults.fault import Values, has_lists
from node.rules.network_rules import Consensus, Learning


@dataclass(frozen=True, slots=True)
class LearnerSituation:
    """One faulty peer of one network that learns by evolution."""

    network_id: bytes
    author: bytes
    colluders: frozenset[bytes]
    """All liars' ids, the author's among them."""
    members: tuple[bytes, ...]
    """Of a total order; none under proof of work."""
    rules: EvolutionRules
    task: Task
    own: Learner
    """This peer's honest learner, without any fault."""
    build: Callable[[Task], Learner]
    """Another one for a task, from where this peer's own one began."""

    @property
    def has_lists(self) -> bool:
        """Whether members submit ranked lists, not candidates."""
        consensus = Consensus.TOTAL_ORDER if self.members else Consensus.PROOF_OF_WORK
        return has_lists(consensus, Learning.EVOLUTION, self.rules.strategy)


MakeLearner = Callable[[Values, Learner, LearnerSituation], Learner]


Answers = tuple[LearnerAnswer, ...]


class LearnerInterceptor(Protocol):
    """A fault."""

    def hear(self, request: LearnerRequest) -> None:
        """Take note of a request; the honest learner gets it next."""
        ...

    def say(self, answers: Answers) -> Answers:
        """What is answered, or found, in place of this."""
        ...


class InterceptedLearner:
    """Implements `learning.learner.Learner`."""

    def __init__(self, honest: Learner, interceptor: LearnerInterceptor) -> None:
        self._honest = honest
        self._interceptor = interceptor

    def handle(self, request: LearnerRequest) -> Answers:
        """What the honest part does, as the interceptor leaves it."""
        self._interceptor.hear(request)
        return self._interceptor.say(self._honest.handle(request))

    @property
    def is_scoring(self) -> bool:
        """As the honest one."""
        return self._honest.is_scoring

    @property
    def is_searching(self) -> bool:
        """As the honest one."""
        return self._honest.is_searching

    def search(self) -> Answers:
        """What the honest part does, as the interceptor leaves it."""
        return self._interceptor.say(self._honest.search())


Claimed = Candidate | ClaimedList
"""What an author offers with the fitness that he claims for it."""

Submission = Claimed | JointSubmission


class PayloadCodec:
    """Reads and writes what the learners of one network submit: candidates or ranked lists, and scores where members score."""

    def __init__(self, situation: LearnerSituation) -> None:
        self._rules = situation.rules
        self._members = len(situation.members)
        self._has_lists = situation.has_lists
        self._is_joint = situation.rules.strategy is Strategy.JOINT

    def read(self, payload: bytes) -> Submission:
        """Raises MalformedPayloadError."""
        if self._has_lists:
            return decode_joint(payload, list_length(self._rules.offspring))
        if self._members:
            return decode_submission(payload, self._rules.recipe_length_max, self._members)
        if self._is_joint:
            return decode_claimed_list(payload, list_length(self._rules.offspring))
        return decode_candidate(payload, self._rules.recipe_length_max)

    def write(self, submission: Submission) -> bytes:
        """The inverse of `read`."""
        match submission:
            case Candidate():
                return encode_submission(submission) if self._members else encode_candidate(submission)
            case ClaimedList():
                return encode_claimed_list(submission)
            case Scores() if not self._has_lists:
                return encode_submission(submission)
            case _:
                return encode_joint(submission)

    def claimed_by(self, found: ContributionFound) -> Claimed | None:
        """What our own learner has found, with its claim; None for what claims nothing."""
        submission = self.read(found.payload)
        return submission if isinstance(submission, Claimed) else None

    def with_claim_of(self, offer: StepOffered, more: Callable[[int], int]) -> StepOffered:
        """A block that claims more for its child."""
        if self._is_joint:
            joint = decode_joint_claim(offer.claim)
            return replace(offer, claim=encode_joint_claim(replace(joint, child_fitness=more(joint.child_fitness))))
        claim = decode_claim(offer.claim)
        return replace(offer, claim=encode_claim(replace(claim, child_fitness=more(claim.child_fitness))))

    def offers(self, payload: bytes) -> bool:
        """Whether it has a candidate or a list, and not scores alone. Raises MalformedPayloadError."""
        return not isinstance(self.read(payload), Scores)

    def with_list(self, found: ContributionFound, relist: Callable[[RankedList], RankedList]) -> ContributionFound:
        """What our own learner has found, with another list where it has one."""
        match self.read(found.payload):
            case RankedList() as ranked:
                return replace(found, payload=self.write(relist(ranked)))
            case ClaimedList(ranked=ranked) as claimed:
                return replace(found, payload=self.write(replace(claimed, ranked=relist(ranked))))
            case ScoresAndList(ranked=ranked) as both:
                return replace(found, payload=self.write(replace(both, ranked=relist(ranked))))
            case _:
                return found
