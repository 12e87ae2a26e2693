"""States of steps are those that a straight path leads to, whether they were at hand or had to be rebuilt."""

import random
import tracemalloc
from collections.abc import Iterable
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from learning.evolution.mutation import Mutating
from learning.evolution.payload import Candidate, encode_candidate
from learning.evolution.recipe import Recipe
from learning.following.state_tree import STATES_MIN, StateTree, final_step
from learning.gradient.blocks import BlockState, BlockTransition
from learning.gradient.ledger import Aggregator
from learning.learner import ProposedStep
from learning.state import ModelState, StoredStateError, genesis_state, state_digest
from learning.task import ParameterBlock
from tests.learning.evolution.exchange import GENESIS, NETWORK, RULES
from tests.learning.following.line_world import signed
from tests.learning.gradient.chain import ALICE, BOB, CAROL, Forge, world_of
from tests.learning.gradient.quadratic import LAYOUT

MUTATING = Mutating(NETWORK, RULES)
STEPS_MAX = 400
ROOMY = 10**9
MODEL_BYTES = 60
"""Of the quadratic task."""
STATE_BYTES = MODEL_BYTES + 7 * 8
"""And seven references to past models: what a block adds that has a model of its own."""


def models_of(parameters: int, room: int) -> tuple[StateTree[ModelState], ModelState]:
    """A tree of mutations with room for so many models beside the root's, and the root's."""
    model = genesis_state(NETWORK, (ParameterBlock("weight", (parameters,), 4),))
    root, room_bytes = final_step(GENESIS, 0, state_digest(model)), (1 + room) * model.parameters.nbytes
    return StateTree(MUTATING, root, model, steps_max=STEPS_MAX, bytes_max=room_bytes), model


def grow(tree: StateTree[ModelState], parent: ProposedStep, index: int) -> ProposedStep:
    payload = encode_candidate(Candidate(Recipe((index,)), 0))
    step = ProposedStep(b"", parent.id, parent.height + 1, ALICE, (signed(ALICE, parent.id, payload),), b"", b"")
    model = MUTATING.apply(tree.state(parent), step)
    digest = state_digest(model)
    grown = ProposedStep(digest, step.parent, step.height, ALICE, step.contributions, b"", digest)
    tree.add(grown, model)
    return grown


def path_of(tree: StateTree[ModelState], length: int) -> list[ProposedStep]:
    path = [tree.root]
    for height in range(1, length + 1):
        path.append(grow(tree, path[-1], height))
    return path


def heights_at_hand(tree: StateTree[ModelState], path: Iterable[ProposedStep]) -> list[int]:
    return [step.height for step in path if tree.at_hand(step) is not None]


def blocks_of(forge: Forge, bytes_max: int) -> StateTree[BlockState]:
    rules, state = forge.world.rules, forge.states[GENESIS]
    transition = BlockTransition(
        Aggregator(LAYOUT, rules.ledger_rules(), rules.named_rule()), forge.world.shelf, rules.workers_window
    )
    return StateTree(transition, final_step(GENESIS, 0, state.digest), state, steps_max=STEPS_MAX, bytes_max=bytes_max)


def forest(forge: Forge, blocks: int, seed: int) -> list[ProposedStep]:
    """Blocks on parents drawn by lot, each with a gradient or two."""
    chance = random.Random(seed)
    steps: list[ProposedStep] = []
    for _ in range(blocks):
        parent = chance.choice([GENESIS, *(step.id for step in steps[-4:])])
        items = [forge.contribution(author, parent, chance.random()) for author in chance.choices((ALICE, BOB), k=2)]
        steps.append(forge.block(parent, chance.choice((ALICE, BOB, CAROL)), *items))
    return steps


def moving_path(forge: Forge, blocks: int) -> list[ProposedStep]:
    """Each block has a model of its own, but for the first two."""
    steps = forge.path(GENESIS, ALICE, BOB)
    while len(steps) < blocks:
        base = steps[-1].id
        steps.append(forge.block(base, ALICE, forge.contribution(ALICE, base)))
    return steps


# --- rebuilt --------------------------------------------------------------------------------------------------------


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32), bytes_max=st.sampled_from([0, 1_000, ROOMY]), rule=st.sampled_from(["mean", "kardam"]))
def test_rebuilt_states_are_the_same(seed: int, bytes_max: int, rule: str) -> None:
    forge = Forge(world_of(rule))
    steps = forest(forge, 20, seed)
    tree, chance = blocks_of(forge, bytes_max), random.Random(seed)
    for step in steps:
        tree.add(step, forge.states[step.id]) if chance.random() < 0.5 else tree.add_stored(step)
    for step in chance.choices(steps, k=20):
        assert tree.state(step).digest == step.state_digest


def test_models_that_were_dropped_are_rebuilt_exactly() -> None:
    tree, _ = models_of(100, room=3)
    path = path_of(tree, 20)
    assert [state_digest(tree.state(step)) for step in path] == [step.state_digest for step in path]


def test_a_step_that_is_added_without_its_state_is_rebuilt_and_compared() -> None:
    path = path_of(models_of(100, room=20)[0], 5)
    replayed, _ = models_of(100, room=20)
    for step in path[1:]:
        replayed.add_stored(step)
    assert state_digest(replayed.state(path[5])) == path[5].state_digest


def test_damaged_records_are_noticed() -> None:
    tree, _ = models_of(100, room=3)
    damaged = ProposedStep(b"one", GENESIS, 1, ALICE, (), b"", bytes(32))
    tree.add_stored(damaged)
    with pytest.raises(StoredStateError, match="step 6f6e65 at height 1 leads to another state than stored"):
        tree.state(damaged)


