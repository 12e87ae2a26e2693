"""All checkers together: they are shown what honest peers do, and the first finding is the outcome."""

import traceback
from collections import deque
from collections.abc import Callable, Container, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from consensus.proof_of_work.rules import ProofOfWorkRules
from consensus.steps import genesis_step
from consensus.types import Instant, NetworkId, PeerId
from node.lab.checkers.attribution import AcceptedOnce, DeliveredOnce, FoundByItsAuthor, NoHonestBlamed
from node.lab.checkers.bounds import Scale, excess, stored_excess
from node.lab.checkers.finding import (
    LINES_MAX,
    Checker,
    Diverged,
    Event,
    Excerpt,
    Finding,
    NoProgress,
    Pass,
    RunOutcome,
    Seen,
    Started,
    excerpt_of,
)
from node.lab.checkers.one_history import OneChain, OneOrder, OneState
from node.lab.checkers.one_signature import OneBlockAParent, OneBlockARound, RecordedBeforeSent
from node.lab.checkers.progress import ExpectedPace, HeadProgress, Parts
from node.lab.checkers.rare_paths import RarePaths
from node.lab.checkers.recorded import IsSolved, ProvenBlocks, SignedByMembers, StatesAddUp
from node.lab.checkers.work import FinalIsDeep, WorkAddsUp
from node.runtime.coupling import Coupling


class HonestSet:
    """All checkers of a checker suite share one.

    What is seen under the name of a peer that is in it was signed while that peer was honest. What was signed before a peer
    turned, and is seen only later, cannot be told from what came after: nothing is held against anybody for it.
    """

    def __init__(self, peers: Iterable[PeerId]) -> None:
        self._peers = frozenset(peers)

    def __contains__(self, peer: object) -> bool:
        """Whether it has been honest up to now."""
        return peer in self._peers

    def turns(self, peer: PeerId) -> None:
        """From now on it may do anything."""
        self._peers -= {peer}


REMEMBERED_MAX = 8_192
"""Newest events that an excerpt may be cut from: some seconds of thirteen peers."""

NOTHING_RAISES = "no peer fails by a mistake of its own"

