"""Search from one parent by racing: all offspring on a small part of the batch, the best few on the whole of it.

After the first λ it goes on with further indices, λ at a time, so that the effort adapts to the time there is. With longer
recipes the best mutations, in rank order, are tried together.
"""

from dataclasses import dataclass

import numpy as np

from learning.checked_task import CheckedTask
from learning.evolution.recipe import INDEX_MAX, Recipe, child_of, in_canonical_order
from learning.evolution.rules import EvolutionRules, Strategy
from learning.exact import StreamKey, fill_children
from learning.state import ModelState
from learning.task import Float32Array, Int64Array

CHILDREN_BYTES_MAX = 6 * 2**20
"""Children made before they are measured: more than a core's own cache holds for their sake costs a tenth."""

EFFORT_MAX = 8
"""Sixteen times λ mutations on 128 samples each save no generation more on digits, with one member or with four."""


@dataclass(frozen=True, slots=True)
class SearchSettings:
    """A peer's own choice; other peers cannot tell."""

    race_samples: int = 256
    """All candidates run on the first this many of the batch, the best few on the whole."""
    finalists: int = 8
    """How many run on the whole batch (with longer recipes: at least twice their length)."""
    chunk: int = 64
    """Candidates per slice of search, fewer for large models; requests wait for one slice. 16 cost a fifth of the speed."""
    rank_samples: int = 256
    """Under the joint rule each mutation is ranked on so many of the batch, which every author draws for himself."""
    effort_min: int = 1
    """Under the joint rule at least so many times λ mutations are ranked; the best and the worst of all are listed."""
    effort_max: int = EFFORT_MAX
    """Over a total order up to so many times, where the rest of a generation takes long enough (`pace`)."""

    def __post_init__(self) -> None:
        assert min(self.race_samples, self.finalists, self.chunk, self.rank_samples, self.effort_min) >= 1, (
            f"a search that does not begin: {self}"
        )


@dataclass(frozen=True, slots=True)
class Generation:
    """What a search starts from. `key`: the searcher's own noise on this parent; `sigma`: the step size at its height."""

    parent: ModelState
    key: StreamKey
    sigma: np.float32
    batch: Int64Array


Ranking = list[tuple[float, int]]
"""(minus the score, index), sorted: the best first, of equals the lowest index."""


class Search:
    """One author's search from one parent; each `advance` is a few milliseconds long."""

    def __init__(self, task: CheckedTask, rules: EvolutionRules, settings: SearchSettings, generation: Generation) -> None:
        self._task = task
        self._rules = rules
        self._generation = generation
        is_race = rules.strategy is not Strategy.COMMA  # which takes the best of all λ, not of a few finalists
        self._raced_on = generation.batch[: settings.race_samples] if is_race else generation.batch
        size = len(generation.parent.parameters)
        rows = max(1, min(settings.chunk, CHILDREN_BYTES_MAX // (4 * size)))
        self._children = np.empty((rows, size), dtype=np.float32)
        self._finalists_max = max(settings.finalists, 2 * rules.recipe_length_max if rules.recipe_length_max > 1 else 1)
        self._raced: Ranking = []
        self._measured: Ranking = []
        self._known: set[int] = set()
        self._next_index = 0
        self._round_end = rules.offspring
        self._proposed: Recipe | None = None

    @property
    def candidates_tried(self) -> int:
        """Mutations raced so far."""
        return self._next_index

    @property
    def is_exhausted(self) -> bool:
        """Whether every index has been tried."""
        return self._next_index >= INDEX_MAX

    def advance(self) -> Recipe | None:
        """One slice of work; after each round of λ, the best recipe by the fast scores, if it is another than before."""
        if self._next_index < min(self._round_end, INDEX_MAX):
            self._race()
            return None
        if finalists := [index for _, index in self._raced if index not in self._known]:
            self._measure(finalists[: len(self._children)])
            return None
        self._round_end = self._next_index + self._rules.offspring
        return self._proposal()

    def _race(self) -> None:
        count = min(len(self._children), self._round_end - self._next_index, INDEX_MAX - self._next_index)
        children = self._children[:count]
        generation = self._generation
        fill_children(children, generation.parent.parameters, generation.key, self._next_index, generation.sigma)
        scores = self._scores(children, self._raced_on)
        self._raced.extend((-score, self._next_index + row) for row, score in enumerate(scores))
        self._raced = sorted(self._raced)[: self._finalists_max]
        self._next_index += count
        if len(self._raced_on) == len(generation.batch):  # the race was on everything: nothing is left to measure
            self._measured = self._raced[: self._rules.recipe_length_max]
            self._known = {index for _, index in self._raced}

    def _measure(self, indices: list[int]) -> None:
        children = self._children[: len(indices)]
        generation = self._generation
        for row, index in enumerate(indices):
            fill_children(children[row : row + 1], generation.parent.parameters, generation.key, index, generation.sigma)
        self._measured.extend(zip((-score for score in self._scores(children, generation.batch)), indices, strict=True))
        self._measured = sorted(self._measured)[: self._rules.recipe_length_max]
        self._known = {index for _, index in self._raced if index in self._known or index in indices}

    def _scores(self, children: Float32Array, batch: Int64Array) -> list[float]:
        return [float(score) for score in self._task.scores(children, batch)]

    def _proposal(self) -> Recipe | None:
        ranked = tuple(index for _, index in self._measured)
        recipe = self._best_prefix(ranked)
        if recipe == self._proposed:
            return None
        self._proposed = recipe
        return recipe

    def _best_prefix(self, ranked: tuple[int, ...]) -> Recipe:
        """The best of the 1, 2, 4, ... and all best mutations together: which length pays changes as the search goes on."""
        lengths = sorted({len(ranked), *(2**power for power in range(len(ranked).bit_length()))})
        recipes = [Recipe(in_canonical_order(ranked[:length])) for length in lengths if length <= len(ranked)]
        scores = [self._score_of(recipe) for recipe in recipes] if len(recipes) > 1 else [0.0]
        return recipes[scores.index(max(scores))]

    def _score_of(self, recipe: Recipe) -> float:
        generation = self._generation
        child = child_of(generation.parent, generation.key, recipe, generation.sigma)
        return self._scores(child.parameters[None, :].copy(), generation.batch)[0]
