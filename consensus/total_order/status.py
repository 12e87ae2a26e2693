"""What people may want to know of the order."""

from dataclasses import dataclass, replace

from consensus.total_order.commit_sync import CommitSync
from consensus.total_order.context import Counters, State
from consensus.total_order.member import Member
from consensus.total_order.synchroniser import Synchroniser
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
    """What people see of a machine at one moment."""

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


def status_of(state: State, member: Member | None, synchroniser: Synchroniser, commit_sync: CommitSync) -> TotalOrderStatus:
    """A picture of one moment. `member`: None for an observer."""
    proposer = None if member is None else member.proposer
    counters = state.counters
    return TotalOrderStatus(
        is_member=state.me is not None,
        is_recovering=member is not None and not member.recovery.is_done,
        round=state.dag.quorum_round,
        own_round=0 if proposer is None else proposer.last.round,
        commit=state.order.digest,
        commits=state.order.index,
        leader_round=state.order.leader_round,
        horizon=state.dag.horizon,
        skipped_slots=counters.direct_skips + counters.indirect_skips,
        suspended=len(state.dag.suspended),
        missing=synchroniser.missing,
        suspended_dropped=state.dag.dropped,
        suspended_released=state.dag.crossed,
        behind_by=commit_sync.behind_by,
        learner_behind=0 if proposer is None else proposer.pacemaker.learner_behind,
        timeout_ms=2 * state.rules.delta_ms_min if proposer is None else proposer.pacemaker.timeout_ms,
        peers_ahead_ms=state.peer_clocks.median_ms,
        quorum=state.committee.quorum,
        members=tuple(_member_status(state, member) for member in range(state.committee.size)),
        waiting_for=_peers(state, _waited_for(state, member)),
        equivocators=_peers(state, state.equivocators.members),
        counters=replace(counters),
    )


def _member_status(state: State, member: int) -> MemberStatus:
    seen = state.newest_seen.get(member)
    last_round = max(state.dag.kept_rounds[member], 0 if seen is None else seen.content.round)
    return MemberStatus(
        peer=state.committee.members[member],
        is_connected=member == state.me or state.peers.is_connected(member),
        last_round=last_round,
        silent_rounds=max(0, state.dag.quorum_round - last_round),
        is_equivocator=member in state.equivocators,
    )


def _waited_for(state: State, member: Member | None) -> int:
    """The members that somebody must hear from before anything goes on, as a set."""
    if member is not None and not member.recovery.is_done:
        return member.recovery.unanswered
    current = max(0 if member is None else member.proposer.last.round, state.dag.quorum_round + 1)
    here = state.dag.authors(current)
    return 0 if state.committee.is_quorum(here) else state.committee.everybody & ~here


def _peers(state: State, members: int) -> tuple[PeerId, ...]:
    return tuple(peer for index, peer in enumerate(state.committee.members) if members >> index & 1)
