"""From committed leaders to one order: each leader's history that is not ordered yet, at most one block per author and round.

The commits form a hash chain: to compare the last digest is to compare the whole order (docs/protocol.md, 6).
"""

import itertools
from collections.abc import Iterable
from typing import Annotated

import msgspec

from consensus.encoding import Codec, DigestBytes, Domain, Natural, digest_of, encode
from consensus.steps import genesis_step
from consensus.total_order.block import CommitMark, Reference
from consensus.total_order.committee import Committee
from consensus.total_order.dag import Vertex
from consensus.types import NetworkId, StepId

REFERENCES_MAX = 16_384
"""Blocks in one commit, 750 kB of references: a round takes 200 at most, a stall of gc_depth 60 rounds 12,600. What is over
comes with the next commit, so a record always fits into one message."""


class CommitRecord(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, gc=False):
    """One commit: `references` are the blocks it adds to the order, sorted. Index 0 is genesis."""

    index: Annotated[int, msgspec.Meta(ge=1, le=2**63 - 1)]
    previous: DigestBytes
    leader: Reference
    time_ms: Natural
    references: Annotated[tuple[Reference, ...], msgspec.Meta(max_length=REFERENCES_MAX)]


COMMIT_CODEC: Codec[CommitRecord] = Codec(CommitRecord)


def commit_digest(network_id: NetworkId, record: CommitRecord) -> StepId:
    """Names the commit and, through `previous`, all before it."""
    return StepId(digest_of(Domain.COMMIT, network_id, encode(record)))


class Linearizer:
    """The commit sequence. Holds in memory what the next commits depend on: the newest gc_depth rounds of it."""

    def __init__(self, network_id: NetworkId, gc_depth: int) -> None:
        self._network_id = network_id
        self._gc_depth = gc_depth
        self.index = 0
        self.digest = genesis_step(network_id)
        self.time_ms = 0
        self.leader_round = 0
        self._ordered: dict[int, dict[int, bytes]] = {}
        self._recent: dict[int, StepId] = {}

    @property
    def mark(self) -> CommitMark:
        """The mark of our last commit."""
        return CommitMark(self.index, self.digest)

    @property
    def horizon(self) -> int:
        """Blocks at or below it are never ordered any more."""
        return max(0, self.leader_round - self._gc_depth)

    def is_ordered(self, vertex: Vertex) -> bool:
        """Whether this very block is in the order; below the horizon nobody remembers."""
        return self._ordered.get(vertex.round, {}).get(vertex.author) == vertex.digest

    def digest_at(self, index: int) -> StepId | None:
        """The digest of one of the newest commits."""
        return self._recent.get(index)

    def commit(self, leader: Vertex) -> tuple[CommitRecord, list[Vertex]]:
        """Append the commit of this leader; its record and its blocks in order."""
        added = self._history_of(leader)
        references = tuple(vertex.reference for vertex in added)
        time_ms = max(self.time_ms, median_time_ms(leader))
        record = CommitRecord(self.index + 1, self.digest, leader.reference, time_ms, references)
        self.append(record)
        return record, added

    def append(self, record: CommitRecord) -> None:
        """Take over a commit that is certain: our own, or one that the records or a quorum attest."""
        assert record.index == self.index + 1, f"commit {record.index} after {self.index}"
        assert record.previous == self.digest, f"commit {record.index} does not follow the one before"
        self.restart(record)

    def restart(self, record: CommitRecord) -> None:
        """Take over a commit, whatever was before it."""
        self.index = record.index
        self.digest = commit_digest(self._network_id, record)
        self.time_ms = record.time_ms
        self.leader_round = record.leader.round
        for reference in record.references:
            self._ordered.setdefault(reference.round, {})[reference.author] = reference.digest
        self._recent[record.index] = self.digest
        self._forget()

    def _forget(self) -> None:
        for number in [number for number in self._ordered if number <= self.horizon]:
            del self._ordered[number]
        while len(self._recent) > self._gc_depth:  # one leader a round: no commit above the horizon is forgotten
            del self._recent[next(iter(self._recent))]

    def _history_of(self, leader: Vertex) -> list[Vertex]:
        """Its history above the horizon, sorted; what belongs to an author and round that is ordered already is left out."""
        ordered, horizon = self._ordered, self.horizon
        history = {leader.digest: leader}
        pending = [leader]
        while pending:
            for parent in pending.pop().parents:
                if parent.round <= horizon or parent.digest in history:
                    continue
                if ordered.get(parent.round, {}).get(parent.author) == parent.digest:
                    continue  # and so is all its history, or it never will be
                history[parent.digest] = parent
                pending.append(parent)
        candidates = sorted(history.values(), key=_order_key)
        return _one_per_slot(candidates, ordered)[:REFERENCES_MAX]


def _order_key(vertex: Vertex) -> tuple[int, int, bytes]:
    return vertex.round, vertex.author, vertex.digest


def _one_per_slot(candidates: Iterable[Vertex], ordered: dict[int, dict[int, bytes]]) -> list[Vertex]:
    chosen: list[Vertex] = []
    last = (-1, -1)
    for vertex in candidates:
        slot = (vertex.round, vertex.author)
        if slot != last and vertex.author not in ordered.get(vertex.round, {}):
            chosen.append(vertex)
            last = slot
    return chosen


def median_time_ms(leader: Vertex) -> int:
    """The lower median of its parents' times, those of the round before: among a quorum of them no minority moves it.

    The leader of round 1 has genesis parents, which have no time: 0.
    """
    before = leader.round - 1
    times = sorted(parent.block.content.time_ms for parent in leader.parents if parent.round == before)
    return times[(len(times) - 1) // 2] if times else 0


def record_fault(record: CommitRecord, committee: Committee) -> str | None:
    """What is wrong with a commit that no member can have made, if anything: it is judged by its bytes alone."""
    authors = [record.leader.author, *(reference.author for reference in record.references)]
    if max(authors) >= committee.size:
        return f"commit {record.index} names member {max(authors)}, allowed: 0 to {committee.size - 1}"
    if any(reference.round > record.leader.round for reference in record.references):
        return f"commit {record.index} holds a block of a later round than its leader's, {record.leader.round}"
    slots = [(reference.round, reference.author) for reference in record.references]
    if any(before >= after for before, after in itertools.pairwise(slots)):
        return f"commit {record.index} does not hold its blocks in order, or two of one author and round"
    return None


def chain_digests(network_id: NetworkId, previous: bytes, records: Iterable[CommitRecord]) -> list[StepId] | None:
    """The digests of records that follow `previous` one by one; None when they do not."""
    digests: list[StepId] = []
    index: int | None = None
    for record in records:
        if record.previous != previous or (index is not None and record.index != index + 1):
            return None
        index = record.index
        digests.append(commit_digest(network_id, record))
        previous = digests[-1]
    return digests
