"""What a member measures of a slate: joins on the whole batch, directions on a draw, all of it where no join gains."""

from functools import lru_cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from learning.checked_task import checked_task
from learning.evolution.joint_scoring import DRAWN_BATCHES, DRAWN_SAMPLES_MIN, Scoring, scoring_draw
from learning.evolution.joint_step import Children, EntryKind, JointEntry, JointRule
from learning.evolution.ranked_list import RankedList
from learning.evolution.ranking import Ranking
from learning.evolution.rules import Strategy
from learning.evolution.search import Generation, SearchSettings
from learning.exact import FITNESS_LOWEST, micro_units, noise_key
from learning.model_consensus.slate import Slate, lower_median, slate_digest
from learning.state import genesis_state
from learning.task import Float32Array, Float64Array, Int64Array
from learning.task_check import check_task
from learning.tasks.digits import digits_samples, perceptron
from learning.tasks.supervised import SupervisedTask
from node.rules.network_file import evolution_for
from tests.learning.evolution.common_order import names
from tests.learning.evolution.exchange import NETWORK

GENERATION = b"g" * 32
RULES = structs.replace(evolution_for(Strategy.JOINT), offspring=32)
SLICE = 8
MEMBERS = names(32)


class CountedTask(SupervisedTask):
    """Digits; counts the models times samples that it was asked for."""

    def __init__(self) -> None:
        super().__init__("digits", perceptron((64, 16, 10)), "cross_entropy", *digits_samples())
        self.evaluations = 0

    def scores(self, candidates: Float32Array, batch: Int64Array) -> Float64Array:
        assert len(candidates) <= SLICE
        self.evaluations += len(candidates) * len(batch)
        return super().scores(candidates, batch)


TASK = check_task(SupervisedTask("digits", perceptron((64, 16, 10)), "cross_entropy", *digits_samples()))
BATCH = TASK.draw_batch(bytes(32))
PARENT = genesis_state(NETWORK, TASK.layout)


@lru_cache(maxsize=len(MEMBERS))
def honest_list(author: bytes) -> RankedList:
    rule = JointRule(NETWORK, MEMBERS, RULES)
    generation = Generation(PARENT, noise_key(NETWORK, GENERATION, author), rule.sigma(0, 0), BATCH)
    ranking = Ranking(TASK, RULES, SearchSettings(effort_min=1, effort_max=1), generation)
    while not ranking.is_enough:
        ranking.advance()
    return ranking.ranked_list()


class Scored:
    """One member's scores of a slate of so many lists, and what they took."""

    def __init__(self, lists: int, scorer: int = 0, *, turned: frozenset[int] = frozenset()) -> None:
        """`turned`: whose lists are reversed."""
        members = MEMBERS[:lists]
        rule = JointRule(NETWORK, members, RULES)
        ranked = {
            author: RankedList(honest_list(author).indices[:: -1 if place in turned else 1])
            for place, author in enumerate(members)
        }
        state = rule.first_state()
        entries = rule.entries(GENERATION, ranked, state)
        self.slate = Slate(entries, slate_digest(GENERATION, entries))
        self.children = Children(rule, GENERATION, PARENT, ranked, state)
        self.draw = scoring_draw(BATCH, self.slate.digest, members[scorer], lists)
        task = CountedTask()
        checked, task.evaluations = check_task(task), 0
        scoring = Scoring(checked, self.children, self.slate, BATCH, draw=self.draw, rows=SLICE)
        while (scores := scoring.advance()) is None:
            pass
        self.scores, self.evaluations = scores, task.evaluations

    def of_kind(self, kind: EntryKind) -> list[int]:
        """Scores."""
        return [score for entry, score in zip(self.slate.entries, self.scores, strict=True) if entry.kind is kind]

    def measured(self, kind: EntryKind, samples: Int64Array) -> list[int]:
        """What these entries score on these samples."""
        return [self._measured(entry, samples) for entry in self.slate.entries if entry.kind is kind]

    def _measured(self, entry: JointEntry, samples: Int64Array) -> int:
        return micro_units(float(TASK.scores(self.children.parameters(entry)[None].copy(), samples)[0]))


