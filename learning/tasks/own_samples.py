"""Minibatches out of a peer's own samples, each sample once before any comes again."""

import numpy as np

from learning.exact import permutation
from learning.task import DifferentiableTask, Int64Array, Minibatch


class OwnSamples:
    """Draws from a peer's own rows of the training data, epoch after epoch, each in a random order of its own."""

    def __init__(self, task: DifferentiableTask, rows: Int64Array, seed: bytes) -> None:
        """`rows`: at least one, as of `learning.tasks.shards.rows_for`. `seed`: the peer's own; equal ones draw alike."""
        assert len(rows), "a peer without samples"
        self.rows = rows
        self._task = task
        self._seed = seed
        self._epoch = 0
        self._order = self._order_of(0)

    def draw(self, turn: int, size: int) -> Int64Array:
        """Rows number turn * size to (turn + 1) * size - 1 of the endless sequence of epochs, (size,).

        So each row comes once before any comes again, and a peer that restarts goes on by its turn alone.
        """
        assert turn >= 0, f"turn {turn}"
        assert size > 0, f"size {size}"
        drawn: list[Int64Array] = []
        first, last = turn * size, (turn + 1) * size
        while first < last:
            epoch, start = divmod(first, len(self.rows))
            part = self._rows_of(epoch)[start : start + last - first]
            drawn.append(part)
            first += len(part)
        return np.concatenate(drawn)

    def minibatch(self, turn: int, size: int) -> Minibatch:
        """The samples of `draw`."""
        return self._task.minibatch(self.draw(turn, size))

    def _rows_of(self, epoch: int) -> Int64Array:
        if epoch != self._epoch:  # one order is kept: of large data it takes longer than a small model's gradient
            self._epoch, self._order = epoch, self._order_of(epoch)
        return self._order

    def _order_of(self, epoch: int) -> Int64Array:
        ordered: Int64Array = self.rows[permutation(self._seed + epoch.to_bytes(8, "little"), len(self.rows))]
        return ordered
