"""Gradients in both orders over virtual time: one history of models, whatever is cut, killed, restarted or left behind."""

from collections.abc import Callable

import numpy as np
import pytest

from consensus.protocol import AttachmentHeld
from consensus.types import Digest
from learning.following.line import LineLearner
from learning.task import Float32Array
from node.lab.faults.evolution.interceptor import InterceptedLearner
from node.lab.faults.gradient.conduct import HonestConduct, Submitted
from node.lab.faults.gradient.lying_learner import Incessant
from node.lab.simulation.links import Links
from node.lab.simulation.network import SimulatedNetwork, SimulatedPeer
from node.runtime.coupling import STEPS_WAITING_MAX, Forget
from node.storage.tables import PAYLOAD_TABLE
from tests.learning.gradient.quadratic import rules
from tests.node.lab.simulation.world import simulated_leaders, simulated_workers

Order = Callable[..., SimulatedNetwork]


class ForeignBytes(HonestConduct):
    """Submits bytes that are no gradient."""

    def submissions(self, own: Float32Array) -> tuple[Submitted, ...]:
        return (own.tobytes(),)


def heights(network: SimulatedNetwork) -> list[int]:
    return [peer.head.height if peer.head is not None else 0 for peer in network.peers.values()]


def distances(network: SimulatedNetwork) -> list[float]:
    return [peer.head.metrics["distance"] for peer in network.peers.values() if peer.head is not None]


def assert_nobody_is_blamed(network: SimulatedNetwork) -> None:
    for peer in network.peers.values():
        assert (peer.halted, peer.refused, peer.accusations) == (None, set(), [])


def assert_one_model(network: SimulatedNetwork) -> None:
    """Peers whose head has one height hold one state."""
    seen: dict[int, bytes] = {}
    for peer in network.peers.values():
        if peer.head is not None:
            assert seen.setdefault(peer.head.height, peer.head.state_digest) == peer.head.state_digest


def settle(network: SimulatedNetwork) -> None:
    """Leaders: let time pass until all heads are one block, as they are between blocks."""
    for _ in range(100):
        if len({peer.head.step for peer in network.peers.values() if peer.head is not None}) == 1:
            return
        network.run_for(100)
    raise AssertionError("no common head within ten seconds")


@pytest.mark.parametrize("members", [1, 4, 7])
def test_members_learn_one_model_from_everybody_s_gradients(members: int) -> None:
    network = simulated_workers(members, seed=1, rules=rules(staleness_max=30))
    network.run_for(20_000)
    assert min(heights(network)) >= 50
    assert max(distances(network)) < 0.1
    assert_one_model(network)
    assert_nobody_is_blamed(network)


def test_a_member_that_was_killed_goes_on_with_the_same_model() -> None:
    network = simulated_workers(4, seed=2, rules=rules(staleness_max=30))
    network.run_for(5_000)
    killed = list(network.peers)[1]
    for _ in range(5):
        network.crash(killed)
        network.run_for(1_500)
        network.restart(killed)
        network.run_for(2_500)
    network.run_for(5_000)
    assert max(heights(network)) - min(heights(network)) <= 8
    assert_one_model(network)
    assert_nobody_is_blamed(network)


def test_a_member_that_was_cut_off_for_long_starts_from_a_checkpoint() -> None:
    network = simulated_workers(4, seed=3, rules=rules(staleness_max=30), snapshot_behind=20)
    network.run_for(2_000)
    cut_off = next(iter(network.peers))
    network.split([cut_off], [peer for peer in network.peers if peer != cut_off])
    network.run_for(60_000)
    network.heal()
    network.run_for(10_000)
    assert max(heights(network)) - min(heights(network)) <= 8
    assert_one_model(network)
    assert_nobody_is_blamed(network)


def test_delivered_payloads_are_forgotten_after_a_while() -> None:
    network = simulated_workers(4, seed=4, rules=rules(staleness_max=30), payload_commits=50)
    network.run_for(60_000)
    assert min(heights(network)) >= 200
    for peer in network.peers.values():
        assert 0 < payloads(peer) <= 4 * 75


def test_what_was_held_before_a_restart_is_forgotten_too() -> None:
    """A restart replays the deliveries after the newest kept state, and hears of nothing older."""
    network = simulated_workers(4, seed=4, rules=rules(staleness_max=30), payload_commits=150)
    first = next(iter(network.peers.values()))
    network.run_for(25_000)
    held = {row for table, row in first.records if table == PAYLOAD_TABLE}
    network.crash(first.id)
    network.restart(first.id)
    network.run_for(60_000)
    still_held = {row for table, row in first.records if table == PAYLOAD_TABLE}
    assert len(held) > 100
    assert still_held
    assert not held & still_held


def test_what_no_block_names_any_more_is_forgotten_at_once() -> None:
    """As when its block was one of two for one round, or came too late."""
    network = simulated_workers(4, seed=4, rules=rules(staleness_max=30), payload_commits=50)
    network.run_for(5_000)
    first = next(iter(network.peers.values()))
    stray = Digest(bytes(32))
    first.records[PAYLOAD_TABLE, stray] = b"a payload"
    assert first.replica.handle(AttachmentHeld(stray), network.now) == (Forget(PAYLOAD_TABLE, stray),)


