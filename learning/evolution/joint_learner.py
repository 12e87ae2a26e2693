"""A member's part in the joint rule over a total order: rank, score, and keep what everybody keeps.

In its idle time a member ranks mutations and submits its list; when the slate is closed it measures all entries, and goes on
from the one that leads by its own measurements: its scores and its list on that model travel together. An observer does none
of it.
"""

from dataclasses import dataclass

from learning.checked_task import checked_task
from learning.evolution.explorer import PROGRESS_CANDIDATES
from learning.evolution.joint_consensus import Decision, JointConsensus
from learning.evolution.joint_memory import Memory, Origin, decode_memory, encode_memory
from learning.evolution.joint_scoring import Scoring, scoring_draw
from learning.evolution.joint_step import Children, JointEntry, JointRule, winner_of
from learning.evolution.joint_submission import ScoresAndList, encode_joint
from learning.evolution.measurement import Measurement
from learning.evolution.mutation import kept_interval
from learning.evolution.pace import Clock, Pace
from learning.evolution.ranked_list import RankedList
from learning.evolution.ranking import Ranking
from learning.evolution.rules import EvolutionRules
from learning.evolution.search import CHILDREN_BYTES_MAX, Generation, SearchSettings
from learning.exact import MICRO, noise_key
from learning.following.line import Head, kept_state, origin_of
from learning.learner import (
    CommitAwaited,
    ContributionFound,
    DeliveredStep,
    GenerationDecided,
    GenerationWaits,
    LearnerAnswer,
    Participant,
    SearchProgress,
    SlateEntry,
    StateKept,
    StepAdopted,
)
from learning.model_consensus.slate import Scores, Slate, leads, next_generation
from learning.state import CHECKPOINT_INTERVAL, state_digest
from learning.task import Task


@dataclass(slots=True)
class Expectation:
    """The head that we expect to follow, by our own measurements, and what we have done on it."""

    winner: int
    """A position on the slate."""
    head: Head
    scale: int
    """k, as we expect it."""
    ranking: Ranking
    has_offered: bool = False
    """Whether our list on it was submitted, with the scores."""


