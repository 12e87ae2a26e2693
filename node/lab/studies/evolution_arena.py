"""Evolution over a total order without a network: real learners; the order is a list of commits, which all read at once.

Each commit holds what all members have submitted in their idle time, the liars' first. Liars turn their lists round and change
the sign of their scores. Equal cells give equal runs on one machine.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field

import torch

from learning.evolution.generations import Generations
from learning.evolution.joint_learner import JointGenerations
from learning.evolution.joint_submission import ScoresAndList, decode_joint, encode_joint
from learning.evolution.mutation_candidates import MutationCandidates
from learning.evolution.mutation_submission import decode_submission, encode_submission
from learning.evolution.pace import stands_still
from learning.evolution.ranked_list import RankedList, list_length
from learning.evolution.rules import EvolutionRules, Strategy
from learning.evolution.search import SearchSettings
from learning.following.line import Follower, LineLearner
from learning.learner import (
    AdoptRequest,
    AuthoredPayload,
    ContributionFound,
    DeliveredStep,
    DeliverRequest,
    LearnerAnswer,
    Participant,
    StepAdopted,
)
from learning.model_consensus.slate import Scores
from learning.task import Task
from learning.tasks.heterogeneous import ShardedTask
from learning.tasks.shards import parse_shards, rows_for
from node.common.goal import MetricGoal
from node.lab.studies.evolution_tasks import MeasuredOnce, labels_of, studied_task
from node.rules.network_file import evolution_for

COMMITS_A_GENERATION_MAX = 3
"""One or two where all submit in each commit; where there are more, nobody waits for anything any more."""


CELL_VERSION = 2
"""Raised when the same cell would run otherwise: remembered results of before then count no more."""


@dataclass(frozen=True, slots=True)
class EvolutionCell:
    """One run, in values that JSON holds."""

    task: str
    strategy: str
    members: int
    seed: int
    generations_max: int
    goals: tuple[MetricGoal, ...] = ()
    """The run ends when all of them are reached, not before `generations_min`."""
    generations_min: int = 0
    liars: int = 0
    """Of the members."""
    effort: int = 2
    """Of joint: how many times λ mutations are ranked. It is fixed: here nobody waits for anybody."""
    shards: str = "whole"
    shard_count: int = 0
    first_shard: int = 0
    """A member's shard is that of its number, from this one on."""

    @property
    def key(self) -> str:
        """Names the file of its result."""
        text = json.dumps([CELL_VERSION, asdict(self)], sort_keys=True)
        return hashlib.blake2b(text.encode(), digest_size=12).hexdigest()


@dataclass(slots=True)
class Curve:
    """What a run did: an item for the first model, and one for each generation."""

    figures: list[dict[str, float]] = field(default_factory=list)
    """Agreed fitness, and the task's metrics."""
    evaluations: list[int] = field(default_factory=list)
    """Models measured times samples (or episodes), by all members together."""

    def generations_to(self, goal: MetricGoal) -> int | None:
        """Until it was first reached; None: never."""
        return next((number for number, figures in enumerate(self.figures) if goal.is_reached(figures)), None)

    def evaluations_to(self, goal: MetricGoal) -> int | None:
        """The same in evaluations."""
        generations = self.generations_to(goal)
        return None if generations is None else self.evaluations[generations]


def run_evolution(cell: EvolutionCell) -> Curve:
    """Run it. Raises TaskError for a task that there is not, or that cannot be shared out so."""
    torch.set_num_threads(1)
    arena = _Arena(cell, studied_task(cell.task))
    while not arena.is_over:
        arena.generation()
    return arena.curve


