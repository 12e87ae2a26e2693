"""Counts how often each rare path is taken: a batch of runs is worth something only if all of them were."""

from collections import Counter
from collections.abc import Iterator, Mapping

from consensus.effects import Accuse, FetchAttachment, Offence, Record, Refuse
from consensus.protocol import OrderingProtocol
from consensus.total_order.machine import TotalOrder
from consensus.types import PeerId
from learning.aggregation.rule import GradientOutcome
from learning.learner import (
    ContributionAssessed,
    DeliverRequest,
    GenerationDecided,
    GradientsReport,
    ReplayRequest,
    RestoreRequest,
    StepChecked,
    Verdict,
)
from node.lab.checkers.finding import Seen
from node.lab.checkers.rare_branches import HeadHistory
from node.lab.checkers.rare_incarnations import Incarnations
from node.lab.checkers.rare_path import RarePath
from node.runtime.coupling import AskLearner, Forget
from node.storage.tables import PAYLOAD_TABLE

OUTCOMES: Mapping[str, RarePath] = {
    GradientOutcome.TOO_STEEP: RarePath.TOO_STEEP,
    GradientOutcome.TOO_FREQUENT: RarePath.TOO_FREQUENT,
    GradientOutcome.COPY: RarePath.COPY_SKIPPED,
    GradientOutcome.UNKNOWN_BASE: RarePath.BASE_REFUSED,
    GradientOutcome.FUTURE_BASE: RarePath.BASE_REFUSED,
    GradientOutcome.STALE: RarePath.BASE_REFUSED,
    GradientOutcome.REPEATED: RarePath.BASE_REFUSED,
}


class RarePaths:
    """Shown all that honest peers go through. Not a checker: it finds nothing wrong."""

    reads = frozenset(
        {
            *HeadHistory.reads,
            Accuse,
            ContributionAssessed,
            DeliverRequest,
            FetchAttachment,
            Forget,
            GenerationDecided,
            GradientsReport,
            Record,
            Refuse,
            RestoreRequest,
        }
    )
    """Of other kinds the time alone matters."""

    def __init__(self, members: tuple[PeerId, ...] = ()) -> None:
        """`members`: of a total order."""
        self._incarnations = Incarnations(members)
        self._branches = HeadHistory()
        self._counts: Counter[RarePath] = Counter()
        self._of_machines: dict[tuple[PeerId, int], Counter[RarePath]] = {}
        """What the machine of each incarnation has counted itself, as often as it was looked at."""
        self._sources: dict[tuple[PeerId, bytes], dict[PeerId, None]] = {}
        """Whom a peer has asked for a payload."""
        self._forgotten: dict[tuple[PeerId, bytes], None] = {}
        """The payloads that a peer has forgotten, and not fetched since."""
        self._delivered: dict[PeerId, tuple[int, int]] = {}
        """The incarnation and height of a member's last delivery."""

    @property
    def counts(self) -> Counter[RarePath]:
        """How often each was taken; those that were not are left out."""
        return sum(self._of_machines.values(), +self._counts)

    def see(self, seen: Seen) -> None:
        """Count what the event shows, if it is rare."""
        self._counts.update(self._incarnations.see(seen))
        if seen.kind in self.reads:
            self._counts.update(self._branches.see(seen))
            self._counts.update(self._paths_of(seen))

    def starts(self, peer: PeerId, rows: Mapping[tuple[str, bytes], bytes], guard_round: int, is_full: bool) -> None:
        """A peer that has run before is about to start again. `is_full`: its disk has ended its earlier incarnation."""
        self._counts.update(self._incarnations.starts(peer, rows, guard_round))
        self._counts[RarePath.DISK_FILLED] += is_full

    def joins(self, peer: PeerId) -> None:
        """A late peer is about to start."""
        self._incarnations.joins(peer)

    def heals(self) -> None:
        """A cut is about to heal."""
        self._counts[RarePath.HEALED_WITH_BRANCHES] += self._branches.has_many_heads

    def note_machine(self, peer: PeerId, machine: OrderingProtocol) -> None:
        """What a machine has counted itself in this incarnation; to be told now and then, since a crash loses it."""
        if not isinstance(machine, TotalOrder):
            return
        counters = machine.status.counters
        of_incarnation = self._of_machines.setdefault((peer, self._incarnations.incarnation_of(peer)), Counter())
        of_incarnation |= Counter(
            {
                RarePath.LEADER_SKIPPED: counters.direct_skips + counters.indirect_skips,
                RarePath.DECIDED_BY_ANCHOR: counters.indirect_skips + counters.indirect_commits,
                RarePath.ROUND_FILLED: counters.rounds_filled,
                RarePath.COMMITS_FETCHED: counters.synced_commits - counters.snapshots,
                RarePath.BLOCK_LOST_BELOW_HORIZON: counters.payloads_repeated,
            }
        )

    def _paths_of(self, seen: Seen) -> Iterator[RarePath]:
        match seen.event:
            case Accuse(accusation):
                is_twin = accusation.offence is Offence.EQUIVOCATION
                yield RarePath.EQUIVOCATION_SEEN if is_twin else RarePath.PEER_ACCUSED
            case Refuse():
                yield RarePath.PEER_REFUSED
            case FetchAttachment(digest, _, source):
                sources = self._sources.setdefault((seen.peer, digest), {})
                if sources and source not in sources:
                    yield RarePath.PAYLOAD_FROM_ANOTHER
                sources[source] = None
            case Forget(table, key) if table == PAYLOAD_TABLE:
                self._forgotten[seen.peer, key] = None
            case Record(table, key, _) if table == PAYLOAD_TABLE:
                if self._forgotten.pop((seen.peer, key), self) is None:
                    yield RarePath.PAYLOAD_FETCHED_AGAIN
                if len(self._sources.pop((seen.peer, key), ())) > 1:
                    yield RarePath.PAYLOAD_CAME_FROM_ANOTHER
            case StepChecked(verdict=Verdict.CONTESTED | Verdict.REFUTED):
                yield RarePath.BLOCK_CONTESTED
            case ContributionAssessed(verdict=Verdict.CONTESTED | Verdict.INVALID, detail=detail) if detail:
                yield RarePath.CONTRIBUTION_REFUSED
            case GradientsReport(judged=judged):
                yield from (OUTCOMES[one.outcome] for one in judged if one.outcome in OUTCOMES)
            case GenerationDecided(winner=0):
                yield RarePath.NO_CHANGE_DECIDED
            case AskLearner(ReplayRequest()):
                yield RarePath.RESTARTED_WITH_REPLAY
            case AskLearner(RestoreRequest()):
                yield RarePath.JOINED_AT_CHECKPOINT
            case AskLearner(DeliverRequest(delivered)):
                yield from self._redelivery(seen, delivered.height)

    def _redelivery(self, seen: Seen, height: int) -> Iterator[RarePath]:
        incarnation, reached = self._delivered.get(seen.peer, (seen.incarnation, 0))
        self._delivered[seen.peer] = (seen.incarnation, height)
        if incarnation != seen.incarnation and height <= reached:
            yield RarePath.RESTARTED_WITH_REPLAY
