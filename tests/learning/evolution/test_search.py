"""The race: what it tries, what it proposes, what it holds."""

from dataclasses import replace

import numpy as np
import pytest
from msgspec import structs

from learning.evolution.recipe import Recipe, child_of
from learning.evolution.rules import EvolutionRules
from learning.evolution.schedule import StepSizeSchedule
from learning.evolution.search import Generation, Search, SearchSettings
from learning.exact import signs, stream_key
from learning.state import ModelState, genesis_state
from learning.task import Float32Array, Float64Array, Int64Array
from learning.task_check import CheckedTask
from tests.learning.evolution.exchange import RULES, SETTINGS
from tests.learning.sphere import SphereTask

TASK = CheckedTask(SphereTask())
GENERATION = Generation(
    genesis_state(b"n", TASK.layout),
    stream_key(b"search"),
    StepSizeSchedule("0.03", "0.99", "0.001").at(0),
    TASK.draw_batch(b"seed"),
)


def proposals(rules: EvolutionRules, settings: SearchSettings, rounds: int, task: CheckedTask = TASK) -> list[Recipe]:
    search = Search(task, rules, settings, GENERATION)
    recipes: list[Recipe] = []
    while search.candidates_tried < rounds * rules.offspring:
        recipes.extend(recipe for recipe in [search.advance()] if recipe is not None)
    while not recipes or search.candidates_tried == rounds * rules.offspring:
        recipes.extend(recipe for recipe in [search.advance()] if recipe is not None)
    return recipes


def true_score(recipe: Recipe) -> float:
    child = child_of(GENERATION.parent, GENERATION.key, recipe, GENERATION.sigma)
    return TASK.fitness(child.parameters, GENERATION.batch)


@pytest.mark.parametrize("chunk", [1, 7, 32, 100])
def test_with_every_candidate_a_finalist_the_first_proposal_is_the_best_of_the_first_offspring(chunk: int) -> None:
    settings = SearchSettings(race_samples=16, finalists=32, chunk=chunk)
    first = proposals(RULES, settings, 1)[0]
    assert first == max((Recipe((index,)) for index in range(32)), key=true_score)


def test_a_race_on_the_whole_batch_needs_no_final() -> None:
    whole = proposals(RULES, SearchSettings(race_samples=1_000, finalists=1, chunk=8), 1)
    assert whole[0] == max((Recipe((index,)) for index in range(32)), key=true_score)


def test_later_rounds_propose_only_better_ones() -> None:
    scores = [true_score(recipe) for recipe in proposals(RULES, SETTINGS, 20)]
    assert (scores, len(scores) > 1) == (sorted(set(scores)), True)


def test_no_index_is_raced_twice_and_none_is_left_out() -> None:
    class Recording(SphereTask):
        raced: list[bytes] = []

        def scores(self, candidates: Float32Array, batch: Int64Array) -> Float64Array:
            if len(batch) == SETTINGS.race_samples:
                self.raced.extend(candidate.tobytes() for candidate in candidates)
            return super().scores(candidates, batch)

    task = Recording()
    proposals(RULES, replace(SETTINGS, chunk=5), 3, CheckedTask(task))
    parent, key, sigma = GENERATION.parent, GENERATION.key, GENERATION.sigma
    expected = [child_of(parent, key, Recipe((index,)), sigma).parameters.tobytes() for index in range(96)]
    assert task.raced[:96] == expected


def test_a_longer_recipe_beats_the_best_single_mutation() -> None:
    single = proposals(RULES, SETTINGS, 4)[-1]
    mixed = proposals(structs.replace(RULES, recipe_length_max=8), SETTINGS, 4)[-1]
    assert true_score(mixed) > true_score(single)


@pytest.mark.parametrize("diverging", [-1, 1])
def test_what_diverges_is_never_proposed(diverging: int) -> None:
    class Diverging(SphereTask):
        def scores(self, candidates: Float32Array, batch: Int64Array) -> Float64Array:
            scores = super().scores(candidates, batch)
            scores[np.sign(candidates[:, 0] - GENERATION.parent.parameters[0]) == diverging] = np.nan
            return scores

    settings = SearchSettings(race_samples=1_000, finalists=1, chunk=8)
    recipe = proposals(RULES, settings, 1, CheckedTask(Diverging()))[0]
    sound = [Recipe((index,)) for index in range(32) if signs(GENERATION.key, index, 20)[0] != diverging]
    assert recipe == max(sound, key=true_score)


def test_a_large_model_is_searched_in_bounded_memory() -> None:
    parent = ModelState(np.zeros(5 * 2**20, dtype=np.float32), 0)
    search = Search(TASK, RULES, replace(SETTINGS, chunk=64), replace(GENERATION, parent=parent))
    assert search._children.nbytes <= 32 * 2**20  # all of its memory that grows with the model
