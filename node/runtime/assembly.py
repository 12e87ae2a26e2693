"""Put one peer together from its folder: the only place that knows which consensus and which learning are in use."""

import asyncio
import contextlib
import logging
import secrets
import signal
import socket
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import assert_never

import msgspec
import uvloop

from consensus.proof_of_work.assessment_queue import Rank, equal_claims
from consensus.proof_of_work.machine import ProofOfWork
from consensus.proof_of_work.rules import ProofOfWorkRules
from consensus.protocol import OrderingProtocol
from consensus.records import CorruptRecordsError
from consensus.steps import genesis_step
from consensus.total_order.machine import TotalOrder, TotalOrderRules
from consensus.total_order.records import BASE_TABLE, COMMIT_TABLE, EVIDENCE_TABLE, VERTEX_TABLE
from consensus.types import KEY_BYTES, Digest, PeerId, StepId
from learning.checkpoint import decode_kept_state
from learning.evolution.learner import SearchSettings
from learning.evolution.payload import claimed_fitness
from learning.evolution.rules import EvolutionRules
from learning.gradient.block_learner import BASE_AGE_MAX
from learning.gradient.rules import GradientRules, check_ms_max
from learning.learner import AdoptRequest, LearnerRequest, StateKept
from node.api.chains import ChainSource, ProofOfWorkChain, TotalOrderChain
from node.common.errors import NodeError
from node.net.large_sizes import fetches_max, retention_of
from node.processes.learner import LearnerSpec
from node.processes.puzzle import PuzzleSpec
from node.rules.network_file import Consensus, Learning, NetworkRules, is_stranger, network_id
from node.rules.settings import PeerSettings
from node.runtime.lifeline import obey
from node.runtime.logs import configure_logging
from node.runtime.peer import Peer, PeerParts
from node.runtime.replica import PAYLOAD_TABLE, STATE_KEY, STATE_TABLE, Replica
from node.storage.folder import NodeFolder
from node.storage.guard_file import GuardFile
from node.storage.store import Store
from node.storage.task_trust import check_trust

log = logging.getLogger(__name__)

PROOF_OF_WORK_TABLES = ("block", "final", "verdict")
"""What the ordering machine records, and is handed again at a restart."""

TOTAL_ORDER_TABLES = (BASE_TABLE, COMMIT_TABLE, EVIDENCE_TABLE, VERTEX_TABLE)
"""The same for a total order; in this order the chain of commits is read before the blocks."""

NOBODY = PeerId(bytes(KEY_BYTES))
"""Who a member is that only observes: the machine signs for members alone."""

TIE_SEED = "tie_seed"

Compose = Callable[[PeerSettings, NodeFolder], PeerParts]
"""Puts the parts of a peer together, from its opened folder. Raises NodeError."""


def run_peer(
    settings: PeerSettings,
    lifeline: Connection | None = None,
    api_listener: socket.socket | None = None,
    compose: "Compose | None" = None,
) -> int:
    """Run one peer until SIGINT or SIGTERM, or until `lifeline` closes; its exit code. `api_listener`: where its API serves.

    `compose`: what the peer is made of, where that is not `parts_of`. Raises NodeError with what a user can do.
    """
    configure_logging(settings.log_level)
    with NodeFolder.open(settings.data_dir, settings.network_file) as folder, first_reason(folder.store):
        check_trust(folder, settings.trusted_task)
        rules, peer_id = folder.rules, folder.identity.peer_id.hex()
        log.info('peer %s of network "%s": loads the task %s (some seconds)', peer_id[:8], rules.name, rules.task.name)
        if is_stranger(rules, peer_id):
            log.warning("this key is none of the network's members: the peer follows and checks, and decides nothing")
        uvloop.run(_serve(partial(compose or parts_of, settings, folder), lifeline, api_listener))
    return 0


async def _serve(compose: Callable[[], PeerParts], lifeline: Connection | None, api_listener: socket.socket | None) -> None:
    peer = Peer(compose(), api_listener)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, peer.request_stop)
    if lifeline is not None:
        loop.add_reader(lifeline.fileno(), _obey, lifeline, peer)
    loop.set_exception_handler(lambda _, context: peer.fail(context))
    await peer.run()


