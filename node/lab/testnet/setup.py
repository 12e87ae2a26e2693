"""The peers of a testnet before any of them runs: keys, rules, folders and ports."""

import contextlib
import secrets
import socket
from collections.abc import Callable
from functools import partial
from pathlib import Path

from consensus.total_order.committee import faulty_max
from learning.tasks.shards import ShardKind
from node.common.address import Address
from node.common.files import NETWORK_FILE_NAME
from node.common.wording import counted
from node.lab.testnet.peer import TestnetPeer
from node.lab.testnet.settings import TestnetSettings
from node.processes.task_facts import task_section
from node.rules.network_file import new_rules, read_network_file, write_network_file
from node.rules.network_rules import Consensus, NetworkRules
from node.rules.settings import PeerSettings
from node.storage.folder import NodeFolder, link_weights

HOST = "127.0.0.1"


def make_peers(
    settings: TestnetSettings, root: Path, make_rules: Callable[[tuple[str, ...]], NetworkRules] | None = None
) -> tuple[NetworkRules, list[TestnetPeer]]:
    """A folder for each; the first is the one that the others dial. Raises NodeError.

    `make_rules`: from the keys of all peers, in hex; without it the rules follow from the settings.
    """
    names = [f"peer-{number}" for number in range(settings.nodes)]
    keys = tuple(NodeFolder.create_key(root / name).peer_id.hex() for name in names)
    rules = _rules(settings, keys) if make_rules is None else make_rules(keys)
    write_network_file(root / NETWORK_FILE_NAME, rules)
    ports = _free_ports(settings.nodes)
    faulty = keys[settings.nodes - settings.faulty :]
    peers: list[TestnetPeer] = []
    for name, key, port in zip(names, keys, ports, strict=True):
        NodeFolder.create(root / name, rules)
        link_weights(root / name, settings.start_weights)
        peer_settings = PeerSettings(
            data_dir=root / name,
            network_file=None,
            listen_host=HOST,
            listen_port=port,
            peers=() if port == ports[0] else (Address(HOST, ports[0]),),
            is_observer=False,
            is_searching=True,
            puzzle_share=settings.puzzle_share,
            score_seconds_max=settings.score_seconds_max,
            log_level="info",
            trusted_task=settings.task if settings.network_file is not None else rules.task.name,
        )
        peer_faults = (settings.fault, faulty) if key in faulty else ("", ())
        peers.append(TestnetPeer(name, peer_settings, key, fault=peer_faults[0], colluders=peer_faults[1]))
    return rules, peers


def warning_of(peers: int, faulty: int) -> str | None:
    """What is said loudly where more peers misbehave than a network withstands; None where it does."""
    tolerated = faulty_max(peers)
    if faulty <= tolerated:
        return None
    return f"WARNING: {counted(peers, 'peer')} can have {tolerated} faulty among them, not {faulty}: anything may happen"


def _rules(settings: TestnetSettings, members: tuple[str, ...]) -> NetworkRules:
    if settings.network_file is not None:
        return read_network_file(settings.network_file)
    members = members if settings.consensus == Consensus.TOTAL_ORDER else ()
    has_shards = settings.shards != ShardKind.WHOLE
    section = task_section(
        settings.task,
        settings.model,
        settings.start_weights and settings.start_weights.parent,
        needs_gradient=settings.gradient is not None,
        needs_samples=has_shards,
    )
    make = partial(new_rules, "testnet", secrets.token_bytes(32), section, settings.strategy, members=members)
    return make(gradient=settings.gradient, shards=settings.shards, model=settings.model)


def _free_ports(count: int) -> list[int]:
    """Ports that nobody uses now; all are held until the last is found, so that they differ."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for held in sockets:
            held.bind((HOST, 0))
        return [held.getsockname()[1] for held in sockets]
