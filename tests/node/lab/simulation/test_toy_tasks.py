"""Toy tasks: as exact as wanted, and no more."""

import numpy as np
import pytest

from learning.exact import MICRO
from node.lab.scenarios.toy_tasks import Processor, ToyTask, toy_task

MODELS = np.random.Generator(np.random.Philox(key=1)).normal(0, 1, (50, 20)).astype(np.float32)


def measured(name: ToyTask, processor: Processor) -> list[int]:
    """In micro-units, by their distance from what is exact."""
    exact, other = toy_task(name), toy_task(name, processor)
    models = MODELS[:, : sum(block.size for block in exact.layout)]
    batch = exact.draw_batch(bytes(32))
    return [round(MICRO * (other.fitness(model, batch) - exact.fitness(model, batch))) for model in models]


@pytest.mark.parametrize("name", ToyTask)
def test_two_processors_measure_up_to_so_much_apart_and_each_the_same_again(name: ToyTask) -> None:
    one, other = (measured(name, Processor(seed, 2)) for seed in (1, 2))
    assert set(one) == set(other) == {0, 1, 2}
    assert one != other
    assert one == measured(name, Processor(1, 2))


@pytest.mark.parametrize("name", ToyTask)
def test_one_model_is_measured_alike_alone_and_among_others(name: ToyTask) -> None:
    task = toy_task(name, Processor(3, 2))
    models = MODELS[:, : sum(block.size for block in task.layout)]
    batch = task.draw_batch(bytes(32))
    assert np.allclose(task.scores(models, batch), [task.fitness(model, batch) for model in models], rtol=0, atol=1e-9)
