"""Models by step: kept while there is room, rebuilt exactly when not, gone with their branch."""

import tracemalloc
from itertools import pairwise

import pytest

from learning.evolution.lineage import KnownStep, Lineage, Mutation
from learning.evolution.recipe import Recipe
from learning.evolution.schedule import StepSizeSchedule
from learning.state import StoredStateError, genesis_state, state_digest
from learning.task import ParameterBlock

SCHEDULE = StepSizeSchedule("0.03", "0.99", "0.001")
MODEL = genesis_state(b"n", (ParameterBlock("weight", (100,), 4),))
ROOT = KnownStep(b"root", b"", 0, None, state_digest(MODEL))


def lineage_of(bytes_max: int) -> Lineage:
    return Lineage(b"n", SCHEDULE, ROOT, MODEL, bytes_max)


def grow(lineage: Lineage, parent: KnownStep, name: str, indices: tuple[int, ...] = (1,)) -> KnownStep:
    mutation = Mutation(b"author", Recipe(indices)) if indices else None
    model = lineage.child(parent, mutation)
    step = KnownStep(name.encode(), parent.id, parent.height + 1, mutation, state_digest(model))
    lineage.add(step, model)
    return step


def path_of(lineage: Lineage, length: int) -> list[KnownStep]:
    path = [ROOT]
    for height in range(1, length + 1):
        path.append(grow(lineage, path[-1], f"step {height}", (height, height + 7) if height % 3 else ()))
    return path


def test_models_that_were_dropped_are_rebuilt_exactly() -> None:
    lineage = lineage_of(bytes_max=3 * 400)
    path = path_of(lineage, 20)
    assert [state_digest(lineage.model(step)) for step in path] == [step.state_digest for step in path]


def test_the_memory_for_models_is_bounded() -> None:
    lineage = lineage_of(bytes_max=3 * 400)
    path_of(lineage, 20)
    assert len(lineage._models) == 3


def test_a_deep_branch_of_a_large_model_takes_no_more_than_its_bytes_and_a_fork_from_anywhere_is_near() -> None:
    """A megabyte a model, room for eight, 256 steps above the final one."""
    parameters, room, depth = 250_000, 8, 256
    model = genesis_state(b"n", (ParameterBlock("weight", (parameters,), 4),))
    root = KnownStep(b"root", b"", 0, None, state_digest(model))
    tracemalloc.start()
    try:
        lineage = Lineage(b"n", SCHEDULE, root, model, room * model.parameters.nbytes)
        path = [root]
        for height in range(1, depth + 1):
            path.append(grow(lineage, path[-1], f"step {height}", (height,)))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < (room + 4) * model.parameters.nbytes
    assert len(lineage._models) == room
    heights = [0, *sorted(step.height for step in path if step.id in lineage._models)]
    gaps = [later - earlier for earlier, later in pairwise(heights)]
    assert max(gaps) <= 3 * depth // room
    assert state_digest(lineage.model(path[depth // 2])) == path[depth // 2].state_digest


def test_a_model_larger_than_all_the_room_stays_with_its_child_alone() -> None:
    lineage = lineage_of(bytes_max=399)
    path = path_of(lineage, 20)
    assert [step.height for step in path if step.id in lineage._models] == [19, 20]


def test_finality_forgets_what_lies_below_and_beside() -> None:
    lineage = lineage_of(bytes_max=2**20)
    path = path_of(lineage, 6)
    grow(lineage, path[2], "rival", (99,))
    rival_above = grow(lineage, path[4], "rival above", (98,))
    remaining = lineage.finalise(path[4])
    assert remaining == {step.id for step in (*path[4:], rival_above)}
    assert [lineage.find(step.id) for step in path[:4]] == [None] * 4
    assert state_digest(lineage.model(rival_above)) == rival_above.state_digest


def test_a_step_that_is_added_without_its_model_is_rebuilt_and_compared() -> None:
    whole = lineage_of(bytes_max=2**20)
    path = path_of(whole, 5)
    replayed = lineage_of(bytes_max=2**20)
    for step in path[1:]:
        replayed.add(step, None)
    assert replayed.model(path[5]).parameters.tobytes() == whole.model(path[5]).parameters.tobytes()


def test_damaged_records_are_noticed() -> None:
    lineage = lineage_of(bytes_max=2**20)
    lineage.add(KnownStep(b"one", ROOT.id, 1, Mutation(b"author", Recipe((1,))), bytes(32)), None)
    step = lineage.find(b"one")
    assert step is not None
    with pytest.raises(StoredStateError, match="step 6f6e65 at height 1 leads to another state than stored"):
        lineage.model(step)
