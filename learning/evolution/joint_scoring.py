"""How a member scores a slate of the joint rule: work that does not grow with the number of lists, as long as a join gains.

1. Parent and joins, on the whole batch: equal machines measure them alike, and the next model is one of them.
2. Where a join gains, the directions, on a draw of the batch, the smaller the more lists there are: all that it decides is
   whose lists are joined. A direction's lead on the draw is added to the parent's score. Heads are not measured: they score
   what the parent does.
3. Where none gains, directions and heads on the whole batch: one of them may win.

Each member draws for itself, by the digest of the slate: who makes a list knows nobody's draw, and n members together look at
more than one batch.

Section 6 of docs/protocol.md.
"""

import numpy as np

from learning.checked_task import CheckedTask
from learning.evolution.joint_step import Children, EntryKind, JointEntry
from learning.exact import FITNESS_LOWEST, FITNESS_MAX, micro_units, permutation
from learning.model_consensus.slate import Slate
from learning.task import Int64Array

DRAWN_BATCHES = 4
"""All directions together are measured on so many times the samples of the batch."""

DRAWN_SAMPLES_MIN = 64
"""Of a draw, however many lists there are."""

DRAW_TAG = b"kubrat/scoring-draw/1"


class Scoring:
    """One member's scores of one slate; each `advance` is a slice of `rows` entries at most."""

    def __init__(
        self, task: CheckedTask, children: Children, slate: Slate[JointEntry], batch: Int64Array, *, draw: Int64Array, rows: int
    ) -> None:
        self._task = task
        self._children = children
        self._entries = slate.entries
        self._batch = self._samples = batch
        self._draw = draw
        self._rows = rows
        self._joins = self._places(EntryKind.JOIN)
        self._due = (0, *self._joins)
        """Positions on the slate, to be measured on the samples of this stage."""
        self._values: list[int] | None = None
        """The scores, as far as they are known, once parent and joins are measured."""
        self._measured: dict[int, int] = {}
        """In this stage, by position, in micro-units."""

    def _places(self, *kinds: EntryKind) -> tuple[int, ...]:
        return tuple(place for place, entry in enumerate(self._entries) if entry.kind in kinds)

    def advance(self) -> tuple[int, ...] | None:
        """One slice; all scores in the order of the slate, in micro-units, once they are known."""
        places, self._due = self._due[: self._rows], self._due[self._rows :]
        children = np.stack([self._children.parameters(self._entries[place]) for place in places])
        scores = self._task.scores(children, self._samples)
        self._measured.update(zip(places, (micro_units(float(score)) for score in scores), strict=True))
        if self._due:
            return None
        if self._values is not None:
            return self._completed(self._values)
        self._values = self._begin_lists()
        return None

    def _begin_lists(self) -> list[int]:
        """What is known before directions and heads are measured."""
        parent = self._measured[0]
        gains = any(self._measured[place] > parent for place in self._joins)
        directions = self._places(EntryKind.DIRECTION)
        if gains and len(self._draw) < len(self._batch):
            self._samples, self._due = self._draw, (0, *directions)
        else:
            self._due = directions if gains else self._places(EntryKind.DIRECTION, EntryKind.HEAD)
        values = [self._measured.get(place, parent) for place in range(len(self._entries))]
        self._measured = {0: parent}
        return values

    def _completed(self, values: list[int]) -> tuple[int, ...]:
        """Leads on the draw become scores beside the parent's on the whole batch."""
        parent, drawn_parent = values[0], self._measured.pop(0)
        for place, score in self._measured.items():
            values[place] = max(FITNESS_LOWEST, min(parent + score - drawn_parent, FITNESS_MAX))
        return tuple(values)


def scoring_draw(batch: Int64Array, slate: bytes, author: bytes, lists: int) -> Int64Array:
    """What a member measures the directions of so many lists on: a part of the batch, or all of it where that is small."""
    samples = max(DRAWN_SAMPLES_MIN, DRAWN_BATCHES * len(batch) // lists)
    return batch if samples >= len(batch) else batch[permutation(DRAW_TAG + slate + author, len(batch))[:samples]]
