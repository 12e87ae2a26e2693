"""Runs one peer that was told to misbehave: the parts of an honest one, wrapped from outside."""

import asyncio
import random
import socket
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from multiprocessing.connection import Connection

from node.common.errors import NodeError
from node.lab.faults.catalogue import (
    Family,
    FaultSpec,
    NetworkSituation,
    ReplicaSituation,
    attacks_of,
    fault_named,
    faulty_replica,
    parse_faults,
)
from node.lab.faults.consensus.withheld_parts import WithheldParts, Withholding
from node.lab.faults.fault import PeerFaults
from node.lab.faults.faulty_learner import MakeFaultyLearner
from node.lab.faults.network.situation import Attack
from node.net.transport import PeerNetwork
from node.rules.conversion import proof_of_work_rules
from node.rules.network_rules import NetworkRules, network_id, rule_fields
from node.rules.retention import PAYLOAD_COMMITS
from node.rules.settings import PeerSettings
from node.runtime.assembly import parts_of, role_of, run_peer
from node.runtime.composition import NoRows, replica_over, total_order_machine
from node.runtime.coupling import ReplicaPort
from node.runtime.parts import PeerParts
from node.storage.folder import NodeFolder


def run_faulty_peer(
    settings: PeerSettings,
    peer_faults: PeerFaults,
    lifeline: Connection | None = None,
    api_listener: socket.socket | None = None,
) -> int:
    """As `node.runtime.assembly.run_peer`. Raises NodeError."""
    return run_peer(settings, lifeline, api_listener, compose=partial(faulty_parts, peer_faults))


def faulty_parts(peer_faults: PeerFaults, settings: PeerSettings, folder: NodeFolder) -> PeerParts:
    """What such a peer is made of. Raises NodeError."""
    parts, specs = parts_of(settings, folder), parse_faults(peer_faults.fault)
    colluders = tuple(bytes.fromhex(peer) for peer in peer_faults.colluders)
    withholding = Withholding()
    return replace(
        parts,
        replica=_faulty_replica(parts, specs, peer_faults.fault, withholding),
        part_server=WithheldParts(parts.part_server, withholding.serving_of, _after),
        learner=replace(parts.learner, make=MakeFaultyLearner(peer_faults.fault, colluders)),
        companions=partial(_attacks, specs, parts.rules),
        misconduct=peer_faults.fault,
    )


def _after(seconds: float, action: Callable[[], None]) -> None:
    asyncio.get_running_loop().call_later(seconds, action)


def _faulty_replica(parts: PeerParts, specs: Iterable[FaultSpec], fault: str, withholding: Withholding) -> ReplicaPort:
    """Of consensus faults too where the peer is a member. A twin starts from no records and no guard. Raises NodeError."""
    rules, identity = parts.rules, parts.identity
    members, role = parts.members, role_of(parts.settings, parts.folder)
    is_outsider = members and identity.peer_id not in members
    if is_outsider and any(fault_named(spec.name).family is Family.CONSENSUS for spec in specs):
        raise NodeError(f"the fault {fault!r} is one of members, and this peer's key is none of them", "choose another --fault")
    situation = ReplicaSituation(
        identity=identity.peer_id,
        network_id=network_id(rules),
        sign=identity.sign,
        members=members,
        future_limit_ms=rules.proof_of_work.future_limit_ms,
        make_twin=lambda: replica_over(total_order_machine(rules, role, NoRows()), rules, (), PAYLOAD_COMMITS),
        withholding=withholding,
        evolution=rules.evolution,
        work_rules=None if members else proof_of_work_rules(rules),
        gc_depth=rules.total_order.gc_depth,
    )
    return faulty_replica(specs, parts.replica, situation)


def _attacks(specs: Iterable[FaultSpec], rules: NetworkRules, network: PeerNetwork) -> tuple[Attack, ...]:
    """What such a peer does below all messages."""
    situation = NetworkSituation(
        network_id=network_id(rules),
        rules=rule_fields(rules),
        targets=network.known_addresses,
        random=random.Random(),
        work_rules=None if rules.total_order.members else proof_of_work_rules(rules),
    )
    return attacks_of(specs, situation)
