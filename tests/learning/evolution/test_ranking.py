"""How much a member ranks for one list: no more than the batch can tell."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from learning.evolution.ranking import Ranking
from learning.evolution.rules import EvolutionRules
from learning.evolution.search import Generation, SearchSettings
from learning.exact import noise_key
from learning.state import genesis_state
from learning.task import Float32Array, Float64Array, Int64Array
from learning.task_check import check_task
from tests.learning.evolution.exchange import NETWORK
from tests.learning.sphere import SphereTask


class CountedSphere(SphereTask):
    """Counts the samples that mutations are ranked on."""

    sample_evaluations = 0

    def scores(self, candidates: Float32Array, batch: Int64Array) -> Float64Array:
        self.sample_evaluations += len(candidates) * len(batch)
        return super().scores(candidates, batch)


def evaluations_of_a_list(batch: int, settings: SearchSettings) -> int:
    """With λ = 64."""
    task = CountedSphere()
    rules = structs.replace(EvolutionRules(), offspring=64)
    parent = genesis_state(NETWORK, task.layout)
    rows = np.arange(batch, dtype=np.int64) % 64
    checked = check_task(task)
    task.sample_evaluations = 0
    ranking = Ranking(
        checked, rules, settings, Generation(parent, noise_key(NETWORK, bytes(32), bytes(32)), np.float32(0.03), rows)
    )
    while not ranking.is_all:
        ranking.advance()
    return task.sample_evaluations


@pytest.mark.parametrize(
    ("batch", "expected"), [(1, 64 * 1), (8, 64 * 4), (63, 64 * 32), (64, 128 * 64), (140, 128 * 140), (4_096, 128 * 256)]
)
def test_a_list_costs_a_quarter_on_a_batch_of_fewer_samples_than_mutations(batch: int, expected: int) -> None:
    assert evaluations_of_a_list(batch, SearchSettings(effort_min=2, effort_max=2)) == expected


@given(effort=st.integers(1, 8))
def test_who_makes_more_effort_does_so_on_a_small_batch_too(effort: int) -> None:
    settings = SearchSettings(effort_min=effort, effort_max=effort)
    assert evaluations_of_a_list(8, settings) == 64 * 4 * -(-effort // 2)


def test_time_that_is_left_is_of_no_use_to_a_small_batch() -> None:
    assert evaluations_of_a_list(8, SearchSettings(effort_min=1, effort_max=8)) == 64 * 4
