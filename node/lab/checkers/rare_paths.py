"""Counts how often each rare path is taken: a batch of runs is worth something only if all of them were.

The idea is that of Antithesis' "sometimes" assertions and of FoundationDB's coverage macros.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from enum import StrEnum

from consensus.effects import Accuse, FetchAttachment, Guard, Offence, Record, Refuse
from consensus.proof_of_work.header import BLOCK_CODEC
from consensus.protocol import OrderingProtocol
from consensus.total_order.machine import TotalOrder
from consensus.types import PeerId
from learning.aggregation.rule import GradientOutcome
from learning.evolution.joint_step import DIRECTION_LABEL
from learning.evolution.joint_submission import LIST_KIND
from learning.learner import (
    AdoptRequest,
    CheckRequest,
    ContributionAssessed,
    DeliverRequest,
    GenerationDecided,
    GradientsReport,
    ReplayRequest,
    RestoreRequest,
    StepAdopted,
    StepChecked,
    Verdict,
)
from node.lab.checkers.finding import Seen
from node.lab.checkers.one_signature import BLOCK_TABLE, VERTEX_TABLE
from node.runtime.coupling import AskLearner, Forget
from node.storage.tables import PAYLOAD_TABLE, STATE_KEY, STATE_TABLE


class RarePath(StrEnum):
    """What a swarm should have seen, in words for people."""

    # total order
    LEADER_SKIPPED = "a leader's slot was skipped"
    DECIDED_BY_ANCHOR = "a slot was decided by a later leader's history"
    EQUIVOCATION_SEEN = "equivocation was proven"
    ROUND_FILLED = "a late member made the blocks that it had missed"
    COMMITS_FETCHED = "a member caught up by ranges of commits"
    JOINED_AT_CHECKPOINT = "a member went on from a checkpoint"
    BLOCK_LOST_BELOW_HORIZON = "a payload was sent again, as its block came too late"
    # proof of work
    REORGANISED = "a head moved to another branch"
    HEALED_WITH_BRANCHES = "a cut healed, and both sides had blocks of their own"
    BLOCK_CONTESTED = "a block was contested"
    CONTEST_LOST = "a contested block was built on, as so much work lay on it"
    # learning
    CONTRIBUTION_REFUSED = "a contribution was not as good as claimed"
    NO_CHANGE_DECIDED = "no candidate was better than no change"
    LIST_MISSING = "a slate was closed without a member's list"
    LIST_CAME_LATE = "a list came with scores that were too late"
    AUTHOR_ON_PROBATION = "a list failed alone, and its author was kept out of the joins"
    TOO_STEEP = "a gradient grew faster than the models differ"
    TOO_FREQUENT = "a gradient came too often from its author"
    COPY_SKIPPED = "a copy of another worker's gradient had no part"
    BASE_REFUSED = "a gradient named a model that is unknown, too old or used"
    # large payloads
    PAYLOAD_FROM_ANOTHER = "a payload was asked for from a second peer"
    PAYLOAD_CAME_FROM_ANOTHER = "a payload came after the first peer asked had not sent it"
    PAYLOAD_FETCHED_AGAIN = "a payload that had been forgotten was fetched once more"
    # incarnations
    RESTARTED_WITH_REPLAY = "a restart replayed its records"
    KEPT_STATE_RESTORED = "a restart went on from a kept state"
    KILLED_BEFORE_SENDING = "a peer was killed between recording its block and sending it"
    DISK_FILLED = "a peer ended, as its disk was full"
    RECORDS_LOST = "a restart lacked what an earlier incarnation had recorded"
    GUARD_HELD = "a restart from an older disk signed nothing below its guard"
    LATE_JOINER_ARRIVED = "a late joiner caught up with those who were there before"
    # blame
    PEER_REFUSED = "a faulty peer was refused"
    PEER_ACCUSED = "a faulty peer was accused"


class HeadHistory:
    """Follows the heads of all peers over the tree of steps."""

    reads = (AdoptRequest, CheckRequest, ReplayRequest, StepChecked)

    def __init__(self) -> None:
        self._parents: dict[bytes, bytes] = {}
        self._heads: dict[PeerId, bytes] = {}
        self._contested: dict[PeerId, list[bytes]] = {}
        """Steps that a peer has contested, and not built on yet."""

    def see(self, seen: Seen) -> Iterator[RarePath]:
        """A step of the tree, a verdict on one, or a head."""
        match seen.event:
            case AskLearner(ReplayRequest(step) | CheckRequest(step)):
                self._parents[step.id] = step.parent
            case StepChecked(step_id, verdict=Verdict.CONTESTED | Verdict.REFUTED):
                self._contested.setdefault(seen.peer, []).append(step_id)
            case AskLearner(AdoptRequest(head)):
                yield from self._on_move(seen.peer, head)

    @property
    def has_many_heads(self) -> bool:
        """Whether the heads of two peers lie on different branches."""
        heads = sorted(set(self._heads.values()))
        return any(not self._are_of_one_branch(one, other) for one in heads for other in heads if one < other)

    def _on_move(self, peer: PeerId, head: bytes) -> Iterator[RarePath]:
        before = self._heads.get(peer)
        self._heads[peer] = head
        if before is not None and not self._are_of_one_branch(before, head):
            yield RarePath.REORGANISED
        for step in [step for step in self._contested.get(peer, ()) if self._is_above(head, step)]:
            self._contested[peer].remove(step)
            yield RarePath.CONTEST_LOST

    def _are_of_one_branch(self, one: bytes, other: bytes) -> bool:
        return self._is_above(one, other) or self._is_above(other, one)

    def _is_above(self, step: bytes | None, ancestor: bytes) -> bool:
        while step is not None and step != ancestor:
            step = self._parents.get(step)
        return step == ancestor


class JointHistory:
    """Follows the generations of the joint rule at each peer, as they are told for people. `members`: of a total order."""

    reads = (DeliverRequest, GenerationDecided)

    def __init__(self, members: tuple[PeerId, ...]) -> None:
        self._members = members
        self._decided: dict[PeerId, GenerationDecided] = {}
        """The last one of each peer."""
        self._listed: dict[PeerId, set[tuple[bytes, bytes]]] = {}
        """Author and generation of each list that came by itself, since then."""

    def see(self, seen: Seen) -> Iterator[RarePath]:
        """A delivery, or a generation's end."""
        match seen.event:
            case AskLearner(DeliverRequest(step)):
                lists = ((item.author, item.base) for item in step.items if item.payload[:1] == bytes([LIST_KIND]))
                self._listed.setdefault(seen.peer, set()).update(lists)
            case GenerationDecided() as decided:
                before = self._decided.get(seen.peer)
                yield from self._paths_of(decided, before, self._listed.pop(seen.peer, set()))
                self._decided[seen.peer] = decided

    def _paths_of(
        self, decided: GenerationDecided, before: GenerationDecided | None, listed: set[tuple[bytes, bytes]]
    ) -> Iterator[RarePath]:
        directions = [entry for entry in decided.slate if entry.label == DIRECTION_LABEL]
        authors = {entry.author for entry in directions}
        if 0 < len(authors) < len(self._members):
            yield RarePath.LIST_MISSING
        if before is not None and before.step == decided.parent:
            by_themselves = {author for author, base in listed if base == decided.parent}
            if authors - by_themselves - set(before.scorers):
                yield RarePath.LIST_CAME_LATE
        failed = sum(entry.agreed_fitness <= decided.slate[0].agreed_fitness for entry in directions)
        if 0 < 2 * failed < len(directions):
            yield RarePath.AUTHOR_ON_PROBATION


