"""A liar's own learner: it passes on what an honest one would not, and more often than an honest one would."""

from collections.abc import Callable

import msgspec

from learning.gradient.ledger import AggregationState, decode_submission, encode_submission
from learning.learner import AssessRequest, ContributionAssessed, ContributionFound, DeliverRequest, LearnerRequest, Verdict
from node.lab.faults.evolution.interceptor import Answers


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
            ContributionAssessed(answer.digest, Verdict.GOOD, is_useful=True, detail="")
            if isinstance(answer, ContributionAssessed) and answer.digest == self._own
            else answer
            for answer in answers
        )


class Incessant:
    """Submits its newest gradient again with every commit, on the newest model; an honest worker waits until its own has come.

    `ledger`: of its learner, now.
    """

    def __init__(self, ledger: Callable[[], AggregationState]) -> None:
        self._ledger = ledger
        self._newest: ContributionFound | None = None
        self._commit: bytes | None = None

    def hear(self, request: LearnerRequest) -> None:
        """Is it a commit?"""
        self._commit = request.step.id if isinstance(request, DeliverRequest) else None

    def say(self, answers: Answers) -> Answers:
        """And one gradient more, once there is any."""
        for answer in answers:
            if isinstance(answer, ContributionFound):
                self._newest = answer
        if self._commit is None or self._newest is None:
            return answers
        submission, ledger = decode_submission(self._newest.payload), self._ledger()
        assert submission is not None, "our own"
        again = msgspec.structs.replace(submission, base=ledger.version, base_digest=ledger.digest)
        found = ContributionFound(self._commit, encode_submission(again), self._newest.large, self._newest.digests)
        self._commit = None
        return (*answers, found)
