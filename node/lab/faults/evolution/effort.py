"""Peers that do not look for what is best: one does not look, the other looks for the worst."""

from collections.abc import Mapping
from dataclasses import replace

from learning.evolution.joint_submission import ScoresAndList
from learning.learner import ContributionFound, Learner, LearnerAnswer, LearnerRequest
from learning.task import Float32Array, Float64Array, Int64Array, Layout, Task
from node.lab.faults.evolution.interceptor import Answers, PayloadCodec


class FreeRider:
    """Never searches, and follows what the others find; it leads blocks, or scores, as if it had a part in them.

    Powers: none. Implements `learning.learner.Learner`.
    """

    def __init__(self, honest: Learner, payloads: PayloadCodec, *, goes_on: bool) -> None:
        """A learner that would not score, or not join others' lists, if it did not search, goes on; its offers are dropped."""
        self._honest = honest
        self._payloads = payloads
        self._goes_on = goes_on

    def handle(self, request: LearnerRequest) -> Answers:
        """As an honest learner."""
        return self._honest.handle(request)

    @property
    def is_scoring(self) -> bool:
        """As the honest one."""
        return self._honest.is_scoring

    @property
    def is_searching(self) -> bool:
        """Only where there is anything else to do."""
        return self._goes_on and self._honest.is_searching

    def search(self) -> Answers:
        """All but candidates and lists."""
        return tuple(answer for found in self._honest.search() for answer in self._without_offer(found))

    def _without_offer(self, answer: LearnerAnswer) -> Answers:
        if not isinstance(answer, ContributionFound) or not self._payloads.offers(answer.payload):
            return (answer,)
        both = self._payloads.read(answer.payload)
        return (replace(answer, payload=self._payloads.write(both.scores)),) if isinstance(both, ScoresAndList) else ()


class WorstCandidate:
    """Submits the worst candidate that it can find, and claims what it measures, so that nobody can blame it.

    Two honest learners: one judges; the other searches with all fitness reversed, and nothing but its candidates is told.
    Powers: twice the memory and time. Implements `learning.learner.Learner`.
    """

    def __init__(self, honest: Learner, reversed_one: Learner, payloads: PayloadCodec) -> None:
        self._honest = honest
        self._reversed = reversed_one
        self._payloads = payloads

    def handle(self, request: LearnerRequest) -> Answers:
        """The honest one's answers; the other one follows."""
        answers = self._honest.handle(request)
        return (*self._without_candidates(answers), *self._worst(self._reversed.handle(request)))

    @property
    def is_scoring(self) -> bool:
        """As the honest one."""
        return self._honest.is_scoring

    @property
    def is_searching(self) -> bool:
        """Whether either has anything to do."""
        return self._honest.is_searching or self._reversed.is_searching

    def search(self) -> Answers:
        """A slice of each."""
        found = self._honest.search() if self._honest.is_searching else ()
        worst = self._reversed.search() if self._reversed.is_searching else ()
        return (*self._without_candidates(found), *self._worst(worst))

    def _without_candidates(self, answers: Answers) -> Answers:
        return tuple(answer for answer in answers if not is_candidate(answer, self._payloads))

    def _worst(self, answers: Answers) -> Answers:
        """Its candidates, with their claims turned back."""
        worst: list[LearnerAnswer] = []
        for answer in answers:
            claimed = self._payloads.claimed_by(answer) if isinstance(answer, ContributionFound) else None
            if isinstance(answer, ContributionFound) and claimed is not None:
                honest = replace(claimed, claimed_fitness=-claimed.claimed_fitness)
                worst.append(replace(answer, payload=self._payloads.write(honest)))
        return tuple(worst)


def is_candidate(answer: LearnerAnswer, payloads: PayloadCodec) -> bool:
    """Whether the learner has found one."""
    return isinstance(answer, ContributionFound) and payloads.claimed_by(answer) is not None


class ReversedTask:
    """A task where the worst is the best. Implements `learning.task.Task`."""

    def __init__(self, task: Task) -> None:
        self._task = task

    @property
    def name(self) -> str:
        """The task's own."""
        return self._task.name

    @property
    def layout(self) -> Layout:
        """The task's own."""
        return self._task.layout

    @property
    def data_digest(self) -> bytes:
        """The task's own."""
        return self._task.data_digest

    def draw_batch(self, seed: bytes) -> Int64Array:
        """The task's own."""
        return self._task.draw_batch(seed)

    def scores(self, candidates: Float32Array, batch: Int64Array) -> Float64Array:
        """Minus the task's, (candidates,)."""
        reversed_scores: Float64Array = -self._task.scores(candidates, batch)
        return reversed_scores

    def fitness(self, parameters: Float32Array, batch: Int64Array) -> float:
        """Minus the task's."""
        return -self._task.fitness(parameters, batch)

    def metrics(self, parameters: Float32Array) -> Mapping[str, float]:
        """The task's own."""
        return self._task.metrics(parameters)
