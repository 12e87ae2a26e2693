"""The joint rule: what stands on a slate, whose lists are joined, how far a join reaches, and its exact models."""

import math
from collections.abc import Mapping
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from learning.evolution.joint_step import (
    FIRST_SCALE,
    PROBATION,
    SCALE_HIGHEST,
    SCALE_LOWEST,
    Children,
    EntryKind,
    JointEntry,
    JointRule,
    JointState,
    direction_scale,
    winner_of,
)
from learning.evolution.ranked_list import RankedList, direction_sum
from learning.evolution.recipe import Recipe, child_of
from learning.exact import noise_key
from learning.state import ModelState, genesis_state
from tests.learning.evolution.common_order import names
from tests.learning.evolution.exchange import NETWORK, RULES
from tests.learning.sphere import SphereTask

FOUR = names(4)
RULE = JointRule(NETWORK, FOUR, structs.replace(RULES, offspring=6))
GENERATION = b"p" * 32
PARENT = genesis_state(NETWORK, SphereTask().layout)
LISTS: Mapping[bytes, RankedList] = {
    FOUR[2]: RankedList((5, 1, 4, 0, 2, 3)),
    FOUR[0]: RankedList((0, 1, 2, 3, 4, 5)),
    FOUR[3]: RankedList((900, 7, 65_535, 3, 2, 1)),
}
FIRST = RULE.first_state()


def entries_of(state: JointState = FIRST) -> tuple[JointEntry, ...]:
    return RULE.entries(GENERATION, LISTS, state)


def of_kind(kind: EntryKind, state: JointState = FIRST) -> list[JointEntry]:
    return [entry for entry in entries_of(state) if entry.kind is kind]


def with_path(scale: int = 0) -> JointState:
    return JointState(PARENT.parameters + np.float32(0.125), scale, (0, 0, 0, 0))


# --- the slate --------------------------------------------------------------------------------------------------------


def test_the_parent_comes_first_then_direction_and_best_of_each_list_then_the_joins() -> None:
    assert [(entry.kind.name, entry.author) for entry in entries_of()] == [
        ("PARENT", None),
        *((kind, author) for author in LISTS for kind in ("DIRECTION", "HEAD")),
        *[("JOIN", None)] * 3,
    ]
    assert [(entry.scale, entry.share) for entry in of_kind(EntryKind.JOIN, with_path(2))] == [
        (scale, share) for scale in (1, 2, 3) for share in (0.0, 0.5, 1.0)
    ]


def test_every_entry_of_every_generation_has_a_name_of_its_own() -> None:
    state = with_path()
    entries = (*RULE.entries(GENERATION, LISTS, state), *RULE.entries(b"q" * 32, LISTS, state))
    assert len({entry.digest for entry in entries}) == len(entries) == 2 * (1 + 2 * 3 + 9)


@pytest.mark.parametrize(("scale", "expected"), [(SCALE_LOWEST, SCALE_LOWEST), (SCALE_HIGHEST, SCALE_HIGHEST)])
def test_steps_stay_within_the_range_that_float32_shows(scale: int, expected: int) -> None:
    scales = [entry.scale for entry in of_kind(EntryKind.JOIN, with_path(scale))]
    assert min(scales) >= SCALE_LOWEST
    assert max(scales) <= SCALE_HIGHEST
    assert expected in scales
    assert len({entry.digest for entry in of_kind(EntryKind.JOIN, with_path(scale))}) == 9


# --- who wins ---------------------------------------------------------------------------------------------------------


def test_a_list_s_entry_wins_only_where_no_join_gains_and_the_parent_where_nothing_does() -> None:
    entries = entries_of()
    directions = {FOUR[2]: 7, FOUR[0]: 9, FOUR[3]: -1}
    assert winner_of(entries, leads_of(entries, directions, joins=1)) in range(len(entries) - 3, len(entries))
    best = winner_of(entries, leads_of(entries, directions, joins=0))
    assert (entries[best].kind, entries[best].author) == (EntryKind.DIRECTION, FOUR[0])
    assert winner_of(entries, leads_of(entries, dict.fromkeys(LISTS, 0), joins=-1)) == 0


