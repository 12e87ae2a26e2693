"""Which tensors of a model nothing depends on: a person should hear of them before a network learns for a day without them.

A tensor is idle where changing all of its numbers moves no score, or where its gradient is zero at two models. Both are tried
on a few samples, so a tensor that matters for rare samples alone may be named, too: it is a hint, and no fault.
"""

from collections.abc import Iterator

import numpy as np

from learning.exact import first_weights, signs, stream_key
from learning.task import DifferentiableTask, Float32Array, Layout, Task

KEY = stream_key(b"kubrat/idle-tensors/1")

SAMPLES = 16

NUMBERS_MAX = 2**27
"""In all candidates that are tried: half a gigabyte takes a second or two. Of a larger model the first tensors are tried."""

CHANGE_MIN = 0.125
"""Of each number; weights change by as much as they start with, where that is more."""


def idle_in_scores(task: Task) -> tuple[str, ...]:
    """The blocks that move no score. Raises whatever the task does."""
    _, away = _models(task.layout)
    batch = task.draw_batch(bytes(32))[:SAMPLES]
    tried = task.layout[: max(1, NUMBERS_MAX // len(away))]
    idle = []
    for name, part, change in _changes(tried):
        candidates = np.stack([away, away, away])
        candidates[1, part] += change
        candidates[2, part] -= change
        scores = task.scores(candidates, batch)
        if scores[0] == scores[1] == scores[2]:
            idle.append(name)
    return tuple(idle)


def idle_in_gradients(task: DifferentiableTask) -> tuple[str, ...]:
    """The blocks whose gradient is zero at the first model and at one a step away. Raises whatever the task does."""
    models = _models(task.layout)
    minibatch = task.minibatch(np.arange(min(SAMPLES, len(task.sample_labels)), dtype=np.int64))
    gradients = [task.gradient(parameters, minibatch) for parameters in models]
    return tuple(name for name, part, _ in _changes(task.layout) if not any(gradient[part].any() for gradient in gradients))


def _models(layout: Layout) -> tuple[Float32Array, Float32Array]:
    """A first model, and one where all has changed: a gate that starts shut is open there."""
    first = first_weights(KEY, layout)
    away = first.copy()
    for _, part, change in _changes(layout):
        away[part] += change
    return first, away


def _changes(layout: Layout) -> Iterator[tuple[str, slice, Float32Array]]:
    """Each block's name, its place in the vector, and what to add to it: of random signs, and never all the same, since
    what is added to all outputs alike moves no score.
    """
    begin = 0
    for number, block in enumerate(layout):
        size = max(CHANGE_MIN, block.fan_in**-0.5 if block.fan_in else 0.0)
        sizes = np.linspace(size / 2, size, block.size, dtype=np.float32)
        yield block.name, slice(begin, begin + block.size), sizes * signs(KEY, number, block.size).astype(np.float32)
        begin += block.size