class JointGenerations:
    """Implements `learning.following.line.Follower`."""

    def __init__(
        self, task: Task, rules: EvolutionRules, participant: Participant, settings: SearchSettings, clock: Clock
    ) -> None:
        """`clock`: says how long to rank. Raises TaskError."""
        self._task = checked_task(task)
        self._participant = participant
        self._settings = settings
        self._rule = JointRule(participant.network_id, participant.members, rules)
        self._rules = rules
        self._measurement = Measurement(self._task, participant.network_id)
        self._pace = Pace(clock)
        self._tried = self._told = 0

    def start_from(self, restored: StateKept | None) -> None:
        """Raises StoredStateError when what is restored does not fit the task or the members."""
        head = origin_of(self._task.layout, self._participant, restored)
        self._agreed: int | None = None
        if restored is None:
            memory = Memory(self._rule.first_state())
        else:
            memory = decode_memory(restored.memory, self._rule, len(head.model.parameters))
        self.expected: Expectation | None = None
        self._begin(head, memory)

    def check_start(self) -> None:
        """Raises TaskError."""
        self._measurement.check_start(self.head)

    def _begin(self, head: Head, memory: Memory, scorers: tuple[bytes, ...] = ()) -> None:
        self.head = head
        self.state = memory.state
        self.consensus = JointConsensus(self._rule, head.step, memory)
        expected, self.expected = self.expected, None
        is_expected = expected is not None and expected.head.step == head.step
        is_as_long = expected is not None and expected.scale == memory.state.scale
        self._ranking = expected.ranking if expected is not None and is_expected and is_as_long else None
        ours = self._participant.author
        is_lost = ours in scorers and ours not in memory.lists  # as after a restart, if we said something else before it
        self._has_offered = expected is not None and is_expected and expected.has_offered and not is_lost
        self._has_scored = False
        self._children: Children | None = None
        self._scoring: Scoring | None = None
        self._scores: tuple[int, ...] | None = None
        """Our own of the slate's entries, in micro-units, in its order."""

    # --- what the order delivers ------------------------------------------------------------------------------------

    def deliver(self, step: DeliveredStep) -> tuple[LearnerAnswer, ...]:
        """Take a commit's submissions."""
        before = self.waits()
        for item in step.items:
            self.consensus.deliver(item)
        match self.consensus.end_of_commit():
            case Decision() as decision:
                return self._decide(step, decision)
            case Slate() | None:
                waits = self.waits()
                return waits if waits != before else ()

    def _decide(self, commit: DeliveredStep, decision: Decision) -> tuple[LearnerAnswer, ...]:
        parent, entries = self.head, decision.slate.entries
        winner = entries[decision.winner]
        head = self._head_of(winner)
        before, won = parent.model.parameters, decision.winner
        state = self._rule.following(before, self.state, entries, decision.leads, won, credible=decision.credible)
        memory = Memory(state, Origin(parent.step, decision.winner), decision.early_lists, decision.silent)
        told = GenerationDecided(
            head.step,
            head.model.height,
            parent.step,
            self._shown(decision),
            decision.winner,
            decision.scorers,
            tuple((reason.value, count) for reason, count in decision.ignored),
            self._models.authors(winner),
        )
        self._agreed = decision.fitness[decision.winner]
        self._pace.generation_ends()
        self._begin(head, memory, decision.scorers)
        return (self.head_report(), told, *self._kept(commit, memory), *self.waits(), *self._progress(1))

    def _head_of(self, entry: JointEntry) -> Head:
        """The head that follows if this entry wins."""
        model = self._models.model(entry)
        digest = state_digest(model)
        return Head(next_generation(self.head.step, entry.digest, digest), model, digest)

    @property
    def probation(self) -> tuple[int, ...]:
        """By member: for how many generations a list of his is in no join."""
        return self.state.probation

    @property
    def _models(self) -> Children:
        if self._children is None:
            self._children = Children(self._rule, self.head.step, self.head.model, self.consensus.lists, self.state)
        return self._children

    def _shown(self, decision: Decision) -> tuple[SlateEntry, ...]:
        measured: tuple[int | None, ...] = self._scores or (None,) * len(decision.fitness)
        return tuple(
            SlateEntry(entry.author, None, agreed, ours, entry.label)
            for entry, agreed, ours in zip(decision.slate.entries, decision.fitness, measured, strict=True)
        )

    def head_report(self) -> StepAdopted:
        """The fitness is the agreed one, on the parent's batch; at genesis and after a restart our own."""
        head = self.head
        fitness = self._agreed
        if fitness is None:
            fitness = self._measurement.fitness(head.step, head.model, head.digest)
        metrics = self._task.metrics(head.model.parameters)
        return StepAdopted(head.step, head.model.height, fitness / MICRO, metrics, head.digest)

    def waits(self) -> tuple[GenerationWaits, CommitAwaited]:
        """For whose lists, or scores, or for the next commit alone."""
        consensus, head = self.consensus, self.head
        waits = GenerationWaits(head.step, head.model.height, consensus.phase, consensus.counted, consensus.needed)
        return (waits, CommitAwaited(consensus.awaits_commit))

    def _kept(self, commit: DeliveredStep, memory: Memory) -> tuple[StateKept, ...]:
        """Where a generation begins, at some heights."""
        height = self.head.model.height
        if height % kept_interval(self._task.layout):
            return ()
        checkpoint = 0 if height % CHECKPOINT_INTERVAL else height // CHECKPOINT_INTERVAL
        return (kept_state(self.head, commit, checkpoint, encode_memory(memory, self._rule)),)

    # --- what we submit ---------------------------------------------------------------------------------------------

    @property
    def is_scoring(self) -> bool:
        """Whether the next slice measures the slate; then comes the list that goes with its scores."""
        return not self._may_offer and self._scores is None

    @property
    def is_searching(self) -> bool:
        """Whether `search` has anything to do before the next delivery."""
        return not self._participant.is_observer and (self._may_offer or self._may_score)

    @property
    def is_part_due(self) -> bool:
        """Whether our own part in the phase under way is being made."""
        return self.is_searching

    @property
    def _may_offer(self) -> bool:
        """The slate is open, and our list neither on it nor on its way."""
        consensus = self.consensus
        return consensus.slate is None and not self._has_offered and self._participant.author not in consensus.lists

    @property
    def _may_score(self) -> bool:
        """The slate is closed, and our scores neither delivered nor on their way."""
        consensus = self.consensus
        return consensus.slate is not None and not self._has_scored and self._participant.author not in consensus.counted

    def search(self) -> tuple[LearnerAnswer, ...]:
        """One slice of ranking or of measurement; our list, or our scores and the list that follows, once they are ready."""
        if not self.is_searching:
            return ()
        if self._may_offer:
            if self._ranking is None:
                self._ranking = self._ranking_on(self.head, self.state.scale)
            ranked, progress = self._rank(self._ranking)
            if ranked is None:
                return progress
            self._has_offered = True
            return (*progress, ContributionFound(self.head.step, encode_joint(ranked)))
        if self._scores is None:
            self._measure()
            return ()
        return self._score(self._scores)

    def _rank(self, ranking: Ranking) -> tuple[RankedList | None, tuple[SearchProgress, ...]]:
        """One slice; the list, once it is as good as there is time for."""
        before = ranking.candidates_tried
        if not before:
            ranking.began = self._pace.now()
        ranking.advance()
        seconds = self._pace.now() - ranking.began
        self._tried += ranking.candidates_tried - before
        progress = self._progress(PROGRESS_CANDIDATES)
        if not ranking.is_enough or (not ranking.is_all and self._pace.has_time(seconds)):
            return None, progress
        self._pace.list_ends(seconds)
        return ranking.ranked_list(), progress

    def _ranking_on(self, head: Head, scale: int) -> Ranking:
        key = noise_key(self._participant.network_id, head.step, self._participant.author)
        sigma = self._rule.sigma(head.model.height, scale)
        generation = Generation(head.model, key, sigma, self._measurement.batch(head.step))
        return Ranking(self._task, self._rules, self._settings, generation)

    def _measure(self) -> None:
        """A slice. The scores are the fast ones: of members, the median decides, and not a claim."""
        slate = self.consensus.slate
        assert slate is not None, "measurements of an open slate"
        if self._scoring is None:
            batch = self._measurement.batch(self.head.step)
            draw = scoring_draw(batch, slate.digest, self._participant.author, len(self.consensus.lists))
            rows = max(1, min(self._settings.chunk, CHILDREN_BYTES_MAX // (4 * len(self.head.model.parameters))))
            self._scoring = Scoring(self._task, self._models, slate, batch, draw=draw, rows=rows)
        self._scores = self._scoring.advance()

    def _score(self, scores: tuple[int, ...]) -> tuple[LearnerAnswer, ...]:
        """Rank on the model that leads by our own measurements; then tell the scores, and the list with them."""
        slate = self.consensus.slate
        assert slate is not None, "scores of an open slate"
        if self.expected is None:
            self.expected = self._expect(slate, leads(scores))
        ranked, progress = self._rank(self.expected.ranking)
        if ranked is None:
            return progress
        self._has_scored = self.expected.has_offered = True
        both = ScoresAndList(Scores(slate.digest, scores), self.expected.winner, ranked)
        return (*progress, ContributionFound(self.head.step, encode_joint(both)))

    def _expect(self, slate: Slate[JointEntry], ours: tuple[int, ...]) -> Expectation:
        """What follows if all measure as we do. `ours`: leads by entry."""
        winner = winner_of(slate.entries, ours)
        head = self._head_of(slate.entries[winner])
        state = self._rule.following(self.head.model.parameters, self.state, slate.entries, ours, winner, credible=ours)
        return Expectation(winner, head, state.scale, self._ranking_on(head, state.scale))

    def _progress(self, since: int) -> tuple[SearchProgress, ...]:
        if self._tried - self._told < since:
            return ()
        self._told = self._tried
        return (SearchProgress(self._tried),)
