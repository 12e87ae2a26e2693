import numpy as np
import pytest
import torch
from torch import nn

from learning.idle_tensors import idle_in_gradients, idle_in_scores
from learning.tasks.supervised import Samples, SupervisedTask

GENERATOR = np.random.default_rng(1)
SAMPLES = Samples(GENERATOR.normal(size=(40, 6)).astype(np.float32), GENERATOR.integers(0, 3, 40))


class Unused(nn.Module):
    """A head that the forward pass forgets, and a layer behind a gate that is shut."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.forgotten, self.side = nn.Linear(6, 3), nn.Linear(3, 3), nn.Linear(6, 3)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.body(inputs) + 0 * self.side(inputs)


class Behind(nn.Module):
    """The side layer counts as soon as its gate opens."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.side, self.gate = nn.Linear(6, 3), nn.Linear(6, 3), nn.Parameter(torch.zeros(3))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.body(inputs) + self.gate * self.side(inputs)


def task_of(model: nn.Module) -> SupervisedTask:
    return SupervisedTask("t", model, "cross_entropy", SAMPLES, SAMPLES)


@pytest.mark.parametrize(
    ("model", "in_scores", "in_gradients"),
    [
        (nn.Sequential(nn.Linear(6, 8), nn.LayerNorm(8), nn.ReLU(), nn.Linear(8, 3)), (), ()),
        (
            Unused(),
            ("forgotten.weight", "forgotten.bias", "side.weight", "side.bias"),
            ("forgotten.weight", "forgotten.bias", "side.weight", "side.bias"),
        ),
        (Behind(), (), ()),
    ],
    ids=["all", "unused", "behind a gate"],
)
def test_what_nothing_depends_on_is_named(model: nn.Module, in_scores: tuple[str, ...], in_gradients: tuple[str, ...]) -> None:
    task = task_of(model)
    assert idle_in_scores(task) == in_scores
    assert idle_in_gradients(task) == in_gradients
