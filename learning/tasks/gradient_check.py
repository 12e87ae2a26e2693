"""A task's gradient is code of a user: it is tried once before work starts, and a fault becomes a TaskError that names it."""

import numpy as np

from learning.exact import first_weights, stream_key
from learning.task import DifferentiableTask, Float32Array, Int64Array, Minibatch, TaskError

TRIAL_SAMPLES = 8
"""What the smallest shard has."""


def check_gradient(task: DifferentiableTask) -> None:
    """Try what a worker will ask of the task, on a first model. The rest of it: `learning.task_check`.

    Raises TaskError naming the task and the fault: a method raises, or answers with a wrong type or shape; the gradient is not
    finite, or zero everywhere.
    """
    try:
        labels = task.sample_labels
        rows = np.arange(min(TRIAL_SAMPLES, len(labels)), dtype=np.int64)
        minibatch = task.minibatch(rows)
        parameters = first_weights(stream_key(b"kubrat/task-check/1"), task.layout)
        gradient = task.gradient(parameters, minibatch)
    except TaskError:
        raise
    except Exception as error:
        raise TaskError(f"task {task.name!r}: trying its gradient raised {type(error).__name__}: {error}") from error
    for fault in (_label_fault(labels), _minibatch_fault(minibatch, len(rows)), _gradient_fault(gradient, len(parameters))):
        if fault is not None:
            raise TaskError(f"task {task.name!r}: {fault}")


def _label_fault(labels: Int64Array) -> str | None:
    if not isinstance(labels, np.ndarray) or labels.dtype != np.int64 or labels.ndim != 1 or not len(labels):
        return f"sample_labels is {_describe(labels)}, expected a non-empty int64 vector, one per training sample"
    return None


def _minibatch_fault(minibatch: Minibatch, samples: int) -> str | None:
    if not isinstance(minibatch, Minibatch) or not len(minibatch.inputs) == len(minibatch.labels) == samples:
        return f"minibatch of {samples} rows is {_describe(minibatch)}, expected a Minibatch of as many inputs and labels"
    return None


def _gradient_fault(gradient: Float32Array, parameters: int) -> str | None:
    if not isinstance(gradient, np.ndarray) or gradient.dtype != np.float32 or gradient.shape != (parameters,):
        return f"gradient is {_describe(gradient)}, expected a float32 vector of {parameters}, one per parameter"
    if not np.isfinite(gradient).all():
        return "gradient of a first model has a value that is not finite"
    if not gradient.any():
        return "gradient of a first model is zero everywhere, so nothing could be learned"
    return None


def _describe(found: object) -> str:
    return f"{found.dtype} of shape {found.shape}" if isinstance(found, np.ndarray) else type(found).__name__