# --- trust and step size ----------------------------------------------------------------------------------------------


def leads_of(entries: tuple[JointEntry, ...], directions: Mapping[bytes, int], joins: int = 1) -> list[int]:
    def lead(entry: JointEntry) -> int:
        if entry.kind is EntryKind.DIRECTION:
            assert entry.author is not None
            return directions[entry.author]
        return joins if entry.kind is EntryKind.JOIN else 0

    return [lead(entry) for entry in entries]


def test_who_was_the_only_one_to_lose_is_in_no_join_for_a_while() -> None:
    entries = entries_of()
    leads = leads_of(entries, {FOUR[2]: -5, FOUR[0]: 3, FOUR[3]: 1})
    state = RULE.following(PARENT.parameters, FIRST, entries, leads, winner=1, credible=leads)
    assert state.probation == (0, 0, PROBATION, 0)
    assert RULE.trusted(LISTS, state) == (FOUR[0], FOUR[3])
    gaining = leads_of(entries, dict.fromkeys(LISTS, 1))
    for left in range(PROBATION - 1, -1, -1):
        state = RULE.following(PARENT.parameters, state, entries, gaining, winner=1, credible=gaining)
        assert state.probation == (0, 0, left, 0)
    assert RULE.trusted(LISTS, state) == tuple(LISTS)


def test_where_half_of_the_lists_lose_it_is_no_lie_of_theirs() -> None:
    entries = RULE.entries(GENERATION, dict.fromkeys(FOUR, LISTS[FOUR[0]]), FIRST)
    leads = leads_of(entries, {FOUR[0]: 0, FOUR[1]: -1, FOUR[2]: 4, FOUR[3]: 4})
    assert RULE.following(PARENT.parameters, FIRST, entries, leads, winner=0, credible=leads).probation == (0, 0, 0, 0)


def test_if_nobody_is_trusted_those_are_whose_time_is_up_first() -> None:
    assert RULE.trusted(LISTS, JointState(None, 0, (3, 0, 3, 9))) == (FOUR[2], FOUR[0])


def test_the_step_size_follows_a_join_that_wins_and_falls_where_nothing_gains() -> None:
    entries = RULE.entries(GENERATION, LISTS, with_path(2))
    leads = leads_of(entries, dict.fromkeys(LISTS, -1), joins=-1)
    assert RULE.following(PARENT.parameters, with_path(2), entries, leads, winner=0, credible=leads).scale == 1
    leads[-1] = 7
    following = RULE.following(PARENT.parameters, with_path(2), entries, leads, winner=len(entries) - 1, credible=leads)
    assert following.scale == entries[-1].scale == 3
    assert following.before is PARENT.parameters


@pytest.mark.parametrize(("joins", "scale"), [(-21, 1), (-20, 2), (1, 2), (4, 2)])
def test_where_one_author_s_entry_wins_the_step_size_stays_unless_joins_lose_many_times_as_much(joins: int, scale: int) -> None:
    entries = RULE.entries(GENERATION, LISTS, with_path(2))
    leads = leads_of(entries, dict.fromkeys(LISTS, 5), joins)
    leads[2] = 5
    for winner in (1, 2):
        following = RULE.following(PARENT.parameters, with_path(2), entries, leads, winner, credible=leads)
        assert (following.scale, following.before is PARENT.parameters) == (scale, True)


def test_on_a_plateau_the_next_step_is_longer() -> None:
    entries = entries_of()
    level, falling = (leads_of(entries, dict.fromkeys(LISTS, 0), joins=lead) for lead in (0, -1))
    assert RULE.following(PARENT.parameters, FIRST, entries, level, winner=0, credible=level).scale == 1
    assert RULE.following(PARENT.parameters, FIRST, entries, falling, winner=0, credible=falling).scale == -1


