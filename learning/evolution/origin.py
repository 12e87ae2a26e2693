"""Where a learner starts: at the network's first model, or at a final state that it kept before a restart."""

from learning.following.line import Head
from learning.learner import Participant, StateKept
from learning.state import genesis_state, state_digest, stored_state
from learning.task import Layout

MODELS_BYTES_MAX = 64 * 2**20
"""Models at hand, the final one among them: hundreds of small ones, a dozen of a million parameters, within a peer's 600 MB."""

KEPT_INTERVAL_MAX = 32
"""A restart rebuilds at most this many final steps, some milliseconds."""

KEPT_BYTES_PER_STEP = 64 * 2**10
"""Small models are kept at every final step, larger ones so rarely that keeping them writes about this much a step."""


def origin_of(layout: Layout, participant: Participant, restored: StateKept | None) -> Head:
    """Raises StoredStateError when what is restored does not fit the layout."""
    if restored is None:
        step, model = participant.genesis_step, genesis_state(participant.network_id, layout)
    else:
        step, model = restored.step, stored_state(restored.parameters, restored.height, layout)
    return Head(step, model, state_digest(model))


def kept_interval(layout: Layout) -> int:
    """Final steps from one kept state to the next: a power of two, so that every checkpoint is one of them."""
    model_bytes = 4 * sum(block.size for block in layout)
    return min(1 << (model_bytes // KEPT_BYTES_PER_STEP).bit_length(), KEPT_INTERVAL_MAX)
