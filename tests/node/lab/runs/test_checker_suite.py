"""The checker suite: who is listened to, what an excerpt shows, what an outcome says, and what may be held."""

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from consensus.effects import Accusation, Accuse, Offence, Record, Refuse
from consensus.total_order.block import Block, Reference
from consensus.total_order.records import record_of_block
from consensus.types import Instant, PeerId
from learning.learner import DeliverRequest
from node.lab.checkers.bounds import Scale, declared_bounds, excess, sizes_of, stored_excess
from node.lab.checkers.finding import LINES_MAX, Diverged, NoProgress, Pass
from node.lab.checkers.progress import ExpectedPace
from node.lab.checkers.suite import CheckerSuite, Facts
from node.lab.simulation.network import SimulatedNetwork
from node.runtime.coupling import AskLearner
from node.storage.tables import STATE_TABLE
from tests.learning.gradient.quadratic import rules
from tests.node.lab.runs.streams import (
    ALICE,
    BOB,
    CAROL,
    DAVE,
    HONEST,
    KEYS,
    MEMBERS,
    NETWORK,
    dag_block,
    delivery,
    head,
    payload,
)
from tests.node.lab.simulation.world import simulated_leaders, simulated_members, simulated_network, simulated_workers

START = Instant(1_000)
PACE = ExpectedPace(heights_min=1, behind_max=0)
OTHER = DeliverRequest(delivery(1, payload(DAVE, "other")))


@dataclass(frozen=True, slots=True)
class Peer:
    """Who does something."""

    id: PeerId
    incarnation: int = 0


def checkers() -> CheckerSuite:
    return CheckerSuite(Facts(NETWORK, HONEST, len(MEMBERS), START, MEMBERS, gc_depth=10))


def deliver(suite: CheckerSuite, peer: Peer, request: DeliverRequest, at_ms: int) -> None:
    now = Instant(START + at_ms)
    suite.watch(peer, Record("commit", request.step.height.to_bytes(8, "big"), b""), now)
    suite.watch(peer, AskLearner(request), now)


def test_a_divergence_is_told_with_its_witnesses_and_what_came_before_in_few_lines() -> None:
    suite = checkers()
    for height in range(1, 40):
        deliver(suite, Peer(ALICE), DeliverRequest(delivery(height)), height)
    deliver(suite, Peer(BOB, incarnation=1), OTHER, 99)
    outcome = suite.run_outcome((ALICE, BOB), PACE, Instant(START + 100))
    assert isinstance(outcome, Diverged)
    assert outcome.finding.detail == "two deliveries at height 1"
    lines = outcome.excerpt.lines
    assert len(lines) == LINES_MAX
    assert [line.split("ms")[0] for line in lines if line.startswith("*")] == ["*         1 ", "*        99 "]
    assert f"{BOB.hex()[:8]}/1  DeliverRequest(step=DeliveredStep(" in lines[-1]


def test_who_is_faulty_is_not_listened_to() -> None:
    suite = checkers()
    deliver(suite, Peer(ALICE), DeliverRequest(delivery(1)), 1)
    deliver(suite, Peer(DAVE), OTHER, 2)
    assert suite.finding is None


def test_who_turns_is_not_listened_to_from_then_on_and_what_came_before_still_counts() -> None:
    suite = checkers()
    deliver(suite, Peer(BOB), DeliverRequest(delivery(1)), 1)
    suite.turns(BOB)
    deliver(suite, Peer(BOB), DeliverRequest(delivery(2, payload(DAVE, "other"))), 2)
    deliver(suite, Peer(CAROL), DeliverRequest(delivery(1)), 3)
    deliver(suite, Peer(CAROL), DeliverRequest(delivery(2)), 4)
    assert suite.finding is None
    deliver(suite, Peer(ALICE), OTHER, 5)
    assert suite.finding is not None
    assert [earlier.peer for earlier in suite.finding.contradicting] == [BOB, ALICE]


def test_who_has_turned_may_be_accused_and_who_has_not_may_not() -> None:
    suite = checkers()
    suite.turns(BOB)
    suite.watch(Peer(ALICE), Accuse(Accusation(BOB, Offence.EQUIVOCATION, "two blocks", b"")), START)
    assert suite.finding is None
    suite.watch(Peer(ALICE), Accuse(Accusation(CAROL, Offence.EQUIVOCATION, "two blocks", b"")), START)
    assert suite.finding is not None
    assert suite.finding.detail.startswith(f"honest {CAROL.hex()[:8]} is accused")


