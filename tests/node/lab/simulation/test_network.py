"""Peers over virtual time: they agree, they get better, and neither a split nor a crash changes that."""

import os
import subprocess
import sys

from node.lab.simulation.network import SimulatedNetwork
from tests.node.lab.simulation.world import WORK, simulated_network


def final_chains(network: SimulatedNetwork) -> list[dict[int, bytes]]:
    """Each peer's steps at and below its final height, by height."""
    chains = []
    for peer in network.peers.values():
        status = peer.replica.ordering.status
        chains.append({step.height: step.state_digest for step in status.steps if step.height <= status.final_height})
    return chains


def assert_no_final_disagreement(network: SimulatedNetwork) -> None:
    seen: dict[int, bytes] = {}
    for chain in final_chains(network):
        for height, digest in chain.items():
            assert seen.setdefault(height, digest) == digest, f"two final states at height {height}"


def heads(network: SimulatedNetwork) -> list[int]:
    return [peer.head.height for peer in network.peers.values() if peer.head is not None]


def test_five_peers_agree_and_come_closer_to_the_goal() -> None:
    network = simulated_network(peers=5, seed=1)
    network.run_for(5_000)
    early = next(iter(network.peers.values())).head
    network.run_for(60_000)
    late = next(iter(network.peers.values())).head
    assert early is not None
    assert late is not None
    assert late.height >= 40
    assert late.fitness > early.fitness
    assert max(heads(network)) - min(heads(network)) <= 2
    assert min(len(chain) for chain in final_chains(network)) >= 20
    assert_no_final_disagreement(network)


def test_nobody_honest_is_refused_or_accused() -> None:
    network = simulated_network(peers=4, seed=2)
    network.run_for(40_000)
    assert [(peer.refused, peer.accusations, peer.halted) for peer in network.peers.values()] == [(set(), [], None)] * 4


def test_a_split_shorter_than_finality_heals() -> None:
    network = simulated_network(peers=6, seed=3)
    network.run_for(20_000)
    everybody = list(network.peers)
    network.split(everybody[:3], everybody[3:])
    network.run_for(WORK.block_interval_ms * WORK.finality_depth // 2)
    network.heal()
    network.run_for(40_000)
    assert [peer.halted for peer in network.peers.values()] == [None] * 6
    assert max(heads(network)) - min(heads(network)) <= 2
    assert_no_final_disagreement(network)


def test_a_crashed_peer_comes_back_with_its_head_and_catches_up() -> None:
    network = simulated_network(peers=4, seed=4)
    network.run_for(30_000)
    victim = list(network.peers)[1]
    head_before = network.peers[victim].head
    network.crash(victim)
    network.run_for(20_000)
    network.restart(victim)
    network.run_for(50)
    assert network.peers[victim].head is not None
    assert head_before is not None
    assert network.peers[victim].head.height >= head_before.height
    network.run_for(20_000)
    assert max(heads(network)) - min(heads(network)) <= 2
    assert_no_final_disagreement(network)


def test_one_seed_gives_one_trace_whatever_the_hash_seed() -> None:
    code = (
        "from tests.node.lab.simulation.world import simulated_network;"
        "network = simulated_network(peers=4, seed=7); network.run_for(15_000); print(network.trace_digest)"
    )
    traces = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for hash_seed in ("1", "2")
    }
    assert len(traces) == 1
