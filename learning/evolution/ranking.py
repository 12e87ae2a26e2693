"""Rank mutations of one parent: λ of them or more, each on the same part of the batch, which every author draws for himself.

Where a batch has fewer samples than λ a list may not cost more than the batch can tell: half of it, and half as many
mutations. With fitness from eight episodes, four times λ mutations take four times the episodes and no generation less.
Of equal work more samples serve better than more mutations: one member alone on digits takes 18 generations to 90 % with 128
mutations on 256 samples each, and 23 with 256 on 128.

A draw that all authors share would put the same error into all their directions: with four members on digits, a loss of 0.3
took 16 generations instead of 12.
"""

import numpy as np

from learning.checked_task import CheckedTask
from learning.evolution.ranked_list import LIST_INDEX_MAX, RankedList, list_length
from learning.evolution.rules import EvolutionRules
from learning.evolution.search import CHILDREN_BYTES_MAX, Generation, SearchSettings
from learning.exact import fill_children, permutation
from learning.task import Int64Array


class Ranking:
    """One author's ranking on one parent; each `advance` is a few milliseconds long."""

    def __init__(self, task: CheckedTask, rules: EvolutionRules, settings: SearchSettings, generation: Generation) -> None:
        self._task = task
        self._generation = generation
        batch = len(generation.batch)
        samples, least = min(settings.rank_samples, batch), settings.effort_min
        most = max(least, settings.effort_max)
        if is_small(batch, rules):
            samples = -(-batch // 2)
            least = most = -(-least // 2)
        self._samples = own_draw(generation, samples)
        self._length = list_length(rules.offspring)
        self.least = min(least * rules.offspring, LIST_INDEX_MAX)
        """Mutations, from which on a list can be made."""
        self._most = min(most * rules.offspring, LIST_INDEX_MAX)
        size = len(generation.parent.parameters)
        self._children = np.empty((max(1, min(settings.chunk, CHILDREN_BYTES_MAX // (4 * size))), size), dtype=np.float32)
        self._ranked: list[tuple[float, int]] = []
        """(minus the score, index)."""
        self.began = 0.0
        """When, by the clock of whoever advances it."""

    @property
    def samples(self) -> int:
        """That each mutation is measured on."""
        return len(self._samples)

    @property
    def candidates_tried(self) -> int:
        """Mutations measured so far."""
        return len(self._ranked)

    @property
    def is_exhausted(self) -> bool:
        """Whether every index that a list may hold was ranked."""
        return len(self._ranked) == LIST_INDEX_MAX

    @property
    def is_enough(self) -> bool:
        """Whether a list can be made: the least effort is spent."""
        return len(self._ranked) >= self.least

    @property
    def is_all(self) -> bool:
        """Whether the most effort is spent that one list is worth."""
        return len(self._ranked) >= self._most

    def advance(self) -> None:
        """One slice of work. The least effort ends with a slice, whatever else there is."""
        first = len(self._ranked)
        end = self.least if first < self.least else LIST_INDEX_MAX
        children = self._children[: min(len(self._children), end - first)]
        generation = self._generation
        fill_children(children, generation.parent.parameters, generation.key, first, generation.sigma)
        scores = self._task.scores(children, self._samples)
        self._ranked.extend((-float(score), first + row) for row, score in enumerate(scores))

    def ranked_list(self) -> RankedList:
        """The best and the worst of all so far."""
        assert self.is_enough, f"a list of {len(self._ranked)} mutations, {self.least} or more are ranked for it"
        ranked = [index for _, index in sorted(self._ranked)]
        worst = self._length // 2
        return RankedList((*ranked[: self._length - worst], *ranked[len(ranked) - worst :]))


def is_small(batch: int, rules: EvolutionRules) -> bool:
    """Whether a batch has fewer samples than a list has mutations to rank."""
    return batch < rules.offspring


def own_draw(generation: Generation, samples: int) -> Int64Array:
    """So many of the generation's batch, drawn by the author's own key; the whole batch where it is no larger."""
    batch = generation.batch
    if samples >= len(batch):
        return batch
    seed = int(generation.key).to_bytes(16, "little")
    return batch[permutation(b"kubrat/own-draw/1" + seed, len(batch))[:samples]]
