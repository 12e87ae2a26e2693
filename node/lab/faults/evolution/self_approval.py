"""A liar does not doubt its own lies: it passes on its candidates and builds on its blocks, whatever they measure."""

from learning.learner import (
    AssessRequest,
    CheckRequest,
    ContributionAssessed,
    LearnerAnswer,
    LearnerRequest,
    StepChecked,
    Verdict,
)
from node.lab.faults.evolution.interceptor import Answers


class OwnWorkIsGood:
    """Calls each contribution and step of its own good, but for those that cannot be applied: these stop its own learner too.

    Every request is answered before the next one, so what is remembered is the last one.
    """

    def __init__(self, author: bytes) -> None:
        self._author = author
        self._own: bytes | None = None
        """The contribution or step that is asked about, if it is ours."""

    def hear(self, request: LearnerRequest) -> None:
        """Whose work is it?"""
        match request:
            case AssessRequest(contribution):
                self._own = contribution.digest if contribution.author == self._author else None
            case CheckRequest(step):
                self._own = step.id if step.leader == self._author else None
            case _:
                self._own = None

    def say(self, answers: Answers) -> Answers:
        """Praise for our own."""
        return tuple(self._praise(answer) for answer in answers)

    def _praise(self, answer: LearnerAnswer) -> LearnerAnswer:
        match answer:
            case ContributionAssessed(digest, verdict) if digest == self._own and verdict is not Verdict.INVALID:
                return ContributionAssessed(digest, Verdict.GOOD, is_useful=True, detail="")
            case StepChecked(step, verdict) if step == self._own and verdict is not Verdict.INVALID:
                return StepChecked(step, Verdict.GOOD, is_proven_lie=False, detail="")
            case _:
                return answer
