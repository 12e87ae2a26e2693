"""Compose a peer's ordering machine, replica and learner from the rules of its network and from what it has recorded.

A node, a simulated peer and the audit of a store read records in ways of their own; all of them come here, so that what each
part is made of, and how large the bytes beside the order may be, is said once.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol, assert_never

from consensus.encoding import Signer
from consensus.payload_requests import FETCHES_MAX
from consensus.proof_of_work.machine import ProofOfWork
from consensus.proof_of_work.records import BLOCK_TABLE, FINAL_TABLE, VERDICT_TABLE
from consensus.protocol import OrderingProtocol
from consensus.steps import genesis_step
from consensus.total_order.machine import TotalOrder
from consensus.total_order.records import BASE_TABLE, COMMIT_TABLE, EVIDENCE_TABLE, VERTEX_TABLE
from consensus.total_order.state_sync import SNAPSHOT_BEHIND
from consensus.types import KEY_BYTES, Digest, PeerId, StepId
from learning.aggregation.quantised import payload_bytes
from learning.evolution.joint_memory import memory_bytes_max
from learning.evolution.ranked_list import list_length
from learning.evolution.rules import Strategy
from learning.gradient.checkpoint_codec import KEPT_BYTES_PER_STEP, KEPT_COMMITS, kept_interval
from learning.gradient.rules import check_ms_max
from learning.learner import AdoptRequest, LearnerRequest, Participant, StateKept
from learning.state import decode_kept_state
from learning.task import Layout
from node.net.bulk_transfer import payload_places
from node.processes.learner import LearnerSpec
from node.rules.conversion import contribution_rank, learning_rules, proof_of_work_rules
from node.rules.network_rules import Consensus, Learning, NetworkRules, members_of, network_id
from node.rules.retention import (
    PAYLOAD_COMMITS,
    PAYLOADS_BYTES,
    SNAPSHOT_COMMITS,
    SNAPSHOT_COMMITS_MIN,
    Retention,
    commits_needed,
)
from node.runtime.coupling import Coupling
from node.storage.tables import PAYLOAD_TABLE, STATE_KEY, STATE_TABLE

STATE_BYTES_OVERHEAD = 1_024
"""What a kept state holds besides its arrays, for each version and worker."""

GRADIENT_BITS_MAX = 16
"""Per value on the wire."""

GRADIENT_BYTES_PER_PARAMETER = GRADIENT_BITS_MAX // 8

PAYLOAD_BYTES_OVERHEAD = 4_096
"""What a gradient holds besides its values: a byte for each tensor, and one more."""

STATE_VECTORS = 8
"""Arrays of the model's size that a rule may keep besides its slots: momentum and the like."""


def state_bytes_max(rules: NetworkRules, members: int, layout: Layout) -> int:
    """The largest kept state that another peer may send: the model, and for gradients what a rule may remember.

    That is a gradient and a buffer for each worker, a handful of vectors, and the models of the staleness window.
    """
    model_bytes = 4 * sum(block.size for block in layout)
    if rules.learning is Learning.EVOLUTION:
        if rules.evolution.strategy is not Strategy.JOINT:
            return model_bytes + STATE_BYTES_OVERHEAD
        return 2 * model_bytes + STATE_BYTES_OVERHEAD + memory_bytes_max(members, list_length(rules.evolution.offspring))
    versions = rules.gradient.staleness_max + 1
    models = 2 + 2 * members + STATE_VECTORS + versions
    return models * model_bytes + STATE_BYTES_OVERHEAD * (versions + members)


def payload_bytes_max(rules: NetworkRules, layout: Layout) -> int:
    """The longest payload that may travel beside the order: a gradient in its widest form; a candidate has none."""
    return payload_bytes(layout, GRADIENT_BITS_MAX) if rules.learning is Learning.GRADIENT else 0