def _obey(lifeline: Connection, peer: Peer) -> None:
    """It stays readable after its end, so it is read no more."""
    if not obey(lifeline, peer):
        asyncio.get_running_loop().remove_reader(lifeline.fileno())


@contextlib.contextmanager
def first_reason(store: Store) -> Iterator[None]:
    """A part that fails ends the node: the first failure is the reason to tell."""
    try:
        yield
    except (BaseExceptionGroup, CorruptRecordsError) as failure:
        reason: BaseException = failure
        while isinstance(reason, BaseExceptionGroup):
            reason = reason.exceptions[0]
        if isinstance(reason, CorruptRecordsError):
            fix = f"move {store.path} away and start again: the peer fetches the chain from the others, and keeps its key"
            raise NodeError(f"the records in {store.path} contradict themselves: {reason}", fix) from failure
        raise reason from failure


def parts_of(settings: PeerSettings, folder: NodeFolder) -> PeerParts:
    """Everything that one peer is made of, from its opened folder. Raises NodeError."""
    rules, identity, store = folder.rules, folder.identity, folder.store
    this_network = network_id(rules)
    kept = kept_state(store)
    match rules.consensus:
        case Consensus.PROOF_OF_WORK:
            ordering = _proof_of_work(settings, folder, kept)
        case Consensus.TOTAL_ORDER:
            ordering = _total_order(settings, folder, kept)
        case _:
            assert_never(rules.consensus)
    held = (Digest(key) for key in store.keys(PAYLOAD_TABLE))
    replica = Replica(ordering.machine, this_network, held, retention_of(rules).payload_commits)
    learner = LearnerSpec(
        task=rules.task.name,
        folder=str(Path.cwd()),
        rules=learning_rules(rules),
        network_id=this_network,
        author=identity.peer_id,
        genesis_step=genesis_step(this_network),
        settings=SearchSettings(is_searching=settings.is_searching and not settings.is_observer),
        restored=kept,
        members=ordering.members,
        store=str(store.path.resolve()),
    )
    return PeerParts(
        settings=settings,
        folder=folder,
        identity=identity,
        rules=rules,
        store=store,
        replica=replica,
        chain=ordering.chain,
        learner=learner,
        puzzle=ordering.puzzle,
        first_requests=ordering.first_requests,
    )


@dataclass(frozen=True, slots=True)
class _Ordering:
    """What depends on the kind of consensus."""

    machine: OrderingProtocol
    chain: ChainSource
    puzzle: PuzzleSpec | None = None
    members: tuple[PeerId, ...] = ()
    first_requests: tuple[LearnerRequest, ...] = ()


def _proof_of_work(settings: PeerSettings, folder: NodeFolder, kept: StateKept | None) -> _Ordering:
    rules, identity, store = folder.rules, folder.identity, folder.store
    machine = ProofOfWork(
        rules=proof_of_work_rules(rules),
        network_id=network_id(rules),
        identity=identity.peer_id,
        sign=identity.sign,
        seed=_tie_seed(store),
        records=stored_records(store, PROOF_OF_WORK_TABLES),
        archive=StoredBlocks(store),
        is_leading=not settings.is_observer,
        replay_from=None if kept is None else StepId(kept.step),
        rank=contribution_rank(rules),
        fetches_max=fetches_max(rules),
    )
    puzzle = PuzzleSpec(rules.proof_of_work.puzzle_memory_kib, settings.puzzle_share)
    return _Ordering(machine, ProofOfWorkChain(machine, settings.puzzle_share, rules.proof_of_work.finality_depth), puzzle)


def _total_order(settings: PeerSettings, folder: NodeFolder, kept: StateKept | None) -> _Ordering:
    records = stored_records(folder.store, TOTAL_ORDER_TABLES)
    machine = order_member(settings, folder, kept, records, guard_round=GuardFile(folder.path).read())
    head = b"" if kept is None else kept.step
    return _Ordering(machine, TotalOrderChain(machine), members=_members(folder.rules), first_requests=(AdoptRequest(head),))


