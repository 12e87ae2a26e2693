"""What is tried of a task before anybody relies on it: a task that cannot measure its first model is refused, in words."""

import numpy as np

from learning.checked_task import CheckedDifferentiableTask, CheckedTask, checked_task
from learning.exact import first_weights, micro_units, stream_key
from learning.state import ModelState
from learning.task import Float32Array, Int64Array, Task, TaskError

TRIAL_CANDIDATES = 2
"""Enough to tell a task that mixes up candidates and samples."""

TRIAL_SAMPLES = 64
"""Of a batch: enough to see that it runs, and whether it repeats itself; the whole is measured once."""


def check_task(task: Task) -> CheckedTask:
    """Try everything that a learner will ask of the task, once, on some first model.

    Raises TaskError naming the task and the fault: a method raises, or answers with a wrong type or shape, or with NaN.
    """
    checked = checked_task(task)
    parameters = first_weights(stream_key(b"kubrat/task-check/1"), checked.layout)
    first_fitness(checked, parameters, checked.asked.draw_batch(bytes(32)))
    checked.asked.metrics(parameters)
    return checked


def first_fitness(task: CheckedTask, parameters: Float32Array, batch: Int64Array) -> float:
    """Of a model that must have one. Raises TaskError naming the task and the fault; the worst is no fitness of a first model.

    What a search asks for is tried, too, on a few samples.
    """
    score = float(task.asked.scores(np.tile(parameters, (TRIAL_CANDIDATES, 1)), batch[:TRIAL_SAMPLES])[0])
    if not np.isfinite(score):
        raise _not_finite(task, "scores", score)
    fitness = task.asked.fitness(parameters, batch)
    if not np.isfinite(fitness):
        raise _not_finite(task, "fitness", fitness)
    return fitness


def _not_finite(task: CheckedTask, method: str, value: float) -> TaskError:
    return TaskError(f"task {task.name!r}: {method} of a first model is {value}, expected a finite number")


def start_fitness(task: CheckedTask, model: ModelState, seed: bytes, samples_max: int | None = None) -> float | None:
    """Of the model that a learner starts from, on the batch of `seed`, or so many samples of it.

    None for a restored model that cannot be measured: it is the worst, as any other would be. Raises TaskError where the task
    cannot measure a first model either.
    """
    try:
        return first_fitness(task, model.parameters, task.asked.draw_batch(seed)[:samples_max])
    except TaskError:
        if model.height == 0:
            raise
    check_task(task)
    return None


def check_repeatable(task: CheckedTask, parameters: Float32Array, batch: Int64Array, tolerance: int) -> None:
    """Two measurements of one model must agree within the network's tolerance, in micro-units: others will measure it, too.

    Raises TaskError: with such a task honest peers would accuse each other of lying.
    """
    first, second = (micro_units(task.fitness(parameters, batch[:TRIAL_SAMPLES])) for _ in range(2))
    if abs(first - second) > tolerance:
        raise TaskError(
            f"task {task.name!r}: two measurements of one model differ by {abs(first - second)} micro-units, "
            f'allowed is evolution.fitness_tolerance ({tolerance}); a stochastic task needs consensus = "total-order"'
        )


TRIAL_ROWS = 8
"""What the smallest shard has."""


def check_gradient(task: CheckedDifferentiableTask) -> None:
    """Try what a worker will ask of the task, on some first model.

    Raises TaskError naming the task and the fault: a method raises, or answers with a wrong type or shape; the gradient is not
    finite, or zero everywhere.
    """
    asked = task.checked.asked
    rows = np.arange(min(TRIAL_ROWS, len(asked.sample_labels)), dtype=np.int64)
    parameters = first_weights(stream_key(b"kubrat/task-check/1"), task.layout)
    if not asked.gradient(parameters, asked.minibatch(rows)).any():
        raise TaskError(f"task {task.name!r}: gradient of a first model is zero everywhere, so nothing could be learned")
