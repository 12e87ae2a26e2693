"""Lies about what others' candidates are worth (total order only): a median over honest majorities bounds them.

Source: the scores of model-consensus (arXiv 2304.13540), and the median that decides over them.
"""

from collections.abc import Callable
from dataclasses import replace

from learning.evolution.payload import Candidate
from learning.exact import FITNESS_LOWEST, FITNESS_MAX
from learning.learner import AuthoredPayload, ContributionFound, DeliverRequest, LearnerAnswer, LearnerRequest
from learning.model_consensus.slate import MalformedPayloadError, Scores
from node.common.bounded import BoundedMap
from node.lab.faults.evolution.interceptor import Answers, PayloadCodec

GENERATIONS_MAX = 8
"""Models whose candidates are remembered; scores are due for the newest alone."""


class ScoresInverted:
    """Scores the best as the worst and the worst as the best, within the range that it measured. Powers: none."""

    def __init__(self, payloads: PayloadCodec) -> None:
        self._payloads = payloads

    def hear(self, request: LearnerRequest) -> None:
        """Nothing of interest."""

    def say(self, answers: Answers) -> Answers:
        """Scores upside down."""
        return _rescore(answers, self._payloads, lambda _, values: tuple(max(values) + min(values) - one for one in values))


class ColludingScorers:
    """Scores the candidates of all liars as high as can be, all others as low. Powers: who the other liars are."""

    def __init__(self, colluders: frozenset[bytes], payloads: PayloadCodec) -> None:
        self._colluders = colluders
        self._payloads = payloads
        self._authors: BoundedMap[bytes, tuple[bytes, ...]] = BoundedMap(GENERATIONS_MAX)
        """Who has put up a candidate, by generation, in the order of delivery; the slate holds the first of them."""

    def hear(self, request: LearnerRequest) -> None:
        """Whose candidates are delivered?"""
        if isinstance(request, DeliverRequest):
            for item in request.step.items:
                self._note(item)

    def say(self, answers: Answers) -> Answers:
        """Scores by author."""
        return _rescore(answers, self._payloads, self._scores_of)

    def _scores_of(self, generation: bytes, values: tuple[int, ...]) -> tuple[int, ...]:
        """The slate's first entry is the parent, then come the authors."""
        authors = (None, *(self._authors.get(generation) or ()))[: len(values)]
        return tuple(FITNESS_MAX if author in self._colluders else FITNESS_LOWEST for author in authors)

    def _note(self, item: AuthoredPayload) -> None:
        try:
            submission = self._payloads.read(item.payload)
        except MalformedPayloadError:  # another liar's
            return
        if not isinstance(submission, Candidate):
            return
        authors = self._authors.get(item.base) or ()
        if item.author not in authors:
            self._authors[item.base] = (*authors, item.author)


Rescore = Callable[[bytes, tuple[int, ...]], tuple[int, ...]]
"""From a generation and its scores, in the order of the slate, to others."""


def _rescore(answers: Answers, payloads: PayloadCodec, rescore: Rescore) -> Answers:
    return tuple(_with_scores(answer, payloads, rescore) for answer in answers)


def _with_scores(answer: LearnerAnswer, payloads: PayloadCodec, rescore: Rescore) -> LearnerAnswer:
    if not isinstance(answer, ContributionFound):
        return answer
    submission = payloads.read(answer.payload)
    if not isinstance(submission, Scores):
        return answer
    return replace(answer, payload=payloads.write(replace(submission, values=rescore(answer.base, submission.values))))