def order_member(
    settings: PeerSettings,
    folder: NodeFolder,
    kept: StateKept | None,
    records: Iterable[tuple[str, bytes, bytes]],
    *,
    guard_round: int,
) -> TotalOrder:
    """The ordering machine of a member of a total order, or of an observer."""
    rules, identity, store = folder.rules, folder.identity, folder.store
    return TotalOrder(
        rules=total_order_rules(rules),
        network_id=network_id(rules),
        members=_members(rules),
        identity=NOBODY if settings.is_observer else identity.peer_id,
        sign=identity.sign,
        seed=_tie_seed(store),
        records=records,
        archive=StoredRows(store),
        guard_round=guard_round,
        replay_from=None if kept is None else StepId(kept.commit_step),
        snapshot_behind=retention_of(rules).snapshot_behind,
        fetches_max=fetches_max(rules),
    )


def _members(rules: NetworkRules) -> tuple[PeerId, ...]:
    return tuple(PeerId(bytes.fromhex(key)) for key in rules.total_order.members)


def _tie_seed(store: Store) -> bytes:
    """What draws the lots between branches of equal work: chosen once, so that a restart finds the same head."""
    if store.meta(TIE_SEED) is None:
        store.set_meta(TIE_SEED, secrets.token_hex(32))
    seed = store.meta(TIE_SEED)
    assert seed is not None, "just stored"
    return bytes.fromhex(seed)


def kept_state(store: Store) -> StateKept | None:
    """The newest final state that the store holds."""
    data = store.get(STATE_TABLE, STATE_KEY)
    return None if data is None else decode_kept_state(data)


def stored_records(store: Store, tables: tuple[str, ...]) -> Iterator[tuple[str, bytes, bytes]]:
    """What the ordering machine recorded, by table and key."""
    for table in tables:
        for key, value in store.records(table):
            yield table, key, value


class StoredRows:
    """A total order's way to rows that it no longer holds in memory (its `TotalOrderArchive`)."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def value(self, table: str, key: bytes) -> bytes | None:
        """What was recorded under (table, key)."""
        return self._store.get(table, key)


class StoredBlocks:
    """The ordering machine's way to bodies that it no longer holds in memory (its `BlockArchive`)."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def block(self, key: bytes) -> bytes | None:
        """What was recorded under this key of the block table."""
        return self._store.get("block", key)


def proof_of_work_rules(rules: NetworkRules) -> ProofOfWorkRules:
    """The network file's section, as the ordering machine wants it: a gradient may be some blocks old, a candidate may not.

    A gradient is one large payload; a candidate has none, and a block lists one candidate.
    """
    work = rules.proof_of_work
    section = msgspec.structs.asdict(work)
    if rules.learning is Learning.EVOLUTION:
        return ProofOfWorkRules(**section, attachments_max=0, contributions_max=1)
    return ProofOfWorkRules(
        **section,
        base_age_max=min(BASE_AGE_MAX, work.finality_depth),
        author_window=rules.gradient.workers_window,
        attachments_max=1,
    )


def contribution_rank(rules: NetworkRules) -> Rank:
    """How much a contribution claims to be worth: a candidate its fitness, a gradient nothing."""
    return claimed_fitness if rules.learning is Learning.EVOLUTION else equal_claims


def total_order_rules(rules: NetworkRules) -> TotalOrderRules:
    """The network file's section without the members, as the ordering machine wants it."""
    section = msgspec.structs.asdict(rules.total_order)
    del section["members"]
    return TotalOrderRules(**section)


def learning_rules(rules: NetworkRules) -> EvolutionRules | GradientRules:
    """The network file's section, as the learner wants it."""
    match rules.learning:
        case Learning.EVOLUTION:
            return EvolutionRules(**msgspec.structs.asdict(rules.evolution))
        case Learning.GRADIENT:
            interval_ms = rules.proof_of_work.block_interval_ms
            return GradientRules(**msgspec.structs.asdict(rules.gradient), check_ms_max=check_ms_max(interval_ms))
        case _:
            assert_never(rules.learning)
