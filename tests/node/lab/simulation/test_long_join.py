"""A newcomer always arrives: it joins a chain of 5,000 blocks while blocks go on coming at the default interval."""

import pytest
from msgspec import structs

from consensus.effects import Halt, Refuse, Send
from consensus.proof_of_work.messages import MESSAGE_CODEC, Busy
from consensus.types import Instant
from node.lab.simulation.disk import Records
from node.lab.simulation.peer import SimulatedPeer
from node.lab.simulation.processes import Puzzles
from node.lab.simulation.trace import Happening
from tests.node.lab.simulation.world import WORK, simulated_late

LENGTH = 5_000
RULES = structs.replace(WORK, block_interval_ms=500, finality_depth=100)
SEED = 1

FORBIDDEN = (Refuse, Halt)

LongChain = tuple[Records, Puzzles, int]


def height_of(peer: SimulatedPeer) -> int:
    return 0 if peer.head is None else peer.head.height


@pytest.fixture(scope="module")
def long_chain() -> LongChain:
    """What one peer has recorded that was alone for 5,000 blocks, the puzzles that it solved, and when it was done."""
    network, (first,) = simulated_late(1, SEED, RULES, 1)
    while height_of(network.peers[first]) < LENGTH:
        network.run_for(10_000)
    return dict(network.peers[first].disk.rows), network.puzzles, network.now


@pytest.mark.parametrize("servers", [2, 8])
def test_a_newcomer_joins_a_long_chain_while_blocks_go_on_coming(
    servers: int, long_chain: tuple[Records, Puzzles, int]
) -> None:
    rows, puzzles, since = long_chain
    network, ids = simulated_late(servers + 1, SEED, RULES, 0)
    network.puzzles.adopt(puzzles)
    seen: list[Happening] = []

    def watch(_peer: SimulatedPeer, happening: Happening, _now: Instant) -> None:
        is_busy = isinstance(happening, Send) and happening.message[:2] == b"\x92\x07"
        if isinstance(happening, FORBIDDEN) or is_busy:
            seen.append(happening)

    network.watch = watch
    network.run_for(since - network.now)
    for peer in ids[:servers]:
        network.peers[peer].disk.replace(rows)
        network.restart(peer)
    network.run_for(5_000)
    network.restart(ids[servers])
    newcomer = network.peers[ids[servers]]
    before = height_of(network.peers[ids[0]])
    for _ in range(60):
        network.run_for(2_000)
        if height_of(newcomer) >= height_of(network.peers[ids[0]]) - 3:
            break
    assert height_of(newcomer) >= before + 40  # blocks went on coming
    assert height_of(newcomer) >= height_of(network.peers[ids[0]]) - 3
    assert newcomer.replica.ordering.status.final_height >= height_of(newcomer) - RULES.finality_depth - 3
    assert seen == []


def test_a_busy_answer_looks_like_that() -> None:
    assert isinstance(MESSAGE_CODEC.decode(b"\x92\x07\xc3"), Busy)
