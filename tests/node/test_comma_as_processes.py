"""The published (1,λ)-search with four real peers: the best of all children is the next model, worse than its parent or not."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from learning.evolution.rules import UNLIMITED, Strategy
from node.rules.network_rules import Consensus
from tests.node.forked_peers import ForkedPeer
from tests.node.lab.testnet.example_testnet import made
from tests.node.real_peers import Watched

pytestmark = [pytest.mark.processes, pytest.mark.timeout(280)]

BURIED = 6
"""So many blocks below the head nothing is undone among four peers that have met."""

STEP = tuple[str, float | None]
"""State digest, and fitness where the peer has measured it."""


@contextlib.contextmanager
def four_peers(folder: Path, consensus: Consensus) -> Iterator[list[ForkedPeer]]:
    """In Rosenbrock's valley: once down at its floor, most children climb its walls."""
    rules, made_peers = made(folder, nodes=4, consensus=consensus, task="rosenbrock", strategy=Strategy.COMMA)
    assert rules.evolution.regression_allowed == UNLIMITED
    peers = [ForkedPeer(peer.settings.data_dir, peer) for peer in made_peers]
    try:
        for peer in peers:
            peer.start()
        yield peers
    finally:
        for peer in peers:
            peer.kill()


class History:
    """What a peer has told of its chain so far, by height; of a height told twice, what it told last."""

    def __init__(self, peer: Watched) -> None:
        self._peer = peer
        self.steps: dict[int, STEP] = {}

    def is_told_with_a_regression(self, status: dict) -> bool:
        """Whether a child that is buried by now is worse than its parent; the status tells of the newest steps alone."""
        self.steps |= {step["height"]: (step["state_digest"], step["fitness"]) for step in status["steps"]}
        measured = {height: fitness for height, (_, fitness) in self.steps.items() if fitness is not None}
        last = status["height"] - BURIED
        return any(measured.get(height + 1, parent) < parent for height, parent in measured.items() if height < last)

    def catch_up(self, height: int) -> None:
        """Until the peer has told what is buried below this height."""
        self._peer.wait_until(lambda status: self.is_told_with_a_regression(status) and status["height"] >= height + BURIED)


@pytest.mark.parametrize("consensus", list(Consensus))
def test_a_child_worse_than_its_parent_is_adopted_by_all(consensus: Consensus, tmp_path: Path) -> None:
    """A batch is the function itself, so fitness of one step and of the next are measured alike."""
    with four_peers(tmp_path / "net", consensus) as peers:
        histories = [History(peer) for peer in peers]
        first = peers[0].wait_until(histories[0].is_told_with_a_regression, seconds=200)
        for history in histories[1:]:
            history.catch_up(first["height"])
        told = [history.steps for history in histories]
        shared = [height for height in told[0] if height <= first["height"] - BURIED and all(height in one for one in told)]
        assert len(shared) >= 3
        for height in shared:
            assert len({one[height][0] for one in told}) == 1, f"two models of height {height}"
        if consensus is Consensus.PROOF_OF_WORK:
            leaders = {step["leader"] for step in first["steps"] if step["leader"]}
            assert leaders <= {peer.peer.peer_id for peer in peers}
            assert len(leaders) >= 2
        else:
            assert first["order"]["equivocators"] == []
