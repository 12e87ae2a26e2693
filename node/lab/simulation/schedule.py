"""What the events of a scenario do to a simulated network."""

from collections.abc import Callable, Iterable
from typing import assert_never

from consensus.types import PeerId
from node.lab.scenarios import events
from node.lab.simulation.network import SimulatedNetwork
from node.lab.simulation.sockets.network import SocketNetwork

Network = SimulatedNetwork | SocketNetwork

Turn = Callable[[PeerId, str], None]
"""Starts a peer again with this fault, or without one, and tells the checkers."""


def apply(event: events.Event, network: Network, turn: Turn) -> None:
    """Let it befall the network now."""
    everybody = tuple(network.peers)

    def named(numbers: Iterable[int]) -> list[PeerId]:
        return [everybody[number] for number in numbers]

    match event:
        case events.Partition(groups):
            network.split(*map(named, groups))
        case events.Cut(senders, receivers):
            network.cut(named(senders), named(receivers))
        case events.Heal():
            network.heal()
        case _:
            for peer in named(event.peers):
                _apply_to(event, peer, network, turn)


def _apply_to(event: events.PeersEvent, peer: PeerId, network: Network, turn: Turn) -> None:
    match event:
        case events.Crash():
            network.crash(peer)
        case events.Restart() | events.Join():
            network.restart(peer)
        case events.KillAt(_, effect):
            _over_wires(network).kill_at(peer, effect)
        case events.Pause():
            _over_wires(network).pause(peer)
        case events.Resume():
            _over_wires(network).resume(peer)
        case events.Reset():
            for other in network.peers:
                network.reset(peer, other)
        case events.Wipe():
            network.wipe(peer)
        case events.BackUp():
            network.back_up(peer)
        case events.RestoreOldDisk():
            network.restore_backup(peer)
        case events.DiskFull():
            network.fill_disk(peer)
        case events.DiskLies(_, unsynced_ms):
            network.lie_about_syncing(peer, unsynced_ms)
        case events.Slow(_, factor):
            network.slow_down(peer, float(factor))
        case events.Clock(_, offset_ms, drift_ppm):
            network.set_clock(peer, offset_ms, drift_ppm)
        case events.Misbehave(_, fault):
            turn(peer, fault)
        case _:
            assert_never(event)


def _over_wires(network: Network) -> SimulatedNetwork:
    assert isinstance(network, SimulatedNetwork), "over sockets a scenario with such an event is refused"
    return network
