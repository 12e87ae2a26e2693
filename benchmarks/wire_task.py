"""A digits reader with a million parameters, for benchmarks/wire.py: `--task benchmarks.wire_task:large`."""

from learning.tasks.digits import digits_task
from learning.tasks.supervised import SupervisedTask


def large() -> SupervisedTask:
    """The digits, read by a 64-968-968-10 perceptron of 1,010,602 parameters."""
    return digits_task("benchmarks.wire_task:large", (64, 968, 968, 10))