class OldPayload(HonestConduct):
    """Names the same bytes again and again, long after everybody else has forgotten them."""

    def __init__(self) -> None:
        self._turn = 0
        self._first: Float32Array | None = None

    def submissions(self, own: Float32Array) -> tuple[Submitted, ...]:
        self._turn += 1
        self._first = own if self._first is None else self._first
        return (self._first,) if self._turn % 40 == 1 else (own,)


def test_a_payload_that_was_forgotten_can_be_named_again() -> None:
    network = simulated_workers(4, 10, rules(staleness_max=30), {2: OldPayload()}, payload_commits=70)
    network.run_for(90_000)
    assert min(heights(network)) >= 200
    assert_one_model(network)
    assert_nobody_is_blamed(network)


class Counting(HonestConduct):
    """Honest."""

    def __init__(self) -> None:
        self.submitted = 0

    def submissions(self, own: Float32Array) -> tuple[Submitted, ...]:
        self.submitted += 1
        return (own,)


def test_an_order_that_is_quicker_than_its_learners_waits_for_them_and_they_go_on_searching() -> None:
    """Twenty commits a second can come, eight are what a learner can do, and the fourth never lets the order idle."""
    honest = [Counting() for _ in range(3)]
    links = Links(delay_ms_min=1, delay_ms_max=5, answer_ms=120, slice_ms=20)
    network = simulated_workers(4, 12, rules(staleness_max=500), dict(enumerate(honest)), links=links)
    *others, fourth = network.peers.values()
    learner = fourth.learner
    assert isinstance(learner, LineLearner)
    fourth.learner, fourth.slowness = InterceptedLearner(learner, Incessant(lambda: learner.follower.ledger)), 0.1
    most = 0
    for _ in range(60):
        network.run_for(500)
        most = max(most, *(len(peer.requests) for peer in others))
    assert most <= 2 * STEPS_WAITING_MAX
    assert min(conduct.submitted for conduct in honest) >= 12, "each of theirs is one of all others' dozen steps"
    assert_nobody_is_blamed(network)


def payloads(peer: SimulatedPeer) -> int:
    return sum(table == PAYLOAD_TABLE for table, _ in peer.records)


def test_leaders_order_everybody_s_gradients() -> None:
    network = simulated_leaders(4, seed=5, rules=rules(staleness_max=30))
    network.run_for(120_000)
    assert min(heights(network)) >= 60
    assert max(distances(network)) < 0.1
    settle(network)
    assert_one_model(network)
    assert_nobody_is_blamed(network)


def test_leaders_that_were_split_hold_one_model_again() -> None:
    network = simulated_leaders(5, seed=6, rules=rules(staleness_max=30))
    network.run_for(30_000)
    everybody = list(network.peers)
    network.split(everybody[:2], everybody[2:])
    network.run_for(6_000)
    network.heal()
    network.run_for(30_000)
    assert max(heights(network)) - min(heights(network)) <= 1
    settle(network)
    assert_one_model(network)
    assert_nobody_is_blamed(network)


def test_a_leader_that_was_killed_replays_its_blocks_and_goes_on() -> None:
    network = simulated_leaders(4, seed=7, rules=rules(staleness_max=30))
    network.run_for(40_000)
    killed = list(network.peers)[2]
    network.crash(killed)
    network.run_for(20_000)
    network.restart(killed)
    network.run_for(30_000)
    assert max(heights(network)) - min(heights(network)) <= 1
    settle(network)
    assert_one_model(network)
    assert_nobody_is_blamed(network)


@pytest.mark.parametrize("order", [simulated_workers, simulated_leaders])
def test_bytes_that_are_no_gradient_change_nothing(order: Order) -> None:
    network = order(4, 8, rules(staleness_max=30), {3: ForeignBytes()})
    network.run_for(60_000)
    assert min(heights(network)) >= 30
    assert max(distances(network)) < 0.1
    assert np.isfinite(distances(network)).all()
    settle(network)
    assert_one_model(network)


@pytest.mark.parametrize("order", [simulated_workers, simulated_leaders])
def test_the_same_seed_gives_the_same_trace(order: Order) -> None:
    traces = set()
    for _ in range(2):
        network = order(4, 9, rules(staleness_max=30))
        network.run_for(15_000)
        traces.add(network.trace_digest)
    assert len(traces) == 1


class Silent(HonestConduct):
    """Leads blocks, but submits nothing."""

    def submissions(self, own: Float32Array) -> tuple[Submitted, ...]:
        return ()


def test_learning_goes_on_once_a_worker_that_is_gone_counts_no_more() -> None:
    """Three workers tolerate none that is silent; the other two have submitted all that one model allows when it goes."""
    network = simulated_leaders(3, 11, rules("robust", staleness_max=50, workers_window=8), {0: Silent()})
    network.run_for(40_000)
    network.crash(next(iter(network.peers)))
    network.run_for(40_000)
    fitness = []
    for _ in range(4):
        network.run_for(10_000)
        fitness.append({peer.head.fitness for peer in network.peers.values() if peer.is_up and peer.head is not None})
    assert len(set.union(*fitness)) >= 4, "the model stands still"
