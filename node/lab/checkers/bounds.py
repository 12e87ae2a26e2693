"""Every queue, table and store of a replica lies within the bound that the code declares for it.

The constants are those of the code under test; that each of them is there, and held to, is what is checked. Every container is
counted, by the class and the attribute that hold it; one without an entry here is a finding, too.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache

import msgspec

from consensus.payload_requests import FETCHES_MAX, STALLED_ATTEMPTS, Need
from consensus.proof_of_work.author_window import BASES_KEPT
from consensus.proof_of_work.block_download import BODIES_PER_REQUEST
from consensus.proof_of_work.block_tree import TREE_BLOCKS_MAX
from consensus.proof_of_work.mempool import (
    HELD_MAX,
    LACKING_MAX,
    PER_AUTHOR_IN_ALL_MAX,
    POOL_MAX,
    QUEUED_PER_SOURCE_MAX,
    UNDER_WAY_MAX,
)
from consensus.proof_of_work.mining import JOBS_MAX
from consensus.proof_of_work.packed_headers import BRANCHES_MAX, LINKS_MAX, RIVALS_MAX
from consensus.proof_of_work.peers import ANSWERS_LATE_MAX, LEFT_OWING_MAX, SUBNETS_MAX
from consensus.proof_of_work.puzzle_budgets import GROUPS_MAX
from consensus.proof_of_work.rules import AUTHOR_WINDOW_MAX, CONTRIBUTIONS_MAX
from consensus.proof_of_work.status import STEPS_TOLD_MAX
from consensus.proof_of_work.unverified_headers import EARLY_MAX, ORPHANS_MAX, SOURCES_MAX, STAGED_MAX, VERIFY_IN_FLIGHT_MAX
from consensus.proof_of_work.validation import REJECTED_MAX
from consensus.reliability import GIFTS_KEPT
from consensus.steps import ATTACHMENTS_MAX as ATTACHMENTS_PER_CONTRIBUTION
from consensus.total_order.block import ATTACHMENTS_MAX, CHECKPOINTS_KEPT, MARKS_AHEAD_MAX, MARKS_KEPT, TWINS_MAX
from consensus.total_order.commit_sync import BUFFER_MAX, RANGE_ROUNDS_MAX, RUNGS_MAX
from consensus.total_order.linearizer import REFERENCES_MAX
from consensus.total_order.messages import BLOCKS_ASKED_MAX, COMMITS_MAX
from consensus.total_order.pacemaker import PACES_KEPT
from consensus.total_order.peers import REQUESTS_KEPT_MAX
from consensus.total_order.proposer import PENDING_MAX
from consensus.total_order.synchroniser import HINTS_MAX, STALE_MAX
from consensus.total_order.validation import ROUNDS_AHEAD_MAX
from node.rules.retention import CHECKPOINTS_KEPT as CHECKPOINTS_STORED
from node.rules.retention import PAYLOAD_COMMITS
from node.runtime.coupling import Coupling
from node.storage.tables import CHECKPOINT_DIGEST_TABLE, STATE_TABLE

ROOMS = ("consensus.", "node.runtime.coupling")
"""Objects of these packages are looked into; everything else is a value."""

Container = dict[object, object] | list[object] | set[object] | deque[object] | bytearray

CONTAINERS = (dict, list, set, deque, bytearray)

INNER = "[]"
"""Marks the containers that a container holds."""


def sizes_of(replica: Coupling) -> dict[str, int]:
    """The largest container of each name: "Class.attribute", with "[]" for each level of containers in containers."""
    sizes: dict[str, int] = {}
    visited: set[int] = set()
    pending: list[object] = [replica]
    while pending:
        owner = pending.pop()
        if id(owner) in visited:
            continue
        visited.add(id(owner))
        for attribute in _attributes(owner):
            value: object = getattr(owner, attribute, None)
            if _is_owner(value):
                pending.append(value)
            elif isinstance(value, CONTAINERS):
                pending += _count(f"{type(owner).__name__}.{attribute}", value, sizes)
    return sizes


def _count(name: str, value: Container, sizes: dict[str, int]) -> list[object]:
    """Note a container and those inside it; the objects to look into."""
    sizes[name] = max(sizes.get(name, 0), len(value))
    owners: list[object] = []
    for item in _items(value):
        if _is_owner(item):
            owners.append(item)
        elif isinstance(item, CONTAINERS):
            owners += _count(name + INNER, item, sizes)
    return owners


def _items(container: Container) -> Iterable[object]:
    if isinstance(container, bytearray):
        return ()
    return container.values() if isinstance(container, dict) else container


def _attributes(owner: object) -> Iterator[str]:
    kind: type = type(owner)
    yield from _slots(kind)
    yield from getattr(owner, "__dict__", {})


@cache
def _slots(kind: type) -> tuple[str, ...]:
    of_each = [each.__dict__.get("__slots__", ()) for each in kind.__mro__]
    return tuple(name for slots in of_each for name in ((slots,) if isinstance(slots, str) else slots))


def _is_owner(value: object) -> bool:
    kind: type = type(value)
    return _is_of_ours(kind)


@cache
def _is_of_ours(kind: type) -> bool:
    return kind.__module__.startswith(ROOMS) and not issubclass(kind, msgspec.Struct | type)


COMMIT_ROUNDS = 3
"""From a leader to the blocks that decide it (docs/protocol.md, 6)."""

UNDECIDED_ROUNDS_MAX = 64
"""So many slots in a row without a decision: f faulty leaders in turn cost a few rounds each. A graph that goes on for longer
has lost its liveness, and that is what this bound shows."""

SNAPSHOTS_MAX = 64
"""Checkpoints that one member joined from, over all its incarnations: more than any run has restarts."""

LINE_MAX = 8_192
"""What may wait for our learner: a run of simulation delivers fewer commits than this."""

CHAIN_RECORD_BYTES = 96
"""Of one final block, kept for ever (decision in `consensus/proof_of_work/packed_headers.py`)."""


@dataclass(frozen=True, slots=True)
class Scale:
    """What bounds depend on."""

    peers: int
    gc_depth: int
    """0 under proof of work."""
    height: int
    """Of the final chain."""
    outsiders_max: int = 0
    """Who may be connected to one peer besides the others: none, but over sockets."""

    @property
    def rounds(self) -> int:
        """Of the graph that are in memory: above the horizon, up to those kept ahead of time, and those of commits wanted."""
        return self.gc_depth + UNDECIDED_ROUNDS_MAX + ROUNDS_AHEAD_MAX + RANGE_ROUNDS_MAX

    @property
    def blocks(self) -> int:
        """Of the graph, twins among them."""
        return self.rounds * self.peers + TWINS_MAX


def excess(replica: Coupling, scale: Scale) -> str | None:
    """The first container that holds more than declared, or has no declared bound."""
    bounds = declared_bounds(scale)
    for name, size in sorted(sizes_of(replica).items()):
        if name not in bounds:
            return f"{name} holds {size}; no bound is declared for it"
        if size > bounds[name]:
            return f"{name} holds {size}, declared: {bounds[name]} at most"
    return None


def stored_excess(rows: Iterable[tuple[str, bytes]], peers: int) -> str | None:
    """The first table of a disk that holds more rows than declared; chains of blocks and commits grow for ever.

    `rows`: the table and the key of each.
    """
    declared = {
        STATE_TABLE: 1 + CHECKPOINTS_STORED,
        CHECKPOINT_DIGEST_TABLE: CHECKPOINTS_STORED,
        "evidence": peers,
        "final": 1,
        "base": SNAPSHOTS_MAX,
    }
    counts = dict.fromkeys(declared, 0)
    for table, _ in rows:
        if table in counts:
            counts[table] += 1
    for table, count in counts.items():
        if count > declared[table]:
            return f"table {table} holds {count} rows, declared: {declared[table]} at most"
    return None


def declared_bounds(scale: Scale) -> dict[str, int]:
    """By "Class.attribute"."""
    of_kinds = (_of_the_replica(scale), _of_the_graph(scale), _of_the_order(scale), _of_the_chain(scale), _of_the_pool())
    return {name: bound for groups in of_kinds for bound, names in groups for name in names.split()}


Groups = tuple[tuple[int, str], ...]
"""(bound, names that share it)."""


def _of_the_replica(scale: Scale) -> Groups:
    of_pool = (POOL_MAX + TREE_BLOCKS_MAX * CONTRIBUTIONS_MAX) * ATTACHMENTS_PER_CONTRIBUTION
    named = max(scale.blocks * ATTACHMENTS_MAX, of_pool)
    delivered = (PAYLOAD_COMMITS + 2 * scale.gc_depth + 1) * scale.peers * ATTACHMENTS_MAX
    final = scale.height * CONTRIBUTIONS_MAX * ATTACHMENTS_PER_CONTRIBUTION
    kept = max(delivered, final + of_pool)
    return (
        (kept, "HeldAttachments._released HeldAttachments._undated"),
        (named, "HeldAttachments._needed Coupling._wanted LearnerQueue._lacking LearnerQueue._missing _Waiting.lacking"),
        (named + kept, "HeldAttachments._held"),
        (scale.peers, "Coupling._asked"),
        (LINE_MAX, "LearnerQueue._queue LearnerQueue._aside LearnerQueue._lacking[] Coupling._leaving"),
        (0, "Coupling._inputs"),
        (of_pool, "NamedPayloads._named NamedPayloads._counts NamedPayloads._final NamedPayloads._released[]"),
        (2, "NamedPayloads._released"),
        (FETCHES_MAX, "PayloadRequests._fetches PayloadRequests._cooling"),
        (FETCHES_MAX, "PayloadRequests._overtaken PayloadRequests._given"),
        (GIFTS_KEPT, "GiftTimes._without_length_ms"),
        (named, "PayloadRequests._pursuits PayloadRequests._lacking PayloadRequests._lacking[] PayloadRequests._stalled"),
        (named, "PayloadRequests._lanes[] PayloadRequests._resting"),
        (named + scale.peers, "_Pursuit.waiters"),
        (len(Need) * (1 + STALLED_ATTEMPTS), "PayloadRequests._lanes"),
        (scale.peers + scale.outsiders_max, "PayloadRequests._known_peers Reliability._in_vain"),
    )


def _of_the_graph(scale: Scale) -> Groups:
    peers, rounds, blocks = scale.peers, scale.rounds, scale.blocks
    return (
        (
            peers,
            "Committee._indices Dag.kept_rounds Dag.newest Dag._slots[] Proposer._included Relay._named "
            "Relay._named[] Relay._pushed Relay._pushed[] Relay._asked_until Relay._asked_until[] Patience._debts "
            "AmnesiaRecovery._asked_at Round.vertices LeaderSlot.votes LeaderSlot.certificates "
            "State.newest_seen Suspended.missing Attestations._newest Attestations._marks[] Attestations._checkpoints "
            "Attestations._newest_marks CommitFetch._failed Reliability._failures Reliability._late Reliability._suspected",
        ),
        (peers + scale.outsiders_max, "Peers._records PeerClocks._ahead_ms Synchroniser._roomless"),
        (rounds, "CommitRule._slots Dag._rounds Dag._slots Linearizer._ordered Linearizer._recent Proposer._under_way"),
        (rounds, "Dag._missing_rounds"),
        (blocks, "Dag.accepted Dag.suspended Dag._waiting Dag._waiting[] Dag._wanted Dag._missing_rounds[] State.busy"),
        (0, "Dag._holders"),
        (blocks, "Round.vertices[] Dag._false_parents Linearizer._ordered[] Dag._payload_waiting[]"),
        (blocks * ATTACHMENTS_MAX, "Dag._payload_waiting"),
        (blocks * ATTACHMENTS_MAX, "NamedPayloads._by_digest NamedPayloads._by_round NamedPayloads._by_round[]"),
        (ATTACHMENTS_MAX, "Suspended.payloads"),
        (PACES_KEPT, "Pacemaker._paces"),
        (blocks, "KeptTwins._bytes"),
    )


def _of_the_order(scale: Scale) -> Groups:
    peers, ranges = scale.peers, RANGE_ROUNDS_MAX * scale.peers + REFERENCES_MAX
    missing = ranges + scale.blocks
    return (
        (0, "PendingEffects._records PendingEffects._others"),
        (BUFFER_MAX + COMMITS_MAX, "CommitSync._buffer"),
        (RUNGS_MAX, "CommitSync._rungs"),
        (scale.gc_depth + 1, "Joining.records"),
        (PENDING_MAX, "Proposer._pending"),
        (PENDING_MAX * ATTACHMENTS_MAX, "Proposer._dropped"),
        (MARKS_AHEAD_MAX, "Attestations._marks"),
        (MARKS_KEPT, "Attestations._newest_marks[]"),
        (CHECKPOINTS_KEPT, "Attestations._checkpoints[]"),
        (SNAPSHOTS_MAX, "Restoring._bases"),
        (REQUESTS_KEPT_MAX, "Requests.asked Requests.deadlines"),
        (HINTS_MAX + peers, "MissingBlock.hints MissingBlock.tried MissingBlock.in_flight"),
        (BLOCKS_ASKED_MAX, "Requests.asked[]"),
        (ranges, "Synchroniser._of_range"),
        (missing, "Synchroniser._pursuits Synchroniser._roomless[] DueQueue._turns"),
        (2 * missing + STALE_MAX, "DueQueue._heap"),
    )


def _of_the_chain(scale: Scale) -> Groups:
    tree = TREE_BLOCKS_MAX
    return (
        (tree, "BlockTree._links BlockTree._status BlockTree._children BlockTree._children[] BlockTree._forgiven_at"),
        (tree, "BlockTree._undecided BlockDownload._searches BlockDownload._gaps"),
        (tree, "BlockChecks._chain_steps BlockChecks._unchecked BlockChecks._behind"),
        (tree, "HeadCandidates._living HeadCandidates._gaps HeadCandidates._lost"),
        (tree, "HeadCandidates._depths HeadCandidates._stalled"),
        ((scale.height + 1) * CHAIN_RECORD_BYTES, "FinalChain._packed"),
        (BRANCHES_MAX, "HeaderBranches._branches"),
        (RIVALS_MAX, "HeaderBranches._rivals"),
        (LINKS_MAX * CHAIN_RECORD_BYTES, "Branch._packed"),
        (STAGED_MAX, "UnverifiedHeaders._staged UnverifiedHeaders._counts UnverifiedHeaders._pushed"),
        (STAGED_MAX, "UnverifiedHeaders._waiting UnverifiedHeaders._waiting[]"),
        (STAGED_MAX, "UnverifiedHeaders._children UnverifiedHeaders._children[]"),
        (VERIFY_IN_FLIGHT_MAX, "UnverifiedHeaders._in_flight UnverifiedHeaders._flights"),
        (SOURCES_MAX, "Staged.other_sources"),
        (scale.peers + scale.outsiders_max, "PuzzleBudgets._peers _Search.tried"),
        (GROUPS_MAX, "PuzzleBudgets._groups"),
        (ORPHANS_MAX, "Orphanage._orphans"),
        (EARLY_MAX, "Orphanage._early"),
        (REJECTED_MAX, "Validation._rejected"),
        (LEFT_OWING_MAX, "Peers._owed"),
        (SUBNETS_MAX, "Peers._asked_in_vain"),
        (STEPS_TOLD_MAX, "ChainReport._final_steps"),
        (ANSWERS_LATE_MAX, "Requests.unanswered"),
        (BODIES_PER_REQUEST, "Requests.unanswered[]"),
    )


def _of_the_pool() -> Groups:
    return (
        (POOL_MAX + PER_AUTHOR_IN_ALL_MAX, "Mempool._pooled Mempool._bases Mempool._refused"),
        (PER_AUTHOR_IN_ALL_MAX, "Mempool._bases[]"),
        (LACKING_MAX, "Mempool._lacking"),
        (HELD_MAX, "Mempool._held"),
        (POOL_MAX + PER_AUTHOR_IN_ALL_MAX, "AssessmentQueue._queues"),
        (QUEUED_PER_SOURCE_MAX, "AssessmentQueue._queues[]"),
        (UNDER_WAY_MAX, "AssessmentQueue._under_way"),
        (AUTHOR_WINDOW_MAX, "AuthorWindow._final"),
        (BASES_KEPT, "AuthorWindow._branches"),
        (AUTHOR_WINDOW_MAX + TREE_BLOCKS_MAX, "AuthorWindow._branches[] AuthorWindow._silenced"),
        (JOBS_MAX, "Mining._jobs"),
    )
