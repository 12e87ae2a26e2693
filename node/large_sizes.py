"""How large the bytes beside the order may be: more is never fetched, whatever a peer says."""

from learning.gradient.quantised import payload_bytes
from learning.task import Layout
from node.network_file import Learning, NetworkRules

STATE_BYTES_OVERHEAD = 1_024
"""What a kept state holds besides its arrays, for each version and worker."""

GRADIENT_BITS_MAX = 16
"""Per value on the wire."""

STATE_VECTORS = 8
"""Arrays of the model's size that a rule may keep besides its slots: momentum and the like."""


def state_bytes_max(rules: NetworkRules, members: int, layout: Layout) -> int:
    """The largest kept state that another peer may send: the model, and for gradients what a rule may remember.

    That is a gradient and a buffer for each worker, a handful of vectors, and the models of the staleness window.
    """
    model_bytes = 4 * sum(block.size for block in layout)
    if rules.learning is Learning.EVOLUTION:
        return model_bytes + STATE_BYTES_OVERHEAD
    versions = rules.gradient.staleness_max + 1
    models = 2 + 2 * members + STATE_VECTORS + versions
    return models * model_bytes + STATE_BYTES_OVERHEAD * (versions + members)


def payload_bytes_max(rules: NetworkRules, layout: Layout) -> int:
    """The longest payload that may travel beside the order: a gradient in its widest form; a candidate has none."""
    return payload_bytes(layout, GRADIENT_BITS_MAX) if rules.learning is Learning.GRADIENT else 0
