"""Every step above the final one, as a recipe on its parent; the models themselves are rebuilt when they are not at hand."""

from collections import OrderedDict
from dataclasses import dataclass

from learning.evolution.recipe import Recipe, child_of, unchanged
from learning.evolution.schedule import StepSizeSchedule
from learning.exact import noise_key
from learning.kept_states import least_missed
from learning.state import ModelState, StoredStateError, state_digest

STEPS_MAX = 16_384
"""About 6 MB. Each step above the final one has cost its leader a block's work, and an honest branch is a few hundred long."""

MODELS_MIN = 2
"""However large a model is, a parent and its child are both at hand."""


@dataclass(frozen=True, slots=True)
class Mutation:
    """The recipe of a step, and whose noise it mixes."""

    author: bytes
    recipe: Recipe


@dataclass(frozen=True, slots=True)
class KnownStep:
    """A step that can be rebuilt. `mutation`: None for "no change"."""

    id: bytes
    parent: bytes
    height: int
    mutation: Mutation | None
    state_digest: bytes


class Lineage:
    """A tree of steps; its root is the newest final one, whose model is always kept.

    Beside it the models at hand take at most `bytes_max`, or MODELS_MIN models where one alone takes more than half of that:
    whatever the finality depth and the size of the model.
    """

    def __init__(
        self, network_id: bytes, schedule: StepSizeSchedule, root: KnownStep, model: ModelState, bytes_max: int
    ) -> None:
        self._network_id = network_id
        self._schedule = schedule
        self._steps = {root.id: root}
        self._root = root
        self._root_model = model
        self._models: OrderedDict[bytes, ModelState] = OrderedDict()
        self._bytes_max = bytes_max

    @property
    def root(self) -> KnownStep:
        """The newest final step."""
        return self._root

    def find(self, step: bytes) -> KnownStep | None:
        """The step of this id, if it is the root or above it."""
        return self._steps.get(step)

    def child(self, parent: KnownStep, mutation: Mutation | None) -> ModelState:
        """The model that a step on `parent` leads to."""
        return self._applied(parent, self.model(parent), mutation)

    @property
    def is_full(self) -> bool:
        """Whether no further step can be added until one is final."""
        return len(self._steps) >= STEPS_MAX

    def add(self, step: KnownStep, model: ModelState | None) -> None:
        """Remember a step on a known parent, and its model, or leave that to be rebuilt."""
        assert step.parent in self._steps, "a step on an unknown parent"
        assert not self.is_full, f"more than {STEPS_MAX} steps wait for finality"
        self._steps[step.id] = step
        if model is not None:
            self._keep(step.id, model)

    def model(self, step: KnownStep) -> ModelState:
        """The model after `step`, rebuilt from the nearest ancestor at hand.

        Raises StoredStateError when the rebuilt model is not the one that the step commits to: our records are damaged.
        """
        missing: list[KnownStep] = []
        ancestor = step
        while (model := self._at_hand(ancestor)) is None:
            missing.append(ancestor)
            ancestor = self._steps[ancestor.parent]
        for descendant in reversed(missing):
            parent = self._steps[descendant.parent]
            model = self._applied(parent, model, descendant.mutation)
            if state_digest(model) != descendant.state_digest:
                raise StoredStateError(
                    f"step {descendant.id.hex()} at height {descendant.height} leads to another state than stored"
                )
            self._keep(descendant.id, model)
        return model

    def finalise(self, step: KnownStep) -> frozenset[bytes]:
        """Make `step` the root; returns the ids that remain: it and its descendants."""
        model = self.model(step)
        kept = {step.id: step}
        for other in sorted(self._steps.values(), key=lambda known: known.height):
            if other.parent in kept:
                kept[other.id] = other
        self._steps, self._root, self._root_model = kept, step, model
        for gone in [known for known in self._models if known not in kept or known == step.id]:
            del self._models[gone]
        return frozenset(kept)

    def _applied(self, parent: KnownStep, model: ModelState, mutation: Mutation | None) -> ModelState:
        if mutation is None:
            return unchanged(model)
        key = noise_key(self._network_id, parent.id, mutation.author)
        return child_of(model, key, mutation.recipe, self._schedule.at(parent.height))

    def _at_hand(self, step: KnownStep) -> ModelState | None:
        if step.id == self._root.id:
            return self._root_model
        if step.id in self._models:
            self._models.move_to_end(step.id)
        return self._models.get(step.id)

    def _keep(self, step: bytes, model: ModelState) -> None:
        self._models[step] = model
        self._models.move_to_end(step)
        size = model.parameters.nbytes
        while len(self._models) > MODELS_MIN and len(self._models) * size > self._bytes_max:
            at_hand = self._models.keys() | {self._root.id}
            older = tuple(self._models)[:-MODELS_MIN]
            del self._models[least_missed(older, at_hand, self._parent_of)]

    def _parent_of(self, step: bytes) -> bytes:
        return self._steps[step].parent