class _Arena:
    def __init__(self, cell: EvolutionCell, task: Task) -> None:
        self.curve = Curve()
        self._cell = cell
        self._task = MeasuredOnce(task)
        self._rules = evolution_for(Strategy(cell.strategy))
        network_id = hashlib.blake2b(f"evolution arena {cell.seed}".encode(), digest_size=32).digest()
        self._members = tuple(hashlib.blake2b(bytes([number]) + network_id).digest()[:32] for number in range(cell.members))
        self._learners: list[LineLearner[Follower]] = []
        for number, author in enumerate(self._members):
            participant = Participant(network_id, author, bytes(32), self._members)
            self._learners.append(self._learner(self._own_part(task, number, network_id), participant))
        self._commits = 0
        self._note(self._learners[0].handle(AdoptRequest(bytes(32))))

    def _own_part(self, task: Task, number: int, network_id: bytes) -> Task:
        cell = self._cell
        if cell.shards == "whole":
            return self._task
        shards, shard = parse_shards(cell.shards), cell.first_shard + number
        return ShardedTask(self._task, rows_for(labels_of(task), shards, cell.shard_count, shard, network_id))

    def _learner(self, task: Task, participant: Participant) -> LineLearner[Follower]:
        settings = SearchSettings(effort_min=self._cell.effort, effort_max=self._cell.effort)
        if self._rules.strategy is Strategy.JOINT:
            return LineLearner[Follower](JointGenerations(task, self._rules, participant, settings, stands_still), None)
        return LineLearner[Follower](
            Generations(MutationCandidates(task, self._rules, participant, settings), participant), None
        )

    @property
    def is_over(self) -> bool:
        """Whether the goals are reached, or the time is up."""
        done = len(self.curve.figures) - 1
        is_reached = bool(self._cell.goals) and all(self.curve.generations_to(goal) is not None for goal in self._cell.goals)
        return done >= self._cell.generations_max or (done >= self._cell.generations_min and is_reached)

    def generation(self) -> None:
        """As many commits as it takes."""
        before = len(self.curve.figures)
        for _ in range(COMMITS_A_GENERATION_MAX):
            self._commit()
            if len(self.curve.figures) > before:
                return
        raise AssertionError(f"no generation in {COMMITS_A_GENERATION_MAX} commits")

    def _commit(self) -> None:
        liars = range(self._cell.members - self._cell.liars, self._cell.members)
        lies = [item for number in liars for item in self._work(number, is_liar=True)]
        truths = [item for number in range(liars.start) for item in self._work(number, is_liar=False)]
        self._commits += 1
        step = DeliveredStep(self._commits.to_bytes(32, "big"), bytes(32), self._commits, (*lies, *truths))
        answers = [learner.handle(DeliverRequest(step)) for learner in self._learners]
        assert len({learner.follower.head.digest for learner in self._learners}) == 1, "members with different models"
        self._task.forget()
        self._note(answers[0])

    def _work(self, number: int, *, is_liar: bool) -> list[AuthoredPayload]:
        """All that a member submits before the next commit."""
        learner, items = self._learners[number], []
        while learner.is_searching:
            for found in learner.search():
                if isinstance(found, ContributionFound):
                    payload = lie(found.payload, self._rules, self._cell.members) if is_liar else found.payload
                    items.append(_signed(self._members[number], found.base, payload))
        return items

    def _note(self, answers: Sequence[LearnerAnswer]) -> None:
        for answer in answers:
            if isinstance(answer, StepAdopted):
                self.curve.figures.append({"fitness": answer.fitness, **answer.metrics})
                self.curve.evaluations.append(self._task.sample_evaluations)


def _signed(author: bytes, base: bytes, payload: bytes) -> AuthoredPayload:
    digest = hashlib.blake2b(author + base + payload, digest_size=32).digest()
    return AuthoredPayload(digest, author, base, payload)


def lie(honest: bytes, rules: EvolutionRules, members: int) -> bytes:
    """A submission turned round: the worst mutation first, the worst entry of the slate with the best score."""
    if rules.strategy is Strategy.JOINT:
        match decode_joint(honest, list_length(rules.offspring)):
            case RankedList(indices):
                return encode_joint(RankedList(indices[::-1]))
            case Scores() as scores:
                return encode_joint(_inverted(scores))
            case ScoresAndList(scores, winner, ranked):
                return encode_joint(ScoresAndList(_inverted(scores), winner, RankedList(ranked.indices[::-1])))
    submission = decode_submission(honest, rules.recipe_length_max, members)
    return encode_submission(_inverted(submission)) if isinstance(submission, Scores) else honest


def _inverted(scores: Scores) -> Scores:
    return Scores(scores.slate, tuple(-value for value in scores.values))
