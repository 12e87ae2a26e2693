"""Blocks by the time at which they reach peers, and by whether they were found in vain."""

from consensus.types import Instant
from learning.learner import CheckRequest, ProposedStep
from node.lab.simulation.propagation import Propagation, Spread
from node.runtime.coupling import AskLearner


def check(name: bytes, parent: bytes, height: int) -> AskLearner:
    return AskLearner(CheckRequest(ProposedStep(name, parent, height, b"leader", (), b"", b"")))


def test_delays_count_from_the_first_peer_and_a_fork_s_other_branch_is_stale() -> None:
    watched = Propagation()
    for at, name, parent, height in (
        (0, b"a", b"genesis", 1),
        (100, b"a", b"genesis", 1),
        (300, b"a", b"genesis", 1),
        (1_000, b"b", b"a", 2),
        (1_010, b"rival", b"a", 2),
        (1_200, b"b", b"a", 2),
        (2_000, b"c", b"b", 3),
    ):
        watched.see(check(name, parent, height), Instant(at))
    assert watched.spread() == Spread(blocks=4, median_ms=200, slowest_twentieth_ms=380, stale_share=0.25)


def test_without_a_block_that_two_peers_have_had_there_is_nothing_to_tell() -> None:
    watched = Propagation()
    watched.see(check(b"a", b"genesis", 1), Instant(0))
    assert watched.spread() is None
