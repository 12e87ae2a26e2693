"""How large the bytes beside the order may be: more is never fetched, whatever a peer says."""

from consensus.payload_requests import FETCHES_MAX
from consensus.total_order.state_sync import SNAPSHOT_BEHIND
from learning.aggregation.quantised import payload_bytes
from learning.evolution.joint_memory import memory_bytes_max
from learning.evolution.ranked_list import list_length
from learning.evolution.rules import Strategy
from learning.gradient.checkpoint_codec import KEPT_BYTES_PER_STEP, KEPT_COMMITS, kept_interval
from learning.task import Layout
from node.net.bulk_transfer import payload_places
from node.rules.network_rules import Learning, NetworkRules
from node.rules.retention import (
    PAYLOAD_COMMITS,
    PAYLOADS_BYTES,
    SNAPSHOT_COMMITS,
    SNAPSHOT_COMMITS_MIN,
    Retention,
    commits_needed,
)

STATE_BYTES_OVERHEAD = 1_024
"""What a kept state holds besides its arrays, for each version and worker."""

GRADIENT_BITS_MAX = 16
"""Per value on the wire."""

GRADIENT_BYTES_PER_PARAMETER = GRADIENT_BITS_MAX // 8

PAYLOAD_BYTES_OVERHEAD = 4_096
"""What a gradient holds besides its values: a byte for each tensor, and one more."""

STATE_VECTORS = 8
"""Arrays of the model's size that a rule may keep besides its slots: momentum and the like."""


def state_bytes_max(rules: NetworkRules, members: int, layout: Layout) -> int:
    """The largest kept state that another peer may send: the model, and for gradients what a rule may remember.

    That is a gradient and a buffer for each worker, a handful of vectors, and the models of the staleness window.
    """
    model_bytes = 4 * sum(block.size for block in layout)
    if rules.learning is Learning.EVOLUTION:
        if rules.evolution.strategy is not Strategy.JOINT:
            return model_bytes + STATE_BYTES_OVERHEAD
        return 2 * model_bytes + STATE_BYTES_OVERHEAD + memory_bytes_max(members, list_length(rules.evolution.offspring))
    versions = rules.gradient.staleness_max + 1
    models = 2 + 2 * members + STATE_VECTORS + versions
    return models * model_bytes + STATE_BYTES_OVERHEAD * (versions + members)


def payload_bytes_max(rules: NetworkRules, layout: Layout) -> int:
    """The longest payload that may travel beside the order: a gradient in its widest form; a candidate has none."""
    return payload_bytes(layout, GRADIENT_BITS_MAX) if rules.learning is Learning.GRADIENT else 0


def fetches_max(rules: NetworkRules) -> int:
    """For how many payloads at once the shell has places; by the network's rules alone, a little less than by the layout."""
    if rules.learning is Learning.EVOLUTION:
        return FETCHES_MAX
    return payload_places(rules.task.parameters * GRADIENT_BYTES_PER_PARAMETER + PAYLOAD_BYTES_OVERHEAD)


def retention_of(rules: NetworkRules) -> Retention:
    """How long payloads are kept: as long as their bytes allow, and never less than they are needed.

    Of the network's rules alone: what one member has forgotten no other waits for.
    """
    gc_depth, members = rules.total_order.gc_depth, max(1, len(rules.total_order.members))
    if rules.learning is Learning.EVOLUTION:  # nothing is large, and nothing is forgotten
        behind = max(SNAPSHOT_BEHIND, gc_depth + 1)
        return Retention(KEPT_COMMITS[0], gc_depth, behind, 2 * behind + PAYLOAD_COMMITS)
    commit_bytes = members * rules.task.parameters * GRADIENT_BYTES_PER_PARAMETER
    models_bytes = 4 * rules.task.parameters * (rules.gradient.staleness_max + 1)
    interval = kept_interval(models_bytes + commit_bytes, KEPT_COMMITS, max(KEPT_BYTES_PER_STEP, commit_bytes))
    behind = max(SNAPSHOT_COMMITS_MIN, gc_depth + 1)
    fewest = commits_needed(interval, gc_depth, behind) + 1
    commits = min(max(fewest, PAYLOADS_BYTES // commit_bytes), PAYLOAD_COMMITS + 2 * gc_depth)
    spare = commits - fewest
    return Retention(interval, gc_depth, min(behind + spare, max(SNAPSHOT_COMMITS, gc_depth + 1)), commits)
