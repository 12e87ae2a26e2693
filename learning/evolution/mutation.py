"""A mutation, and what a step of evolution does to the model: at most one author's mutation, or no change."""

from collections.abc import Iterable
from dataclasses import dataclass

from learning.evolution.payload import Candidate, MalformedPayloadError, decode_candidate
from learning.evolution.recipe import Recipe, child_of, unchanged
from learning.evolution.rules import EvolutionRules
from learning.exact import noise_key
from learning.following.state_tree import Array
from learning.learner import ProposedStep, SignedPayload
from learning.state import ModelState, state_digest


@dataclass(frozen=True, slots=True)
class Mutation:
    """A recipe, and whose noise it mixes."""

    author: bytes
    recipe: Recipe


class Mutating:
    """Implements `learning.following.state_tree.Transition`; the state is the model alone. Holds nothing that changes."""

    def __init__(self, network_id: bytes, rules: EvolutionRules) -> None:
        self._network_id = network_id
        self._recipe_length_max = rules.recipe_length_max
        self._schedule = rules.schedule()

    def child(self, parent: bytes, model: ModelState, mutation: Mutation | None) -> ModelState:
        """What the mutation, or None for "no change", makes of `model`, which is the one after the step `parent`."""
        if mutation is None:
            return unchanged(model)
        key = noise_key(self._network_id, parent, mutation.author)
        return child_of(model, key, mutation.recipe, self._schedule.at(model.height))

    def candidate_of(self, contribution: SignedPayload) -> tuple[Candidate, Mutation]:
        """What a contribution offers. Raises MalformedPayloadError."""
        if contribution.attached:
            raise MalformedPayloadError(f"attachments: {len(contribution.attached)}, allowed 0")
        candidate = decode_candidate(contribution.payload, self._recipe_length_max)
        return candidate, Mutation(contribution.author, candidate.recipe)

    def applied(self, state: ModelState, step: ProposedStep) -> ModelState:
        """The model after a step of sound form."""
        mutation = next((self.candidate_of(contribution)[1] for contribution in step.contributions), None)
        return self.child(step.parent, state, mutation)

    def digest(self, state: ModelState) -> bytes:
        """Of the model and its height."""
        return state_digest(state)

    def arrays(self, state: ModelState) -> Iterable[Array]:
        """A step without change shares its parent's."""
        return (state.parameters,)

    def own_bytes(self, state: ModelState) -> int:  # noqa: ARG002  Transition
        """None to speak of."""
        return 0
