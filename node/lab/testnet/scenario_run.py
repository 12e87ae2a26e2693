"""`testnet --scenario FILE`: from the file to the exit code."""

import asyncio
import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from consensus.types import PeerId
from node.lab.scenarios.events import Partition
from node.lab.scenarios.scenario import Scenario
from node.lab.scenarios.scenario_rules import scenario_rules
from node.lab.store_audit.autopsy import Autopsy
from node.lab.testnet.auditing_executor import AuditingExecutor, now
from node.lab.testnet.chaos import Chaos
from node.lab.testnet.commands import Divider
from node.lab.testnet.folder import testnet_folder
from node.lab.testnet.namespaces import NamespaceError, Namespaces, remove_leftovers
from node.lab.testnet.objective import ObjectiveContext
from node.lab.testnet.peer import TestnetPeer
from node.lab.testnet.settings import TestnetSettings
from node.lab.testnet.setup import make_peers
from node.lab.testnet.supervisor import Network, RefusalDivider, Supervisor


class PartitionBy(StrEnum):
    """How peers are kept apart."""

    AUTO = "auto"
    NAMESPACES = "namespaces"
    REFUSAL = "refusal"


@dataclass(frozen=True, slots=True)
class Separation:
    """What keeps peers apart, and what is told of it."""

    divider: Divider
    told: tuple[str, ...]


def run_scenario(settings: TestnetSettings, scenario: Scenario, task: str | None, partition_by: PartitionBy) -> int:
    """Play it to its end; the exit code: 0 passed, 1 no progress, 3 diverged, 130 interrupted. Raises NodeError."""
    with testnet_folder(settings) as root:
        rules, peers = make_peers(settings, root, lambda keys: scenario_rules(scenario, task, keys, settings.puzzle_share))
        _cast(scenario, peers)
        with _separation(scenario, peers, partition_by) as separation:
            network = Network(rules, peers, root)
            supervisor = Supervisor(
                settings, network, separation.divider, lambda place: _chaos(scenario, network, place, separation.told)
            )
            return asyncio.run(supervisor.run())


def _cast(scenario: Scenario, peers: Sequence[TestnetPeer]) -> None:
    """Who misbehaves from the start on, each in its own way; they know each other."""
    faulty = tuple(peers[number].peer_id for number in sorted(scenario.fault_of))
    for number, fault in scenario.fault_of.items():
        peers[number].fault, peers[number].colluders = fault, faulty


def _chaos(scenario: Scenario, network: Network, place: ObjectiveContext, told: tuple[str, ...]) -> Chaos:
    folders = [(_id(peer), peer.settings.data_dir) for peer in network.peers]
    faulty = frozenset(_id(network.peers[number]) for number in scenario.fault_of)
    autopsy = Autopsy(network.rules, folders, faulty, now(), is_followed=True)
    auditor = AuditingExecutor(place.executor, network.peers, autopsy)
    return Chaos(scenario, place, auditor, told)


def _id(peer: TestnetPeer) -> PeerId:
    return PeerId(bytes.fromhex(peer.peer_id))


@contextlib.contextmanager
def _separation(scenario: Scenario, peers: Sequence[TestnetPeer], by: PartitionBy) -> Iterator[Separation]:
    """Namespaces where they are wanted and can be had: they are gone when the block is left. Raises NamespaceError."""
    has_partition = any(isinstance(timed.event, Partition) for timed in scenario.events)
    if by is PartitionBy.REFUSAL or (by is PartitionBy.AUTO and not has_partition):
        told = ("partitions are by the peers' own refusal",) if has_partition else ()
        yield Separation(RefusalDivider(peers), told)
        return
    with contextlib.ExitStack() as stack:
        separation = _by_namespaces(peers, stack, is_required=by is PartitionBy.NAMESPACES)
        yield separation


def _by_namespaces(peers: Sequence[TestnetPeer], stack: contextlib.ExitStack, *, is_required: bool) -> Separation:
    """By refusal instead, where there can be none and none are required. Raises NamespaceError."""
    try:
        swept = remove_leftovers()
        namespaces = stack.enter_context(Namespaces(len(peers)))
    except NamespaceError as error:
        if is_required:
            raise
        return Separation(RefusalDivider(peers), (f"partitions are by the peers' own refusal: {error.message}",))
    move_in(peers, namespaces)
    pids = ", ".join(map(str, swept))
    told = (f"removed the network namespaces of testnets that were killed (pid {pids})",) if swept else ()
    return Separation(namespaces, (*told, "partitions are by network namespaces: packets vanish"))


def move_in(peers: Sequence[TestnetPeer], namespaces: Namespaces) -> None:
    """Each peer listens at an address of its own, and dials the first."""
    for number, peer in enumerate(peers):
        host, port = namespaces.address(number)
        dialled = () if number == 0 else (namespaces.address(0),)
        peer.settings = replace(peer.settings, listen_host=host, listen_port=port, peers=dialled)
        peer.namespace = namespaces.path(number)
