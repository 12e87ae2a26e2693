"""Blocks by the time at which they reach peers, and by whether they were found in vain.

How long a total order takes, from what members hand in and deliver.
"""

from consensus.effects import Broadcast
from consensus.types import Instant, PeerId
from learning.learner import AuthoredPayload, CheckRequest, ContributionFound, DeliveredStep, DeliverRequest, ProposedStep
from node.lab.simulation.propagation import CommitLatency, Propagation, Spread
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


ALICE, BOB = PeerId(b"a" * 32), PeerId(b"b" * 32)


def delivered(*items: tuple[PeerId, bytes]) -> AskLearner:
    payloads = tuple(AuthoredPayload(b"digest", author, b"base", payload, ()) for author, payload in items)
    return AskLearner(DeliverRequest(DeliveredStep(b"step", b"parent", 1, payloads)))


def test_latency_counts_from_the_author_to_each_member_and_knows_authors_apart() -> None:
    commits = CommitLatency()
    for at, peer, happening in (
        (0, ALICE, ContributionFound(b"base", b"same")),
        (100, BOB, ContributionFound(b"base", b"same")),
        (150, ALICE, Broadcast(b"a block")),
        (300, ALICE, delivered((ALICE, b"same"), (BOB, b"same"), (BOB, b"of an earlier incarnation"))),
        (350, BOB, delivered((ALICE, b"same"))),
    ):
        commits.see(peer, happening, Instant(at))
    assert commits.latencies_ms == [300, 200, 350]
    assert (commits.rounds, commits.generations) == ({ALICE: 1}, {})
