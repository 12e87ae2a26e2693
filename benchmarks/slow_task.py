"""The digits with an evaluation that takes longer, for benchmarks/shares.py: `--task benchmarks.slow_task:task`."""

import os
import time

from learning.task import Float32Array, Float64Array, Int64Array
from learning.tasks.digits import WIDTHS, digits_samples, perceptron
from learning.tasks.supervised import SupervisedTask

DELAY_S = float(os.environ.get("KUBRAT_BENCHMARK_DELAY_MS", "100")) / 1000


class SlowTask(SupervisedTask):
    """Each call of `scores` takes so much processor time more."""

    def scores(self, candidates: Float32Array, batch: Int64Array) -> Float64Array:
        """As the quick one's."""
        until = time.thread_time() + DELAY_S
        while time.thread_time() < until:
            pass
        return super().scores(candidates, batch)


def task() -> SlowTask:
    """The digits of scikit-learn, read by the same perceptron as in the task of that name."""
    train, test = digits_samples()
    return SlowTask("benchmarks.slow_task:task", perceptron(WIDTHS), "cross_entropy", train, test)
