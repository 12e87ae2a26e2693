"""Equal inputs give equal effects: in one process, and under two orders of hashing."""

import os
import subprocess
import sys
from pathlib import Path

from tests.consensus.total_order.network import Disk, Network
from tests.consensus.total_order.puppets import Puppet, split_audience

ROOT = Path(__file__).resolve().parents[3]


def history() -> str:
    """An equivocator, a crash, a wiped disk, a split: the hash of every effect."""
    network = Network(5, seed=9, delays=(1, 60))
    nodes = [network.add_member(index) for index in range(4)]
    Puppet(network, 4, split_audience(nodes[:2], nodes[2:]))
    for number in range(6):
        network.submit(nodes[number % 4], f"payload {number}".encode())
        network.run(150)
    network.crash(nodes[0])
    network.run(400)
    nodes[0] = network.restart(nodes[0])
    network.split(nodes[:2], nodes[2:])
    network.run(500)
    network.heal()
    network.crash(nodes[1])
    network.restart(nodes[1], Disk())
    network.run(1_500)
    assert nodes[2].machine.status.commits > 10
    return network.trace.hexdigest()


def test_the_same_seed_gives_the_same_history() -> None:
    assert history() == history()


def test_the_order_of_hashing_changes_nothing() -> None:
    code = "from tests.consensus.total_order.test_determinism import history; print(history())"
    traces = set()
    for seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        ended = subprocess.run(
            [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
        )
        traces.add(ended.stdout.strip())
    assert len(traces) == 1