def fetches_max(rules: NetworkRules) -> int:
    """For how many payloads at once the shell has places; by the network's rules alone, a little less than by the layout."""
    if rules.learning is Learning.EVOLUTION:
        return FETCHES_MAX
    return payload_places(rules.task.parameters * GRADIENT_BYTES_PER_PARAMETER + PAYLOAD_BYTES_OVERHEAD)


def retention_of(rules: NetworkRules) -> Retention:
    """How long payloads are kept: as long as their bytes allow, and never less than they are needed.

    Of the network's rules alone: what one member has forgotten no other waits for.
    """
    gc_depth, members = rules.total_order.gc_depth, max(1, len(rules.total_order.members))
    if rules.learning is Learning.EVOLUTION:  # nothing is large, and nothing is forgotten
        behind = max(SNAPSHOT_BEHIND, gc_depth + 1)
        return Retention(KEPT_COMMITS[0], gc_depth, behind, 2 * behind + PAYLOAD_COMMITS)
    commit_bytes = members * rules.task.parameters * GRADIENT_BYTES_PER_PARAMETER
    models_bytes = 4 * rules.task.parameters * (rules.gradient.staleness_max + 1)
    interval = kept_interval(models_bytes + commit_bytes, KEPT_COMMITS, max(KEPT_BYTES_PER_STEP, commit_bytes))
    behind = max(SNAPSHOT_COMMITS_MIN, gc_depth + 1)
    fewest = commits_needed(interval, gc_depth, behind) + 1
    commits = min(max(fewest, PAYLOADS_BYTES // commit_bytes), PAYLOAD_COMMITS + 2 * gc_depth)
    spare = commits - fewest
    return Retention(interval, gc_depth, min(behind + spare, max(SNAPSHOT_COMMITS, gc_depth + 1)), commits)


PROOF_OF_WORK_TABLES = (BLOCK_TABLE, FINAL_TABLE, VERDICT_TABLE)
"""What the ordering machine records, and is handed again at a restart."""

TOTAL_ORDER_TABLES = (BASE_TABLE, COMMIT_TABLE, EVIDENCE_TABLE, VERTEX_TABLE)
"""The same for a total order; in this order the chain of commits is read before the blocks."""

NOBODY = PeerId(bytes(KEY_BYTES))
"""Who a member is that only observes: the machine signs for members alone."""


class PeerRows(Protocol):
    """What a peer has recorded; `node.storage.store.Store` is one."""

    def get(self, table: str, key: bytes) -> bytes | None:
        """The value recorded under (table, key)."""
        ...

    def records(self, table: str) -> Iterable[tuple[bytes, bytes]]:
        """All (key, value) of a table, in the order of their keys."""
        ...


class NoRows:
    """Of a peer that has recorded nothing. Implements `PeerRows`."""

    def get(self, table: str, key: bytes) -> None:
        """Nothing."""

    def records(self, table: str) -> tuple[tuple[bytes, bytes], ...]:  # noqa: ARG002
        """None."""
        return ()


class RowArchive:
    """Reads single rows back: as the archive of either machine, and for learners that look for large payloads."""

    def __init__(self, rows: PeerRows) -> None:
        self._rows = rows

    def value(self, table: str, key: bytes) -> bytes | None:
        """What was recorded under (table, key)."""
        return self._rows.get(table, key)

    def block(self, key: bytes) -> bytes | None:
        """What was recorded under this key of the block table."""
        return self._rows.get(BLOCK_TABLE, key)

    def payload(self, digest: bytes) -> bytes | None:
        """The large payload of this digest."""
        return self._rows.get(PAYLOAD_TABLE, digest)


@dataclass(frozen=True, slots=True)
class Role:
    """What one peer is in its network."""

    identity: PeerId
    sign: Signer
    seed: bytes
    """Draws the lots between branches of equal work, and whom to ask: the same one after a restart."""
    is_observer: bool = False
    """Follows and checks, and decides nothing."""


def ordering_machine(
    rules: NetworkRules, role: Role, rows: PeerRows, *, guard_round: int = 0, snapshot_behind: int | None = None
) -> OrderingProtocol:
    """The one of this network. `guard_round` and `snapshot_behind`: of a total order."""
    match rules.consensus:
        case Consensus.PROOF_OF_WORK:
            return proof_of_work_machine(rules, role, rows)
        case Consensus.TOTAL_ORDER:
            return total_order_machine(rules, role, rows, guard_round=guard_round, snapshot_behind=snapshot_behind)
        case _:
            assert_never(rules.consensus)


def proof_of_work_machine(rules: NetworkRules, role: Role, rows: PeerRows) -> ProofOfWork:
    """It goes on from its records. Raises CorruptRecordsError."""
    kept = kept_state(rows)
    return ProofOfWork(
        rules=proof_of_work_rules(rules),
        network_id=network_id(rules),
        identity=role.identity,
        sign=role.sign,
        seed=role.seed,
        records=_rows_of(rows, PROOF_OF_WORK_TABLES),
        archive=RowArchive(rows),
        is_leading=not role.is_observer,
        replay_from=None if kept is None else StepId(kept.step),
        rank=contribution_rank(rules),
        fetches_max=fetches_max(rules),
    )


def total_order_machine(
    rules: NetworkRules, role: Role, rows: PeerRows, *, guard_round: int = 0, snapshot_behind: int | None = None
) -> TotalOrder:
    """It goes on from its records. `snapshot_behind`: where that is not what the rules say. Raises CorruptRecordsError."""
    kept = kept_state(rows)
    return TotalOrder(
        rules=rules.total_order,
        network_id=network_id(rules),
        members=members_of(rules),
        identity=NOBODY if role.is_observer else role.identity,
        sign=role.sign,
        seed=role.seed,
        records=_rows_of(rows, TOTAL_ORDER_TABLES),
        archive=RowArchive(rows),
        guard_round=guard_round,
        replay_from=None if kept is None else StepId(kept.commit_step),
        snapshot_behind=snapshot_behind or retention_of(rules).snapshot_behind,
        fetches_max=fetches_max(rules),
    )


def replica_over(
    machine: OrderingProtocol, rules: NetworkRules, held: Iterable[bytes], payload_commits: int | None = None
) -> Coupling:
    """`held`: digests of the recorded payloads. `payload_commits`: where they go after other than the rules say."""
    digests = tuple(Digest(digest) for digest in held)
    return Coupling(machine, network_id(rules), digests, payload_commits or retention_of(rules).payload_commits)


def learner_spec(
    rules: NetworkRules, author: PeerId, restored: StateKept | None, *, is_searching: bool = True, is_leading: bool = True
) -> LearnerSpec:
    """What the learner is told at its start, but for where it finds files."""
    this_network = network_id(rules)
    return LearnerSpec(
        task=rules.task.name,
        folder="",
        rules=learning_rules(rules),
        participant=Participant(this_network, author, genesis_step(this_network), members_of(rules), is_searching, is_leading),
        restored=restored,
        model=rules.model,
        data_digest=rules.task.data_digest,
        check_ms_max=check_ms_max(rules.proof_of_work.block_interval_ms),
    )


def first_requests(rules: NetworkRules, kept: StateKept | None) -> tuple[LearnerRequest, ...]:
    """What the learner is asked before all else: under a total order it tells its head at once."""
    if rules.consensus is Consensus.PROOF_OF_WORK:
        return ()
    return (AdoptRequest(b"" if kept is None else kept.step),)


def kept_state(rows: PeerRows) -> StateKept | None:
    """The newest final state that is recorded."""
    data = rows.get(STATE_TABLE, STATE_KEY)
    return None if data is None else decode_kept_state(data)


def _rows_of(rows: PeerRows, tables: tuple[str, ...]) -> Iterator[tuple[str, bytes, bytes]]:
    """Table by table."""
    for table in tables:
        for key, value in rows.records(table):
            yield table, key, value