def test_who_has_turned_may_sign_two_blocks_for_one_round() -> None:
    suite = checkers()
    first, second = (dag_block(1, 5, text) for text in ("one", "other"))

    def record(found: tuple[Reference, Block]) -> Record:
        reference, block = found
        return record_of_block(reference, Block(block.content, KEYS[1].sign(reference.digest)))

    suite.watch(Peer(ALICE), record(first), START)
    suite.turns(BOB)
    suite.watch(Peer(ALICE), record(second), START)
    assert suite.finding is None


def test_after_the_first_finding_nothing_is_added_to_it() -> None:
    suite = checkers()
    deliver(suite, Peer(ALICE), DeliverRequest(delivery(1)), 1)
    deliver(suite, Peer(BOB), OTHER, 2)
    first = suite.finding
    suite.watch(Peer(ALICE), Refuse(BOB, Offence.FLOODING, "blocks"), START)
    assert first is not None
    assert suite.finding is first


def test_a_standstill_is_no_progress_and_shows_the_last_of_who_stands_still() -> None:
    suite = checkers()
    deliver(suite, Peer(BOB), DeliverRequest(delivery(1)), 1)
    suite.progress.calm(START)
    suite.watch(Peer(ALICE), head("a1", 1), START)
    outcome = suite.run_outcome((ALICE, BOB), PACE, Instant(START + 5_000))
    assert isinstance(outcome, NoProgress)
    assert outcome.detail.startswith(f"{BOB.hex()[:8]} (height 0) gained 0 heights")
    assert "DeliverRequest" in outcome.excerpt.lines[-1]


def test_whoever_moves_on_passes_and_rare_paths_are_counted() -> None:
    suite = checkers()
    suite.progress.calm(START)
    suite.watch(Peer(ALICE), head("a1", 1), START)
    suite.watch(Peer(ALICE), Refuse(DAVE, Offence.FLOODING, "blocks"), START)
    assert suite.run_outcome((ALICE,), PACE, START) == Pass({"a faulty peer was refused": 1})


# --- bounds -----------------------------------------------------------------------------------------------------------

MODES: dict[str, Callable[[], SimulatedNetwork]] = {
    "members": lambda: simulated_members(4, 1),
    "workers": lambda: simulated_workers(4, 1, rules(staleness_max=30)),
    "miners": lambda: simulated_network(4, 1),
    "leaders": lambda: simulated_leaders(4, 1, rules(staleness_max=30)),
}


def scale_of(mode: str, network: SimulatedNetwork) -> Scale:
    gc_depth = 10 if mode in {"members", "workers"} else 0
    return Scale(len(network.peers), gc_depth, max(peer.head.height for peer in network.peers.values() if peer.head))


@pytest.mark.parametrize("mode", MODES)
def test_every_container_of_a_replica_has_a_declared_bound_and_keeps_to_it(mode: str) -> None:
    network = MODES[mode]()
    network.run_for(4_000)
    victim = list(network.peers)[1]
    network.crash(victim)
    network.run_for(1_500)
    network.restart(victim)
    network.run_for(1_500)
    for peer in network.peers.values():
        assert sizes_of(peer.replica), "nothing was counted"
        assert excess(peer.replica, scale_of(mode, network)) is None
        assert stored_excess(peer.records, len(network.peers)) is None


def test_a_pool_that_grows_without_bound_is_found() -> None:
    network = MODES["miners"]()
    network.run_for(1_000)
    peer = next(iter(network.peers.values()))
    scale = scale_of("miners", network)
    limit = declared_bounds(scale)["Mempool._pooled"]
    pooled = peer.replica.ordering._relay.pool._pooled  # as a mistake would fill it
    pooled.update({number.to_bytes(32, "big"): None for number in range(limit + 1)})
    assert excess(peer.replica, scale) == f"Mempool._pooled holds {len(pooled)}, declared: {limit} at most"


def test_a_container_without_a_declared_bound_is_found() -> None:
    network = MODES["members"]()
    network.run_for(1_000)
    peer = next(iter(network.peers.values()))
    peer.replica.ordering.notes = [1, 2, 3]
    assert excess(peer.replica, scale_of("members", network)) == "TotalOrder.notes holds 3; no bound is declared for it"


def test_a_table_that_keeps_every_checkpoint_is_found() -> None:
    rows = {(STATE_TABLE, b"checkpoint-%d" % number): b"" for number in range(9)}
    assert stored_excess(rows, 4) == "table state holds 9 rows, declared: 5 at most"
