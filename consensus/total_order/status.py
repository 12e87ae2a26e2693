"""What people may want to know of the order."""

from dataclasses import dataclass

from consensus.total_order.state import Counters
from consensus.types import PeerId, StepId


@dataclass(frozen=True, slots=True)
class MemberStatus:
    """One member, as seen by us."""

    peer: PeerId
    is_connected: bool
    last_round: int
    """Of its newest block that we keep."""
    silent_rounds: int
    """Rounds that a quorum has gone on since."""
    is_equivocator: bool


@dataclass(frozen=True, slots=True)
class TotalOrderStatus:
    """A picture of one moment."""

    is_member: bool
    is_recovering: bool
    """We sign nothing before enough members have shown us our own newest block."""
    round: int
    """The newest round that a quorum has blocks of."""
    own_round: int
    """Of our own newest block; 0 for an observer."""
    commit: StepId
    commits: int
    """The index of the last commit."""
    leader_round: int
    """Of its leader."""
    horizon: int
    skipped_slots: int
    suspended: int
    missing: int
    """Blocks that are asked for."""
    suspended_dropped: int
    """Suspended blocks that fell below the horizon, since the start of the node."""
    suspended_released: int
    """Suspended blocks that were accepted because what they missed fell below the horizon."""
    behind_by: int
    """Commits that an honest member has and we have not."""
    learner_behind: int
    """Delivered steps that are still with our learner, while they are many: our own blocks come more slowly."""
    timeout_ms: int
    peers_ahead_ms: int | None
    """By how much the newest blocks of most connected members are ahead of our wall clock; None while none was pushed."""
    quorum: int
    members: tuple[MemberStatus, ...]
    waiting_for: tuple[PeerId, ...]
    """The members whose next block, or answer, a quorum lacks; empty while it lacks none."""
    equivocators: tuple[PeerId, ...]
    counters: Counters
