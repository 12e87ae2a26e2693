"""The order in which effects happen: nothing leaves before what it rests on is durable. Pure; each shell drives one.

A shell pushes what a replica wants done, takes what may happen now, and tells when that is done. The real one waits for its
disk in between, the simulated one for a modelled disk, and crashes.
"""

from collections import deque
from dataclasses import dataclass

from consensus.effects import Guard, Record
from node.runtime.coupling import Forget, ImmediateEffect, OuterEffect
from node.storage.tables import Row

ROW_EFFECTS = (Record, Forget, Guard)
"""A tuple: a union costs a third of a microsecond whenever it is written."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows and signed rounds wanted one after the other: one write makes all of them durable, or none."""

    effects: tuple[Record | Forget | Guard, ...]

    @property
    def rows(self) -> tuple[Row, ...]:
        """As a disk takes them."""
        return tuple(
            (effect.table, effect.key, effect.value if isinstance(effect, Record) else None)
            for effect in self.effects
            if not isinstance(effect, Guard)
        )

    @property
    def signed_round(self) -> int | None:
        """The highest round that is about to be signed for, if there is one."""
        return max((effect.round_number for effect in self.effects if isinstance(effect, Guard)), default=None)


class EffectQueue:
    """What is wanted and has not happened yet. One thing is under way at a time, and what follows waits for it."""

    def __init__(self) -> None:
        self._waiting: deque[OuterEffect] = deque()
        self._is_under_way = False

    def __len__(self) -> int:
        """How many effects wait, without what is under way."""
        return len(self._waiting)

    @property
    def is_idle(self) -> bool:
        """Whether all has happened."""
        return not self._waiting and not self._is_under_way

    def push(self, effects: tuple[OuterEffect, ...]) -> None:
        """These are wanted after all others."""
        self._waiting.extend(effects)

    def take(self) -> Batch | ImmediateEffect | None:
        """What is to be stored or carried out now, until `finish`. None: nothing is wanted, or something is under way."""
        if self._is_under_way or not self._waiting:
            return None
        self._is_under_way = True
        effect = self._waiting.popleft()
        if not isinstance(effect, ROW_EFFECTS):
            return effect
        rows = [effect]
        while self._waiting and isinstance(following := self._waiting[0], ROW_EFFECTS):
            rows.append(following)
            self._waiting.popleft()
        return Batch(tuple(rows))

    def finish(self) -> None:
        """What was taken last has happened: it is durable, or was carried out."""
        self._is_under_way = False

    def clear(self) -> None:
        """The process is gone, and all that it wanted."""
        self._waiting.clear()
        self._is_under_way = False
