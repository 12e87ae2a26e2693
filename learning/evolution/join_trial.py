"""What the lists that are known of one step make together: each join and each best mutation, tried a slice at a time."""

from dataclasses import dataclass, field

import numpy as np

from learning.checked_task import CheckedTask
from learning.evolution.joint_blocks import JointModel
from learning.evolution.joint_step import Children, EntryKind, JointEntry, JointRule, JointState
from learning.evolution.ranked_list import RankedList
from learning.evolution.search import CHILDREN_BYTES_MAX
from learning.learner import StepOffered
from learning.task import Int64Array

ENTRIES_AT_ONCE = 16
"""Measured in one slice, for which requests wait."""


@dataclass(frozen=True, slots=True)
class KnownList:
    """A list that was assessed as good. `fitness`: of its direction, as we measured it, in micro-units."""

    contribution: bytes
    ranked: RankedList
    fitness: int


@dataclass(slots=True)
class Base:
    """What we know of the children of one step."""

    lists: dict[bytes, KnownList] = field(default_factory=dict)
    """The best of each author."""
    announced: int | None = None
    """The fitness of our own best list."""
    offer: StepOffered | None = None
    """The best block that we know on it."""
    offered_fitness: int = 0


class JoinTrial:
    """What the lists known of one step make together: all joins and heads, by the fast scores; a slice at a time."""

    def __init__(
        self, task: CheckedTask, rule: JointRule, base: bytes, state: JointModel, known: dict[bytes, KnownList]
    ) -> None:
        self.known = known
        lists = {author: one.ranked for author, one in known.items()}
        joint = JointState(state.before, state.scale)
        self.children = Children(rule, base, state.model, lists, joint)
        entries = rule.entries(base, lists, joint)
        self._entries = [entry for entry in entries if entry.kind in {EntryKind.JOIN, EntryKind.HEAD}]
        self._task = task
        self._rows = max(1, min(ENTRIES_AT_ONCE, CHILDREN_BYTES_MAX // (4 * len(state.model.parameters))))
        self._scores: list[float] = []
        self._is_summed = False

    @property
    def measured(self) -> int:
        """Entries, so far."""
        return len(self._scores)

    @property
    def is_done(self) -> bool:
        """Whether all are measured."""
        return len(self._scores) == len(self._entries)

    def advance(self, batch: Int64Array) -> JointEntry | None:
        """One slice: one list's direction, or some entries; the best one, once all are measured."""
        if not self._is_summed:
            self._is_summed = not self.children.sum_next()
            return None
        entries = self._entries[len(self._scores) : len(self._scores) + self._rows]
        scores = self._task.scores(np.stack([self.children.parameters(entry) for entry in entries]), batch)
        self._scores.extend(float(score) for score in scores)
        return self._entries[int(np.argmax(self._scores))] if self.is_done else None
