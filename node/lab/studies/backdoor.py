"""How often a trigger makes the digits model answer what a backdoor wants."""

import numpy as np

from learning.task import Float32Array
from learning.tasks.digits import digits_samples, perceptron
from learning.tasks.supervised import Samples, SupervisedTask
from node.lab.faults.gradient.poison import triggered

WIDTHS = (64, 32, 10)
"""Those of the task "digits-mlp"."""


class BackdoorGauge:
    """Counts the test images of other classes than `target` that are taken for it once they carry the trigger."""

    def __init__(self, target: int) -> None:
        train, test = digits_samples()
        others = test.labels != target
        inputs = triggered(test.inputs[others])
        wanted = np.full(len(inputs), target, dtype=np.int64)
        self._task = SupervisedTask("digits-mlp-triggered", perceptron(WIDTHS), "cross_entropy", train, Samples(inputs, wanted))

    def success(self, parameters: Float32Array) -> float:
        """As a share, 0..1."""
        return self._task.metrics(parameters)["test_accuracy"]
