"""Put one peer together from its opened folder, and run it."""

import asyncio
import contextlib
import gc
import logging
import secrets
import signal
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import assert_never

import uvloop

from consensus.encoding import CorruptRecordsError
from consensus.protocol import OrderingProtocol
from learning.evolution.search import SearchSettings
from node.api.chains import ChainSource, ProofOfWorkChain, TotalOrderChain
from node.common.errors import NodeError
from node.net.parts import PartServer
from node.processes.puzzle import PuzzleSpec
from node.rules.network_rules import Consensus, is_outsider, members_of
from node.rules.settings import PeerSettings
from node.runtime.composition import (
    Role,
    first_requests,
    kept_state,
    learner_spec,
    proof_of_work_machine,
    replica_over,
    total_order_machine,
)
from node.runtime.logs import configure_logging
from node.runtime.parts import PeerParts
from node.runtime.peer import Peer
from node.runtime.supervisor_pipe import obey
from node.storage.folder import NodeFolder
from node.storage.store import Store
from node.storage.tables import PAYLOAD_TABLE
from node.storage.task_trust import check_trust

log = logging.getLogger(__name__)

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
        if is_outsider(rules, peer_id):
            log.warning("this key is none of the network's members: the peer follows and checks, and decides nothing")
        gc.freeze()  # what was imported stays: going through it again and again took a fifth of the loop's time
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
    rules, store = folder.rules, folder.store
    role = role_of(settings, folder)
    ordering: _Ordering
    match rules.consensus:
        case Consensus.PROOF_OF_WORK:
            ordering = _proof_of_work(settings, role, folder)
        case Consensus.TOTAL_ORDER:
            machine = total_order_machine(rules, role, store, guard_round=store.signed_round)
            ordering = _Ordering(machine, TotalOrderChain(machine))
        case _:
            assert_never(rules.consensus)
    kept = kept_state(store)
    is_searching = settings.is_searching and not settings.is_observer
    learner = learner_spec(rules, role.identity, kept, is_searching=is_searching, is_leading=not settings.is_observer)
    return PeerParts(
        settings=settings,
        folder=folder,
        identity=folder.identity,
        rules=rules,
        store=store,
        replica=replica_over(ordering.machine, rules, store.keys(PAYLOAD_TABLE)),
        chain=ordering.chain,
        part_server=PartServer(store, frozenset(members_of(rules)), time.monotonic),
        learner=replace(
            learner,
            folder=str(Path.cwd()),
            store=str(store.path.resolve()),
            score_seconds_max=settings.score_seconds_max,
            search=_search(settings),
        ),
        puzzle=ordering.puzzle,
        first_requests=first_requests(rules, kept),
    )


def _search(settings: PeerSettings) -> SearchSettings:
    return SearchSettings() if settings.effort_max is None else SearchSettings(effort_max=settings.effort_max)


@dataclass(frozen=True, slots=True)
class _Ordering:
    """What depends on the kind of consensus."""

    machine: OrderingProtocol
    chain: ChainSource
    puzzle: PuzzleSpec | None = None


def _proof_of_work(settings: PeerSettings, role: Role, folder: NodeFolder) -> _Ordering:
    section = folder.rules.proof_of_work
    machine = proof_of_work_machine(folder.rules, role, folder.store)
    puzzle = PuzzleSpec(section.puzzle_memory_kib, settings.puzzle_share)
    return _Ordering(machine, ProofOfWorkChain(machine, settings.puzzle_share, section.finality_depth), puzzle)


def role_of(settings: PeerSettings, folder: NodeFolder) -> Role:
    """What the peer of this folder is in its network."""
    identity = folder.identity
    return Role(identity.peer_id, identity.sign, _tie_seed(folder.store), settings.is_observer)


def _tie_seed(store: Store) -> bytes:
    """What draws the lots between branches of equal work: chosen once, so that a restart finds the same head."""
    if store.meta(TIE_SEED) is None:
        store.set_meta(TIE_SEED, secrets.token_hex(32))
    seed = store.meta(TIE_SEED)
    assert seed is not None, "just stored"
    return bytes.fromhex(seed)
