"""Pictures of bytes: kept as they are, a quarter of the memory, and made numbers by the model's first layer."""

import numpy as np
import torch
from torch import nn

from learning.exact import permutation
from learning.tasks.supervised import Samples

BRIGHTNESS_LEVELS = 256
"""A power of two, so the division is exact in every precision."""

TEST_SAMPLES_MAX = 2_000
"""Of the test set, at random: its accuracy is for people, is measured again and again, and has a spread of 1 % by then."""

TEST_SEED = b"kubrat/test-pictures/1"
"""Some test sets are sorted by class."""


class Brightness(nn.Module):  # type: ignore[misc]  # torch is not followed by mypy (pyproject.toml), so its classes are Any
    """Bytes 0..255 become numbers from `black` to `black` + 255/256, in the model's own precision."""

    def __init__(self, black: float) -> None:
        super().__init__()
        self.register_buffer("level", torch.tensor(1 / BRIGHTNESS_LEVELS))
        self.register_buffer("black", torch.tensor(black))

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        """Any shape."""
        return pictures * self.level + self.black


def subset_for_tests(samples: Samples) -> Samples:
    """At most TEST_SAMPLES_MAX of them."""
    chosen = np.sort(permutation(TEST_SEED, len(samples))[:TEST_SAMPLES_MAX])
    return Samples(samples.inputs[chosen], samples.labels[chosen])
