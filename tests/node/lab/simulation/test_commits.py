"""How long a total order takes, from what members hand in and deliver."""

from consensus.effects import Broadcast
from consensus.types import Instant, PeerId
from learning.learner import AuthoredPayload, ContributionFound, DeliveredStep, DeliverRequest
from node.lab.simulation.commits import CommitLatency
from node.runtime.coupling import AskLearner

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
