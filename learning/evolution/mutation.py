"""What a step of evolution does to the model: at most one author's mutation, or no change."""

from collections.abc import Iterable
from dataclasses import dataclass

from learning.evolution.payload import Candidate, decode_candidate
from learning.evolution.recipe import Recipe, child_of, no_change
from learning.evolution.rules import EvolutionRules
from learning.exact import noise_key
from learning.following.state_tree import Array
from learning.learner import AuthoredPayload, ProposedStep
from learning.model_consensus.slate import MalformedPayloadError
from learning.state import ModelState, state_digest
from learning.task import Layout

MODELS_BYTES_MAX = 64 * 2**20
"""Models at hand, the final one among them: hundreds of small ones, a dozen of a million parameters, within a peer's 600 MB."""

KEPT_INTERVAL_MAX = 32
"""A restart rebuilds at most this many final steps, some milliseconds."""

KEPT_BYTES_PER_STEP = 64 * 2**10
"""Small models are kept at every final step, larger ones so rarely that keeping them writes about this much a step."""


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
            return no_change(model)
        key = noise_key(self._network_id, parent, mutation.author)
        return child_of(model, key, mutation.recipe, self._schedule.at(model.height))

    def candidate_of(self, contribution: AuthoredPayload) -> tuple[Candidate, Mutation]:
        """What a contribution offers. Raises MalformedPayloadError."""
        if contribution.attached:
            raise MalformedPayloadError(f"attachments: {len(contribution.attached)}, allowed 0")
        candidate = decode_candidate(contribution.payload, self._recipe_length_max)
        return candidate, Mutation(contribution.author, candidate.recipe)

    def apply(self, state: ModelState, step: ProposedStep) -> ModelState:
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


def kept_interval(layout: Layout) -> int:
    """Final steps from one kept state to the next: a power of two, so that every checkpoint is one of them."""
    model_bytes = 4 * sum(block.size for block in layout)
    return min(1 << (model_bytes // KEPT_BYTES_PER_STEP).bit_length(), KEPT_INTERVAL_MAX)