def test_where_a_join_gains_directions_lead_by_the_draw_and_heads_not_at_all() -> None:
    scored = Scored(8)
    assert max(scored.of_kind(EntryKind.JOIN)) > scored.scores[0]
    for kind in (EntryKind.PARENT, EntryKind.JOIN):
        assert scored.of_kind(kind) == pytest.approx(scored.measured(kind, BATCH), abs=2)
    (parent,) = scored.measured(EntryKind.PARENT, scored.draw)
    told = [score - scored.scores[0] for score in scored.of_kind(EntryKind.DIRECTION)]
    assert told == pytest.approx([score - parent for score in scored.measured(EntryKind.DIRECTION, scored.draw)], abs=3)
    assert scored.of_kind(EntryKind.HEAD) == [scored.scores[0]] * 8


def test_where_no_join_gains_everything_is_measured_on_the_whole_batch() -> None:
    scored = Scored(8, turned=frozenset(range(8)))
    assert max(scored.of_kind(EntryKind.JOIN)) < scored.scores[0]
    for kind in EntryKind:
        assert scored.of_kind(kind) == pytest.approx(scored.measured(kind, BATCH), abs=2)
    assert scored.evaluations == len(scored.slate.entries) * len(BATCH)


def test_the_work_of_a_member_does_not_grow_with_the_lists() -> None:
    joins = 3  # without a path
    assert Scored(2).evaluations == (1 + joins + 2) * len(BATCH)
    assert Scored(4).evaluations == (1 + joins + 4) * len(BATCH)
    for lists in (8, 16, 32):
        most = (1 + joins + DRAWN_BATCHES * (1 + 1 / lists)) * len(BATCH)
        assert most - lists - 1 < Scored(lists).evaluations <= most


def test_a_list_that_leads_away_is_seen_on_every_draw_and_by_the_median_no_other_one_is() -> None:
    turned = {1, 6, 11, 14}
    rows = []
    for scorer in range(16):
        scored = Scored(16, scorer, turned=frozenset(turned))
        rows.append([score - scored.scores[0] for score in scored.of_kind(EntryKind.DIRECTION)])
        assert max(rows[-1][place] for place in turned) < 0
    agreed = [lower_median(column) for column in zip(*rows, strict=True)]
    assert {place for place, lead in enumerate(agreed) if lead <= 0} == turned


def test_members_draw_for_themselves_once_the_lists_are_known() -> None:
    one, other, later = (
        scoring_draw(BATCH, slate, author, 16)
        for slate, author in ((b"s" * 32, MEMBERS[0]), (b"s" * 32, MEMBERS[1]), (b"t" * 32, MEMBERS[0]))
    )
    assert np.array_equal(one, scoring_draw(BATCH, b"s" * 32, MEMBERS[0], 16))
    assert len({tuple(draw.tolist()) for draw in (one, other, later)}) == 3
    together = [scoring_draw(BATCH, b"s" * 32, author, 32) for author in MEMBERS]
    assert len(np.unique(np.concatenate(together))) > 0.9 * len(BATCH)


@given(st.integers(1, 3_000), st.integers(1, 240))
def test_a_draw_is_a_part_of_the_batch_and_the_batch_where_that_is_small(samples: int, lists: int) -> None:
    batch = np.arange(7, 7 + samples, dtype=np.int64)
    draw = scoring_draw(batch, bytes(32), MEMBERS[0], lists)
    assert len(draw) == min(samples, max(DRAWN_SAMPLES_MIN, DRAWN_BATCHES * samples // lists))
    assert len(np.unique(draw)) == len(draw)
    assert set(draw.tolist()) <= set(batch.tolist())


class Diverging(CountedTask):
    """Directions and heads are no number; joins gain."""

    def scores(self, candidates: Float32Array, batch: Int64Array) -> Float64Array:
        scores = super().scores(candidates, batch)
        is_near = np.abs(candidates - PARENT.parameters).max(axis=1)
        return np.where(len(batch) < len(BATCH), np.where(is_near > 0, np.nan, scores), scores)


def test_an_entry_that_diverges_on_the_draw_scores_the_lowest() -> None:
    scored = Scored(8)
    scoring = Scoring(checked_task(Diverging()), scored.children, scored.slate, BATCH, draw=scored.draw, rows=SLICE)
    while (scores := scoring.advance()) is None:
        pass
    kinds = [entry.kind for entry in scored.slate.entries]
    directions = [score for kind, score in zip(kinds, scores, strict=True) if kind is EntryKind.DIRECTION]
    assert max(directions) < FITNESS_LOWEST // 2