WITHIN_BOUNDS = "every queue, table and store lies within its bound"


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a network from outside."""

    network_id: NetworkId
    honest: frozenset[PeerId]
    """At first. Crashes, pauses and cut links make nobody dishonest."""
    peers: int
    start: Instant
    """When the run begins: excerpts count from here."""
    members: tuple[PeerId, ...] = ()
    """Of a total order; none under proof of work."""
    gc_depth: int = 0
    """Of a total order."""
    work_rules: ProofOfWorkRules | None = None
    """Of proof of work."""
    outsiders_max: int = 0
    """Who may be connected to one peer besides the others."""
    is_solved: IsSolved | None = None
    """Of proof of work: asks whoever draws the luck of all miners."""


ChooseCheckers = Callable[[Facts, Container[bytes]], tuple[Checker, ...]]
"""What a checker suite consists of, by what is known of the network and by who is honest now."""


class WatchedPeer(Protocol):
    """What a checker suite wants to know of who did something."""

    @property
    def id(self) -> PeerId:
        """Its key."""
        ...

    @property
    def incarnation(self) -> int:
        """How often it was started again."""
        ...


class CheckerSuite:
    """Looks at a network from outside. After its first finding it looks no more."""

    def __init__(self, facts: Facts, choose: ChooseCheckers | None = None) -> None:
        self._facts = facts
        self.honest = HonestSet(facts.honest)
        self._readers: dict[type, list[Checker]] = {}
        self._checkers = {checker.name: checker for checker in (choose or checkers_for)(facts, self.honest)}
        for checker in self._checkers.values():
            for kind in checker.reads:
                self._readers.setdefault(kind, []).append(checker)
        self._remembered: deque[Seen] = deque(maxlen=REMEMBERED_MAX)
        self.progress = HeadProgress(is_one_history=facts.work_rules is None)
        self.rare_paths = RarePaths(facts.members)
        self.parts = Parts(facts.members)
        self.finding: Finding | None = None

    def turns(self, peer: PeerId) -> None:
        """From now on it misbehaves, or has misbehaved before: it is listened to no more, and nobody has to spare it."""
        self.honest.turns(peer)

    def watch(self, peer: WatchedPeer, event: Event, now: Instant) -> None:
        """One effect as it is carried out, or one answer of a learner as it is heard."""
        if self.finding is None and peer.id in self.honest:
            self._see(Seen(now, peer.id, peer.incarnation, event))

    def starts(self, peer: WatchedPeer, rows: Iterable[tuple[str, bytes]], now: Instant) -> None:
        """It is about to start again. `rows`: the table and the key of each that its disk still holds."""
        readers = self._readers.get(Started, ())
        if self.finding is None and peer.id in self.honest and readers:
            seen = Seen(now, peer.id, peer.incarnation, Started(frozenset(rows)))
            for checker in readers:
                self.finding = self.finding or checker.see(seen)

    def inspect(self, peer: PeerId, replica: Coupling, rows: Iterable[tuple[str, bytes]], now: Instant) -> None:
        """Count what an honest peer holds in memory and on its disk. `rows`: the table and the key of each."""
        if self.finding is not None or peer not in self.honest:
            return
        self.rare_paths.note_machine(peer, replica.ordering)
        facts, height = self._facts, max(self.progress.heights.values(), default=0)
        scale = Scale(facts.peers, facts.gc_depth, height, facts.outsiders_max)
        self._exceeds(peer, excess(replica, scale), now)
        self.inspect_disk(peer, rows, now)

    def inspect_disk(self, peer: PeerId, rows: Iterable[tuple[str, bytes]], now: Instant) -> None:
        """Count what it holds on its disk alone."""
        if self.finding is None and peer in self.honest:
            self._exceeds(peer, stored_excess(rows, self._facts.peers), now)

    def _exceeds(self, peer: PeerId, detail: str | None, now: Instant) -> None:
        if detail is not None:
            self.finding = Finding(WITHIN_BOUNDS, f"{peer.hex()[:8]} at {now}: {detail}", ())

    def on_error(self, error: Exception, now: Instant) -> None:
        """The code under test has raised: an assertion of its own, or what nobody foresaw."""
        place = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{Path(place.filename).name}:{place.lineno} in {place.name}"
        last = tuple(self._remembered)[-1:]
        self.finding = self.finding or Finding(NOTHING_RAISES, f"at {now}: {type(error).__name__} ({error}), {where}", last)

    def run_outcome(self, expected: Iterable[PeerId], pace: ExpectedPace, now: Instant) -> RunOutcome:
        """At the end: `expected` are the peers that should have kept the pace since `progress.calm` was called."""
        counts = {path.value: count for path, count in self.rare_paths.counts.items()}
        if self.finding is not None:
            return Diverged(self.finding, self._excerpt(self.finding), counts)
        peers = tuple(expected)
        standstill = self.progress.standstill(peers, pace, now)
        kept_out = self.parts.kept_out(peers, now) if standstill is None and pace.heights_min else None
        if standstill is not None:
            return self._no_progress(standstill.peer, standstill.detail, counts)
        if kept_out is not None:
            return self._no_progress(kept_out[0], f"{kept_out[0].hex()[:8]} {kept_out[1]}", counts)
        return Pass(counts)

    def _no_progress(self, peer: PeerId | None, detail: str, counts: dict[str, int]) -> NoProgress:
        last = [seen for seen in self._remembered if seen.peer == peer][-LINES_MAX:]
        return NoProgress(detail, excerpt_of(last, (), start=self._facts.start), counts)

    def _see(self, seen: Seen) -> None:
        kind = seen.kind
        readers = self._readers.get(kind, ())
        if readers:
            self._remembered.append(seen)
        self.progress.see(seen)
        self.parts.see(seen)
        self.rare_paths.see(seen)
        for checker in readers:
            self.finding = self.finding or checker.see(seen)

    def _excerpt(self, finding: Finding) -> Excerpt:
        """What contradicts each other, after the last that those peers did of the same kinds."""
        if not finding.contradicting:
            return Excerpt()
        checker = self._checkers.get(finding.checker)
        kinds = tuple(self._readers) if checker is None else checker.reads
        peers = {seen.peer for seen in finding.contradicting}
        before = [seen for seen in self._remembered if seen.kind in kinds and seen.peer in peers]
        others = [seen for seen in before if not any(seen is earlier for earlier in finding.contradicting)]
        room = max(0, LINES_MAX - len(finding.contradicting))
        return excerpt_of(
            (*others[len(others) - room :], *finding.contradicting), finding.contradicting, start=self._facts.start
        )


def checkers_for(facts: Facts, honest: Container[bytes]) -> tuple[Checker, ...]:
    """Those that fit the kind of order. `honest`: may lose members while they look."""
    members, network_id = facts.members, facts.network_id
    genesis = genesis_step(network_id)
    common: tuple[Checker, ...] = (
        OneState(is_one_history=facts.work_rules is None),
        FoundByItsAuthor(honest),
        DeliveredOnce(honest),
        NoHonestBlamed(honest),
        RecordedBeforeSent(network_id, members),
        StatesAddUp(is_memory_covered=facts.work_rules is not None),
    )
    if facts.work_rules is None:
        signatures = OneBlockARound(network_id, members, honest), SignedByMembers(network_id, members)
        return (OneOrder(), *signatures, AcceptedOnce(), *common)
    assert facts.is_solved is not None, "nobody can tell whose puzzles are solved"
    return (
        OneChain(genesis),
        OneBlockAParent(network_id),
        WorkAddsUp(network_id, facts.work_rules, genesis),
        FinalIsDeep(network_id, facts.work_rules.finality_depth, genesis),
        ProvenBlocks(network_id, facts.is_solved),
        *common,
    )