# --- what stays at hand ---------------------------------------------------------------------------------------------


def test_a_deep_branch_of_a_large_model_takes_no_more_than_its_bytes_and_a_fork_from_anywhere_is_near() -> None:
    """A megabyte a model, room for eight, 256 steps above the final one."""
    parameters, room, depth = 250_000, 8, 256
    tracemalloc.start()
    try:
        tree, model = models_of(parameters, room)
        path = path_of(tree, depth)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < (1 + room + 4) * model.parameters.nbytes
    heights = heights_at_hand(tree, path)
    assert len(heights) == 1 + room
    assert max(later - earlier for earlier, later in pairwise(heights)) <= 3 * depth // room
    assert state_digest(tree.state(path[depth // 2])) == path[depth // 2].state_digest


def test_a_deep_branch_is_rebuilt_from_near_by_wherever_it_forks() -> None:
    forge = Forge(world_of())
    steps = moving_path(forge, 122)
    tree = blocks_of(forge, 9 * STATE_BYTES)
    for step in steps:
        tree.add(step, forge.states[step.id])
    heights = [0, *(step.height for step in steps if tree.at_hand(step) is not None)]
    assert max(later - earlier for earlier, later in pairwise(heights)) <= 3 * len(steps) // (len(heights) - 1)
    assert tree.state(steps[60]).digest == steps[60].state_digest


def test_a_model_larger_than_all_the_room_stays_with_its_child_alone() -> None:
    tree, _ = models_of(100, room=-1)
    path = path_of(tree, 20)
    assert (heights_at_hand(tree, path), STATES_MIN) == ([0, 19, 20], 2)


def test_a_state_that_gives_way_makes_room_for_another() -> None:
    forge = Forge(world_of())
    steps = moving_path(forge, 22)
    room = MODEL_BYTES + 8 + 5 * STATE_BYTES
    tree = blocks_of(forge, room)
    for step in steps:
        tree.add(step, forge.states[step.id])
        assert tree.bytes_at_hand <= room
    assert sum(tree.at_hand(step) is not None for step in steps) == 5


def test_what_states_share_is_counted_once_and_as_long_as_one_of_them_is_there() -> None:
    """With Kardam each state holds the models of its window: empty blocks share them all, and another gradient adds one."""
    forge = Forge(world_of("kardam"))
    steps: list[ProposedStep] = forge.path(GENESIS, ALICE, BOB, ALICE)
    for number in range(6):
        base = steps[-1].id
        steps.append(forge.block(base, ALICE, forge.contribution((ALICE, BOB)[number % 2], base)))
    tree = blocks_of(forge, ROOMY)
    for step in steps:
        tree.add(step, forge.states[step.id])
    for last in (3, 7, 8):
        tree.finalise(steps[last].id)
        states = [state for step in steps[last:] if (state := tree.at_hand(step)) is not None]
        assert len(states) == len(steps) - last
        distinct = {id(array): array.nbytes for state in states for array in arrays_of(state)}
        assert tree.bytes_at_hand == sum(distinct.values()) + 8 * sum(len(state.ledger.past) for state in states)


def arrays_of(state: BlockState) -> Iterable[np.ndarray]:
    ledger = state.ledger
    yield from (ledger.parameters, *ledger.memory.vectors)
    yield from (slot.gradient.values for slot in ledger.memory.slots)
    yield from (past.parameters for past in ledger.past if past.parameters is not None)


# --- finality -------------------------------------------------------------------------------------------------------


def test_finality_forgets_what_lies_below_and_beside() -> None:
    tree, _ = models_of(100, room=20)
    path = path_of(tree, 6)
    grow(tree, path[2], 99)
    rival_above = grow(tree, path[4], 98)
    remaining = tree.finalise(path[4].id)
    assert (remaining, tree.root) == ({step.id for step in (*path[4:], rival_above)}, path[4])
    assert [tree.find(step.id) for step in path[:4]] == [None] * 4
    assert state_digest(tree.state(rival_above)) == rival_above.state_digest


def test_finalising_a_step_that_must_be_rebuilt_forgets_all_but_what_descends() -> None:
    forge = Forge(world_of())
    trunk = forge.path(GENESIS, ALICE, BOB)
    (side,) = forge.path(trunk[0].id, CAROL)
    tree = blocks_of(forge, ROOMY)
    for step in (*trunk, side):
        tree.add_stored(step)
    assert tree.finalise(side.id) == frozenset([side.id])
    assert [tree.find(step.id) for step in trunk] == [None, None]
    assert tree.state(side).digest == side.state_digest


def test_steps_that_wait_for_finality_are_bounded() -> None:
    tree, model = models_of(100, room=3)
    for number in range(STEPS_MAX - 1):
        assert not tree.is_full
        tree.add_stored(ProposedStep(number.to_bytes(32, "big"), GENESIS, 1, ALICE, (), b"", bytes(32)))
    further = ProposedStep(b"x" * 32, GENESIS, 1, ALICE, (), b"", bytes(32))
    assert tree.parent_of(further) == "too many steps wait for finality"
    with pytest.raises(AssertionError, match=f"more than {STEPS_MAX} steps wait for finality"):
        tree.add(further, model)
    with pytest.raises(StoredStateError, match=f"more stored steps wait for finality than the {STEPS_MAX} allowed"):
        tree.add_stored(further)


def test_a_step_that_is_not_above_the_final_one_changes_nothing() -> None:
    tree, _ = models_of(100, room=20)
    path = path_of(tree, 3)
    tree.finalise(path[1].id)
    assert [tree.finalise(step.id) for step in path[:2]] == [None, None]
    assert tree.root == path[1]
