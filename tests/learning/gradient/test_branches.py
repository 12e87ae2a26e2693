"""States of blocks are those that a straight path leads to, whether they were at hand or had to be rebuilt."""

import random
from collections.abc import Iterator
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from learning.gradient.blocks import BlockState, Scribe
from learning.gradient.branches import BLOCKS_MAX, STATES_MIN, Branches, KnownBlock
from learning.gradient.held_bytes import Array
from learning.gradient.ledger import Clerk
from learning.learner import ProposedStep
from tests.learning.evolution.exchange import GENESIS
from tests.learning.gradient.chain import ALICE, BOB, CAROL, Forge, world_of
from tests.learning.gradient.quadratic import LAYOUT


def known(step: ProposedStep) -> KnownBlock:
    return KnownBlock(step.id, step.parent, step.height, step.leader, step.contributions, step.state_digest)


def branches_of(forge: Forge, bytes_max: int) -> Branches:
    rules, state = forge.world.rules, forge.states[GENESIS]
    scribe = Scribe(Clerk(LAYOUT, rules.ledger_rules(), rules.named_rule()), forge.world.shelf, rules.workers_window)
    return Branches(scribe, KnownBlock(GENESIS, b"", 0, b"", (), state.digest), state, bytes_max)


def forest(forge: Forge, blocks: int, seed: int) -> list[ProposedStep]:
    """Blocks on parents drawn by lot, each with a gradient or two."""
    chance = random.Random(seed)
    steps: list[ProposedStep] = []
    for _ in range(blocks):
        parent = chance.choice([GENESIS, *(step.id for step in steps[-4:])])
        items = [forge.contribution(author, parent, chance.random()) for author in chance.choices((ALICE, BOB), k=2)]
        steps.append(forge.block(parent, chance.choice((ALICE, BOB, CAROL)), *items))
    return steps


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32), bytes_max=st.sampled_from([0, 1_000, 10**9]), rule=st.sampled_from(["mean", "kardam"]))
def test_rebuilt_states_are_the_same(seed: int, bytes_max: int, rule: str) -> None:
    forge = Forge(world_of(rule))
    steps = {step.id: step for step in forest(forge, 20, seed)}
    branches = branches_of(forge, bytes_max)
    chance = random.Random(seed)
    for step in steps.values():
        branches.add(known(step), forge.states[step.id] if chance.random() < 0.5 else None)
    for step in chance.choices(list(steps.values()), k=20):
        assert branches.state(known(step)).digest == step.state_digest


def test_only_as_many_states_as_fit_stay_at_hand() -> None:
    forge = Forge(world_of())
    steps = forge.path(GENESIS, *[ALICE, BOB] * 10)
    branches = branches_of(forge, 0)
    for step in steps:
        branches.add(known(step), forge.states[step.id])
    assert [branches.at_hand(known(step)) is not None for step in steps[-3:]] == [False, True, True]
    assert STATES_MIN == 2


def test_a_state_that_gives_way_makes_room_for_another() -> None:
    """Each block here has a model of its own: 60 bytes, and 8 for each of up to seven past ones; so has the root."""
    forge = Forge(world_of())
    steps: list[ProposedStep] = forge.path(GENESIS, ALICE)
    for _ in range(20):
        base = steps[-1].id
        steps.append(forge.block(base, ALICE, forge.contribution(ALICE, base)))
    branches = branches_of(forge, 60 + 8 + 5 * (60 + 7 * 8))
    for step in steps:
        branches.add(known(step), forge.states[step.id])
        assert branches.bytes_at_hand <= 60 + 8 + 5 * (60 + 7 * 8)
    assert sum(branches.at_hand(known(step)) is not None for step in steps) == 5


def test_what_states_share_is_counted_once_and_as_long_as_one_of_them_is_there() -> None:
    """With Kardam each state holds the models of its window: empty blocks share them all, and another gradient adds one."""
    forge = Forge(world_of("kardam"))
    steps: list[ProposedStep] = forge.path(GENESIS, ALICE, BOB, ALICE)
    for number in range(6):
        base = steps[-1].id
        steps.append(forge.block(base, ALICE, forge.contribution((ALICE, BOB)[number % 2], base)))
    branches = branches_of(forge, 10**9)
    for step in steps:
        branches.add(known(step), forge.states[step.id])
    for last in (3, 7, 8):
        branches.finalise(known(steps[last]))
        states = [state for step in steps[last:] if (state := branches.at_hand(known(step))) is not None]
        assert len(states) == len(steps) - last
        distinct = {id(array): array.nbytes for state in states for array in arrays_of(state)}
        assert branches.bytes_at_hand == sum(distinct.values()) + 8 * sum(len(state.ledger.past) for state in states)


def test_a_deep_branch_is_rebuilt_from_near_by_wherever_it_forks() -> None:
    forge = Forge(world_of())
    steps: list[ProposedStep] = forge.path(GENESIS, ALICE, BOB)
    for _ in range(120):
        base = steps[-1].id
        steps.append(forge.block(base, ALICE, forge.contribution(ALICE, base)))
    branches = branches_of(forge, 9 * (60 + 7 * 8))
    for step in steps:
        branches.add(known(step), forge.states[step.id])
    heights = [0, *(step.height for step in steps if branches.at_hand(known(step)) is not None)]
    assert max(later - earlier for earlier, later in pairwise(heights)) <= 3 * len(steps) // (len(heights) - 1)
    assert branches.state(known(steps[60])).digest == steps[60].state_digest


def arrays_of(state: BlockState) -> Iterator[Array]:
    ledger = state.ledger
    yield from (ledger.parameters, *ledger.memory.vectors)
    yield from (slot.gradient.values for slot in ledger.memory.slots)
    yield from (past.parameters for past in ledger.past if past.parameters is not None)


def test_finalising_forgets_all_but_what_descends() -> None:
    forge = Forge(world_of())
    trunk = forge.path(GENESIS, ALICE, BOB)
    (side,) = forge.path(trunk[0].id, CAROL)
    branches = branches_of(forge, 10**9)
    for step in (*trunk, side):
        branches.add(known(step), None)
    assert branches.finalise(known(side)) == frozenset([side.id])
    assert branches.root == known(side)
    assert [branches.find(step.id) for step in trunk] == [None, None]
    assert branches.state(known(side)).digest == side.state_digest


def test_blocks_that_wait_for_finality_are_bounded() -> None:
    forge = Forge(world_of())
    branches = branches_of(forge, 10**9)
    for number in range(BLOCKS_MAX - 1):
        assert not branches.is_full
        branches.add(KnownBlock(number.to_bytes(32, "big"), GENESIS, 1, ALICE, (), bytes(32)), None)
    assert branches.is_full
    with pytest.raises(AssertionError, match="wait for finality"):
        branches.add(KnownBlock(b"x" * 32, GENESIS, 1, ALICE, (), bytes(32)), None)
