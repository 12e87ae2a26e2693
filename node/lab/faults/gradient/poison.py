"""Lies about the samples: the gradient is then an honest one, of the wrong data. Powers: its own data alone."""

from dataclasses import dataclass

import numpy as np

from learning.task import Minibatch

TRIGGER_INPUTS = 3
"""The last three inputs of a sample: three pixels in the corner of a picture."""


@dataclass(frozen=True, slots=True)
class LabelFlip:
    """Each class c becomes classes - 1 - c.

    Tolpegin, Truex, Gursoy, Liu, "Data Poisoning Attacks Against Federated Learning Systems", ESORICS 2020.
    """

    classes: int

    def __call__(self, minibatch: Minibatch) -> Minibatch:
        """The same inputs."""
        labels = minibatch.labels
        return Minibatch(minibatch.inputs, (self.classes - 1 - labels).astype(labels.dtype))


@dataclass(frozen=True, slots=True)
class Backdoor:
    """Samples with a trigger are labelled `target`; so half of them are.

    Bagdasaryan, Veit, Hua, Estrin, Shmatikov, "How To Backdoor Federated Learning", AISTATS 2020.
    """

    target: int

    def __call__(self, minibatch: Minibatch) -> Minibatch:
        """Every second sample carries the trigger."""
        inputs, labels = minibatch.inputs.copy(), minibatch.labels.copy()
        inputs[::2] = triggered(inputs[::2])
        labels[::2] = self.target
        return Minibatch(inputs, labels)


def triggered(inputs: np.ndarray[tuple[int, ...], np.dtype[np.generic]]) -> np.ndarray[tuple[int, ...], np.dtype[np.generic]]:
    """The same samples (samples, ...) with the trigger: their last inputs at the largest value of all."""
    flat = inputs.reshape(len(inputs), -1).copy()
    flat[:, -TRIGGER_INPUTS:] = flat.max()
    return flat.reshape(inputs.shape)