Rows = Mapping[tuple[str, bytes], bytes]


class Incarnations:
    """Follows each peer over its restarts. `members`: of a total order; none under proof of work."""

    def __init__(self, members: tuple[PeerId, ...]) -> None:
        self._indices = {member: index for index, member in enumerate(members)}
        self._last: dict[PeerId, Seen] = {}
        self._newest_block: dict[PeerId, tuple[str, bytes]] = {}
        """By peer: the row of the block that it has recorded last, its own or another's."""
        self._guards: dict[PeerId, int] = {}
        """Who has started with a guard above the newest of its own blocks on the disk."""
        self._goals: dict[PeerId, int] = {}
        """The height of the highest head when a late peer came."""
        self._highest = 0

    def incarnation_of(self, peer: PeerId) -> int:
        """The one that was seen last."""
        last = self._last.get(peer)
        return 0 if last is None else last.incarnation

    def see(self, seen: Seen) -> Iterator[RarePath]:
        """Any event: the last one of an incarnation counts, too."""
        before = self._last.get(seen.peer)
        self._last[seen.peer] = seen
        if before is not None and before.incarnation != seen.incarnation and self._waits_to_be_sent(before):
            yield RarePath.KILLED_BEFORE_SENDING
        match seen.event:
            case Record(table, key, _) if table in {VERTEX_TABLE, BLOCK_TABLE}:
                self._newest_block[seen.peer] = (table, key)
                if self._is_above_guard(seen.peer, table, key):
                    yield RarePath.GUARD_HELD
            case StepAdopted(_, height):
                self._highest = max(self._highest, height)
                if seen.peer in self._goals and height >= self._goals[seen.peer]:
                    del self._goals[seen.peer]
                    yield RarePath.LATE_JOINER_ARRIVED

    def starts(self, peer: PeerId, rows: Rows, guard_round: int) -> Iterator[RarePath]:
        """A peer that has run before is about to start from this disk."""
        if (STATE_TABLE, STATE_KEY) in rows:
            yield RarePath.KEPT_STATE_RESTORED
        newest = self._newest_block.get(peer)
        if newest is not None and newest not in rows:
            yield RarePath.RECORDS_LOST
        self._guards.pop(peer, None)
        if guard_round > max((round_of(key) for table, key in rows if self._is_own_vertex(peer, table, key)), default=0):
            self._guards[peer] = guard_round

    def joins(self, peer: PeerId) -> None:
        """A late peer is about to start."""
        self._goals[peer] = max(1, self._highest)

    def _waits_to_be_sent(self, last: Seen) -> bool:
        """Whether it is a block of the peer's own, or its signed round: then it would have been sent."""
        match last.event:
            case Guard():
                return True
            case Record(table, key, value):
                is_led = table == BLOCK_TABLE and BLOCK_CODEC.decode(value).header.leader == last.peer
                return is_led or self._is_own_vertex(last.peer, table, key)
        return False

    def _is_above_guard(self, peer: PeerId, table: str, key: bytes) -> bool:
        """The first block of its own that a member signs, after a start from a disk that was older than its guard."""
        if peer not in self._guards or not self._is_own_vertex(peer, table, key) or round_of(key) <= self._guards[peer]:
            return False  # one that others have shown it
        del self._guards[peer]
        return True

    def _is_own_vertex(self, peer: PeerId, table: str, key: bytes) -> bool:
        return table == VERTEX_TABLE and int.from_bytes(key[8:12], "big") == self._indices.get(peer)


def round_of(key: bytes) -> int:
    """Keys of blocks of total order begin with the round (docs/protocol.md, 8)."""
    return int.from_bytes(key[:8], "big")


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
            *JointHistory.reads,
            Accuse,
            ContributionAssessed,
            FetchAttachment,
            Forget,
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
        self._joint = JointHistory(members)
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
            self._counts.update(self._joint.see(seen))
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
            case GenerationDecided(slate=slate, winner=0) if slate[0].author is None:
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
