"""How the replica's limits fit those of others."""

from learning.gradient.kept import KEPT_COMMITS
from node.replica import CHECKPOINTS_KEPT, PAYLOAD_COMMITS, SNAPSHOT_COMMITS


def test_payloads_outlive_the_oldest_checkpoint_that_anybody_may_start_from() -> None:
    """Below that, members that lag wait for payloads that all others have forgotten, and the network stops for ever."""
    _, interval_max = KEPT_COMMITS
    assert CHECKPOINTS_KEPT * interval_max + SNAPSHOT_COMMITS < PAYLOAD_COMMITS
