"""A small testnet for tests: real folders, keys and rules; nothing runs unless a test starts it."""

from dataclasses import replace
from pathlib import Path

from learning.evolution.rules import Strategy
from node.api.status import NodeStatus, StepStatus
from node.common.goal import MetricGoal
from node.lab.testnet.peer import TestnetPeer
from node.lab.testnet.settings import TestnetSettings
from node.lab.testnet.setup import make_peers
from node.rules.network_rules import Consensus, Learning, NetworkRules

SETTINGS = TestnetSettings(
    nodes=4,
    consensus=Consensus.TOTAL_ORDER,
    learning=Learning.EVOLUTION,
    task="digits",
    strategy=Strategy.PLUS,
    gradient=None,
    faulty=0,
    fault="",
    network_file=None,
    goal=MetricGoal("test_accuracy", 0.9),
    is_until_interrupted=False,
    deadline_s=60.0,
    data_dir=None,
    is_kept=False,
    is_json=False,
    puzzle_share=0.3,
)


class AliveProcess:
    """What a peer's process tells while it runs."""

    pid = 1
    exitcode = None

    def is_alive(self) -> bool:
        return True


class EndedProcess:
    """What a peer's process tells when it has ended."""

    pid = 1

    def __init__(self, exitcode: int) -> None:
        self.exitcode = exitcode

    def is_alive(self) -> bool:
        return False


def made(folder: Path, **changes: object) -> tuple[NetworkRules, list[TestnetPeer]]:
    """Rules and peers in this folder."""
    return make_peers(replace(SETTINGS, **changes), folder)


def chain(peer: TestnetPeer, heights: int, accuracy: float = 0.5, branch: str = "", final: int = 0) -> NodeStatus:
    """The status of a peer with a chain of so many steps; another branch has other ids."""
    steps = tuple(
        StepStatus(height, f"{branch}{height}", f"d{branch}{height}", fitness=0.0, metrics={"test_accuracy": accuracy})
        for height in range(heights, -1, -1)
    )
    return NodeStatus("1", "n", peer.peer_id, height=heights, head=f"{branch}{heights}", steps=steps, final_height=final)
