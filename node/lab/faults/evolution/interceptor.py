"""The shape that most faults of a learner share: an honest learner, and what becomes of its answers."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from learning.evolution.mutation_submission import decode_submission, encode_submission
from learning.evolution.payload import Candidate, decode_candidate, encode_candidate
from learning.evolution.rules import EvolutionRules
from learning.learner import ContributionFound, Learner, LearnerAnswer, LearnerRequest
from learning.model_consensus.slate import Scores
from learning.task import Task
from node.lab.faults.fault import Values


@dataclass(frozen=True, slots=True)
class LearnerSituation:
    """One faulty peer of one network that learns by evolution."""

    author: bytes
    colluders: frozenset[bytes]
    """All liars' ids, the author's among them."""
    members: tuple[bytes, ...]
    """Of a total order; none under proof of work."""
    rules: EvolutionRules
    task: Task
    build: Callable[[Task], Learner]
    """An honest learner of this peer for a task, from where this peer's own one began."""


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
    def is_searching(self) -> bool:
        """As the honest one."""
        return self._honest.is_searching

    def search(self) -> Answers:
        """What the honest part does, as the interceptor leaves it."""
        return self._interceptor.say(self._honest.search())


class PayloadCodec:
    """Reads and writes what the learners of one network submit: candidates, and scores where members score."""

    def __init__(self, situation: LearnerSituation) -> None:
        self._recipe_length_max = situation.rules.recipe_length_max
        self._members = len(situation.members)

    def read(self, payload: bytes) -> Candidate | Scores:
        """Raises MalformedPayloadError."""
        if self._members:
            return decode_submission(payload, self._recipe_length_max, self._members)
        return decode_candidate(payload, self._recipe_length_max)

    def write(self, submission: Candidate | Scores) -> bytes:
        """The inverse of `read`."""
        if self._members or isinstance(submission, Scores):
            return encode_submission(submission)
        return encode_candidate(submission)

    def candidate_of(self, found: ContributionFound) -> Candidate | None:
        """What our own learner has found; None for scores."""
        submission = self.read(found.payload)
        return submission if isinstance(submission, Candidate) else None
