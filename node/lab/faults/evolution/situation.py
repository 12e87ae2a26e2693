"""Whose learner is bent, and what its owner can do besides: build a second one."""

from collections.abc import Callable
from dataclasses import dataclass

from learning.evolution.rules import EvolutionRules
from learning.learner import Learner
from learning.task import Task
from node.lab.faults.fault import Values


@dataclass(frozen=True, slots=True)
class LearnerSituation:
    """One faulty peer of one network that learns by evolution."""

    author: bytes
    colluders: frozenset[bytes]
    """All liars' ids, the author's among them."""
    members: tuple[bytes, ...]
    """Of a total order; none under proof of work."""
    rules: EvolutionRules
    task: Task
    build: Callable[[Task], Learner]
    """An honest learner of this peer for a task, from where this peer's own one began."""


MakeLearner = Callable[[Values, Learner, LearnerSituation], Learner]
