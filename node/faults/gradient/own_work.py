"""A liar tells everybody what its own learner would not pass on: gradients that nobody can decode."""

from learning.learner import AssessRequest, ContributionAssessed, Judgement, LearnerRequest
from node.faults.evolution.bend import Answers


class OwnGradientsAreGood:
    """Calls each contribution of its own good. Every request is answered before the next one."""

    def __init__(self, author: bytes) -> None:
        self._author = author
        self._own: bytes | None = None
        """The contribution that is asked about, if it is ours."""

    def hear(self, request: LearnerRequest) -> None:
        """Whose is it?"""
        is_own = isinstance(request, AssessRequest) and request.contribution.author == self._author
        self._own = request.contribution.digest if isinstance(request, AssessRequest) and is_own else None

    def say(self, answers: Answers) -> Answers:
        """Praise for our own."""
        return tuple(
            ContributionAssessed(answer.digest, Judgement.GOOD, is_useful=True, detail="")
            if isinstance(answer, ContributionAssessed) and answer.digest == self._own
            else answer
            for answer in answers
        )
