"""What the events of a scenario do to a network."""

from collections.abc import Callable
from typing import assert_never

from consensus.types import PeerId
from node.lab.scenarios.scenario import Event, EventKind
from node.lab.simulation.network import SimulatedNetwork
from node.lab.simulation.sockets.network import SocketNetwork

Network = SimulatedNetwork | SocketNetwork

Turn = Callable[[PeerId, str], None]
"""Starts a peer again with this fault, or without one, and tells the checkers."""


def apply(event: Event, network: Network, turn: Turn) -> None:
    """Let it befall the network now."""
    everybody = list(network.peers)
    peers = [everybody[number] for number in event.peers]
    match event.kind:
        case EventKind.PARTITION:
            network.split(*([everybody[number] for number in group] for group in event.groups))
        case EventKind.CUT:
            network.cut([everybody[number] for number in event.senders], [everybody[number] for number in event.receivers])
        case EventKind.HEAL:
            network.heal()
        case EventKind.RESET:
            _reset(peers, network)
        case EventKind.MISBEHAVE:
            for peer in peers:
                turn(peer, event.fault or "")
        case _:
            for peer in peers:
                _apply_to(event, peer, network)


def _reset(peers: list[PeerId], network: Network) -> None:
    """Every connection of these peers."""
    for peer in peers:
        for other in network.peers:
            network.reset(peer, other)


def _apply_to(event: Event, peer: PeerId, network: Network) -> None:
    match event.kind:
        case EventKind.CRASH:
            network.crash(peer)
        case EventKind.RESTART | EventKind.JOIN:
            network.restart(peer)
        case EventKind.KILL_AT | EventKind.PAUSE | EventKind.RESUME:
            assert isinstance(network, SimulatedNetwork), "over sockets a scenario with such an event is refused"
            _apply_over_wires(event, peer, network)
        case EventKind.WIPE:
            network.wipe(peer)
        case EventKind.BACK_UP:
            network.back_up(peer)
        case EventKind.RESTORE_OLD_DISK:
            network.restore_backup(peer)
        case EventKind.DISK_FULL:
            network.fill_disk(peer)
        case EventKind.DISK_LIES:
            network.lie_about_syncing(peer, event.unsynced_ms)
        case EventKind.SLOW:
            network.slow_down(peer, float(event.factor))
        case EventKind.CLOCK:
            network.set_clock(peer, event.offset_ms, event.drift_ppm)
        case EventKind.PARTITION | EventKind.CUT | EventKind.HEAL | EventKind.RESET | EventKind.MISBEHAVE:
            raise AssertionError("is not the network's doing to one peer")
        case _:
            assert_never(event.kind)


def _apply_over_wires(event: Event, peer: PeerId, network: SimulatedNetwork) -> None:
    match event.kind:
        case EventKind.KILL_AT:
            network.kill_at(peer, event.effect)
        case EventKind.PAUSE:
            network.pause(peer)
        case _:
            network.resume(peer)