def test_who_has_stepped_over_the_whole_plateau_looks_close_by_again() -> None:
    state = with_path(SCALE_HIGHEST)
    entries = RULE.entries(GENERATION, LISTS, state)
    level = leads_of(entries, dict.fromkeys(LISTS, 0), joins=0)
    assert RULE.following(PARENT.parameters, state, entries, level, winner=0, credible=level).scale == 0


def test_no_step_leaves_no_path() -> None:
    entries = entries_of()
    leads = leads_of(entries, dict.fromkeys(LISTS, 0), joins=-1)
    assert RULE.following(PARENT.parameters, with_path(), entries, leads, winner=0, credible=leads) == JointState(
        None, -1, (0, 0, 0, 0)
    )


# --- models -----------------------------------------------------------------------------------------------------------


def children(state: JointState = FIRST) -> Children:
    return Children(RULE, GENERATION, PARENT, LISTS, state)


def test_the_parent_and_the_best_mutations_are_what_the_published_search_has() -> None:
    assert children().parameters(entries_of()[0]) is PARENT.parameters
    for entry in of_kind(EntryKind.HEAD):
        assert entry.author is not None
        key = noise_key(NETWORK, GENERATION, entry.author)
        published = child_of(PARENT, key, Recipe((LISTS[entry.author].head,)), RULE.sigma(0, 0))
        model = children().model(entry)
        assert np.array_equal(model.parameters, published.parameters)
        assert model.height == published.height == 1


def rounded(values: list[Fraction]) -> list[float]:
    """To the nearest float32; the fractions are far from a tie, or on it."""
    return [float(np.float32(float(value))) for value in values]


@given(scale=st.integers(-3, 3), place=st.integers(0, 8))
def test_a_join_is_the_exact_sum_of_the_trusted_directions_and_the_path(scale: int, place: int) -> None:
    state = JointState(with_path().before, scale, (0, 0, 5, 0))
    entry = of_kind(EntryKind.JOIN, state)[place]
    factor = Fraction(float(direction_scale(6, 2, RULE.sigma(0, entry.scale), FIRST_SCALE)))
    size = len(PARENT.parameters)
    joined = sum(direction_sum(LISTS[author], noise_key(NETWORK, GENERATION, author), size) for author in (FOUR[0], FOUR[3]))
    assert state.before is not None
    expected = [
        Fraction(float(theta))
        + factor * int(total)
        + Fraction(entry.share) * (Fraction(float(theta)) - Fraction(float(before)))
        for theta, total, before in zip(PARENT.parameters, np.asarray(joined), state.before, strict=True)
    ]
    assert children(state).parameters(entry).tolist() == rounded(expected)


def test_a_direction_is_as_long_as_one_mutation_whose_step_follows_k() -> None:
    def length(state: JointState) -> float:
        moves = [children(state).parameters(entry) - PARENT.parameters for entry in of_kind(EntryKind.DIRECTION, state)]
        return float(np.mean([np.square(move.astype(np.float64)).mean() for move in moves])) ** 0.5

    assert math.isclose(length(FIRST), float(RULE.sigma(0, 0)), rel_tol=0.2)
    assert math.isclose(length(with_path(5)), 32 * length(FIRST), rel_tol=1e-3)
    assert math.isclose(length(with_path(-2)), length(FIRST) / 4, rel_tol=1e-3)


def test_equal_lists_of_two_authors_are_two_directions() -> None:
    lists = dict.fromkeys(FOUR[:2], LISTS[FOUR[0]])
    both = Children(RULE, GENERATION, PARENT, lists, FIRST)
    first, second = (entry for entry in RULE.entries(GENERATION, lists, FIRST) if entry.kind is EntryKind.DIRECTION)
    assert not np.array_equal(both.parameters(first), both.parameters(second))


def test_a_model_of_one_parameter_moves() -> None:
    parent = ModelState(np.zeros(1, dtype=np.float32), 0)
    entry = of_kind(EntryKind.JOIN)[0]
    assert Children(RULE, GENERATION, parent, LISTS, FIRST).parameters(entry).shape == (1,)
