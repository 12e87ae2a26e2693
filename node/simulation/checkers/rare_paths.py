""" "Sometimes" counters: a batch of runs is worth something only if each rare path was taken in some of them.

The idea is that of Antithesis' "sometimes" assertions and of FoundationDB's coverage macros.
"""

from collections import Counter
from enum import StrEnum

from consensus.faults import Offence
from consensus.protocol import Accuse, FetchPayload, OrderingProtocol, Refuse
from consensus.total_order.machine import TotalOrder
from consensus.types import PeerId
from learning.learner import (
    AdoptRequest,
    CheckRequest,
    ContributionAssessed,
    DeliverRequest,
    Judgement,
    ReplayRequest,
    StepChecked,
)
from node.replica import AskLearner
from node.simulation.checkers.finding import Seen


class RarePath(StrEnum):
    """What a swarm should have seen, in words for people."""

    LEADER_SKIPPED = "a leader's slot was skipped"
    DECIDED_BY_ANCHOR = "a slot was decided by a later leader's history"
    EQUIVOCATION_SEEN = "equivocation was proven"
    ROUND_FILLED = "a late member made the blocks that it had missed"
    COMMITS_FETCHED = "a member caught up by ranges of commits"
    JOINED_AT_CHECKPOINT = "a member went on from a checkpoint"
    BLOCK_LOST_BELOW_HORIZON = "a payload was sent again, as its block came too late"
    PAYLOAD_FROM_ANOTHER = "a payload was asked for from a second peer"
    REORGANISED = "a head moved to another branch"
    BLOCK_CONTESTED = "a block was contested"
    CONTRIBUTION_REFUSED = "a contribution was not as good as claimed"
    RESTARTED_WITH_REPLAY = "a restart replayed its records"
    PEER_REFUSED = "a faulty peer was refused"
    PEER_ACCUSED = "a faulty peer was accused"


class RarePaths:
    """Counts what honest peers went through. Not a checker: it finds nothing wrong."""

    reads = (
        Accuse,
        AdoptRequest,
        CheckRequest,
        ContributionAssessed,
        DeliverRequest,
        FetchPayload,
        Refuse,
        ReplayRequest,
        StepChecked,
    )

    def __init__(self) -> None:
        self.counts: Counter[RarePath] = Counter()
        self._parents: dict[bytes, bytes] = {}
        self._heads: dict[PeerId, bytes] = {}
        self._sources: dict[tuple[PeerId, bytes], PeerId] = {}
        """Whom a peer has asked for a payload first."""
        self._delivered: dict[PeerId, tuple[int, int]] = {}
        """The life and height of a member's last delivery."""

    def see(self, seen: Seen) -> None:
        """Count what the event shows, if it is rare."""
        path = self._path_of(seen)
        if path is not None:
            self.counts[path] += 1

    def note_machine(self, machine: OrderingProtocol) -> None:
        """What a machine has counted itself; to be told at the end of a life."""
        match machine:
            case TotalOrder():
                counters = machine.status.counters
                self.counts[RarePath.LEADER_SKIPPED] += counters.direct_skips + counters.indirect_skips
                self.counts[RarePath.DECIDED_BY_ANCHOR] += counters.indirect_skips + counters.indirect_commits
                self.counts[RarePath.ROUND_FILLED] += counters.rounds_filled
                self.counts[RarePath.COMMITS_FETCHED] += counters.synced_commits - counters.snapshots
                self.counts[RarePath.JOINED_AT_CHECKPOINT] += counters.snapshots
                self.counts[RarePath.BLOCK_LOST_BELOW_HORIZON] += counters.payloads_repeated

    def _path_of(self, seen: Seen) -> RarePath | None:
        match seen.event:
            case Accuse(accusation):
                is_twin = accusation.offence is Offence.EQUIVOCATION
                return RarePath.EQUIVOCATION_SEEN if is_twin else RarePath.PEER_ACCUSED
            case Refuse():
                return RarePath.PEER_REFUSED
            case FetchPayload(digest, _, peer):
                first = self._sources.setdefault((seen.peer, digest), peer)
                return RarePath.PAYLOAD_FROM_ANOTHER if first != peer else None
            case StepChecked(judgement=Judgement.CONTESTED):
                return RarePath.BLOCK_CONTESTED
            case ContributionAssessed(judgement=Judgement.CONTESTED | Judgement.INVALID):
                return RarePath.CONTRIBUTION_REFUSED
            case AskLearner(ReplayRequest(step) | CheckRequest(step)):
                self._parents[step.id] = step.parent
                return RarePath.RESTARTED_WITH_REPLAY if isinstance(seen.event.request, ReplayRequest) else None
            case AskLearner(AdoptRequest(step_id)):
                return self._moved(seen.peer, step_id)
            case AskLearner(DeliverRequest(delivered)):
                return self._redelivered(seen, delivered.height)
        return None

    def _moved(self, peer: PeerId, head: bytes) -> RarePath | None:
        """To another branch, unless the last head is an ancestor or a descendant of the new one."""
        before = self._heads.get(peer)
        self._heads[peer] = head
        if before is None or self._is_above(head, before) or self._is_above(before, head):
            return None
        return RarePath.REORGANISED

    def _is_above(self, step: bytes | None, ancestor: bytes) -> bool:
        while step is not None and step != ancestor:
            step = self._parents.get(step)
        return step == ancestor

    def _redelivered(self, seen: Seen, height: int) -> RarePath | None:
        life, reached = self._delivered.get(seen.peer, (seen.life, 0))
        self._delivered[seen.peer] = (seen.life, height)
        return RarePath.RESTARTED_WITH_REPLAY if life != seen.life and height <= reached else None
