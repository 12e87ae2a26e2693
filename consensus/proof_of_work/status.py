"""What people may want to know of the chain."""

from dataclasses import dataclass

from consensus.proof_of_work.verdicts import ChainStep
from consensus.types import Height, StepId

STEPS_TOLD_MAX = 64
"""A minute at one block a second: enough to compare peers of which one lags."""


@dataclass(frozen=True, slots=True)
class PowStatus:
    """A picture of one moment."""

    head: StepId
    height: Height
    final: StepId
    final_height: Height
    target: int
    """Of the next block."""
    attempts_expected: int
    """Hashes that the next block takes on average."""
    blocks_led: int
    """By us, on the main chain."""
    blocks_contested: int
    """By our measurement, since the start of the node."""
    orphans: int
    pool_size: int
    payloads_wanted: int
    """Large payloads that contributions or blocks wait for."""
    sync_target: int
    """The greatest height that a peer claims or we have headers of."""
    peers_ahead_ms: int | None
    """By how much the newest blocks of most connected peers are ahead of our wall clock; None while none was pushed."""
    steps: tuple[ChainStep, ...]
    """The newest steps of the main chain, oldest first, at most STEPS_TOLD_MAX; genesis is not among them."""
    final_steps: tuple[ChainStep, ...]
    """The newest of them that are final, which lie deeper than `steps` may reach: oldest first, as many."""
