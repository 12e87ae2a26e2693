"""Members of a total order over virtual time: one history of generations, whatever is cut, killed or left behind."""

import pytest

from consensus.effects import Effect, Guard, Send
from node.lab.simulation.network import SimulatedNetwork, SimulatedPeer
from tests.node.lab.simulation.world import simulated_members


def heights(network: SimulatedNetwork) -> list[int]:
    return [peer.head.height if peer.head is not None else 0 for peer in network.peers.values()]


def commits(peer: SimulatedPeer) -> dict[bytes, bytes]:
    return {key: value for (table, key), value in peer.records.items() if table == "commit"}


def assert_one_history(network: SimulatedNetwork) -> None:
    """No two members recorded different commits at one index; nobody was accused, refused or halted."""
    seen: dict[bytes, bytes] = {}
    for peer in network.peers.values():
        assert (peer.halted, peer.refused, peer.accusations) == (None, set(), [])
        for index, record in commits(peer).items():
            assert seen.setdefault(index, record) == record, f"two commits at {int.from_bytes(index, 'big')}"


@pytest.mark.parametrize("members", [1, 4, 6, 7])
def test_members_agree_and_come_closer_to_the_goal(members: int) -> None:
    network = simulated_members(members, seed=1)
    network.run_for(4_000)
    early = next(iter(network.peers.values())).head
    network.run_for(20_000)
    late = next(iter(network.peers.values())).head
    assert late is not None
    assert early is None or late.fitness > early.fitness
    assert min(heights(network)) >= 8
    assert max(heights(network)) - min(heights(network)) <= 1
    assert_one_history(network)


def test_a_minority_that_is_cut_off_waits_and_comes_back() -> None:
    network = simulated_members(7, seed=2)
    network.run_for(8_000)
    everybody = list(network.peers)
    network.split(everybody[:5], everybody[5:])
    network.run_for(8_000)
    left = heights(network)
    assert min(left[:5]) > max(left[5:])
    network.heal()
    network.run_for(8_000)
    assert max(heights(network)) - min(heights(network)) <= 1
    assert_one_history(network)


def test_without_a_quorum_nothing_is_decided_and_nothing_is_lost() -> None:
    network = simulated_members(4, seed=3)
    network.run_for(8_000)
    everybody = list(network.peers)
    network.split(everybody[:2], everybody[2:])
    network.run_for(1_000)
    stuck = heights(network)
    network.run_for(10_000)
    assert heights(network) == stuck
    network.heal()
    network.run_for(10_000)
    assert min(heights(network)) > max(stuck)
    assert_one_history(network)


def test_a_member_that_crashes_again_and_again_never_signs_twice() -> None:
    network = simulated_members(4, seed=4)
    victim = list(network.peers)[2]
    network.run_for(5_000)
    for incarnation in range(8):
        network.crash(victim)
        network.run_for(100 + 300 * incarnation)
        network.restart(victim)
        network.run_for(1_500)
    network.run_for(8_000)
    assert max(heights(network)) - min(heights(network)) <= 1
    assert_one_history(network)


def test_an_old_disk_with_its_guard_file_does_not_contradict_itself() -> None:
    network = simulated_members(4, seed=5)
    victim = list(network.peers)[1]
    network.run_for(4_000)
    backup = dict(network.peers[victim].records)
    network.run_for(6_000)
    network.crash(victim)
    network.peers[victim].records.clear()
    network.peers[victim].records.update(backup)
    network.restart(victim)
    network.run_for(10_000)
    assert max(heights(network)) - min(heights(network)) <= 1
    assert_one_history(network)


def test_a_guard_that_a_kill_left_behind_the_records_is_raised_before_anything_is_sent() -> None:
    network = simulated_members(4, seed=9)
    victim = list(network.peers)[1]
    network.run_for(5_000)
    network.crash(victim)
    peer = network.peers[victim]
    signed = peer.guard_round
    peer.disk.guard_round = signed - 1
    done: list[Effect] = []
    network.watch = lambda who, happening, now: done.append(happening) if who is peer else None
    network.restart(victim)
    network.run_for(50)
    kinds = [type(effect) for effect in done]
    assert Guard(signed) in done
    assert kinds.index(Guard) < kinds.index(Send)


def test_who_was_away_for_long_starts_from_a_checkpoint_that_others_vouch_for() -> None:
    network = simulated_members(4, seed=6, snapshot_behind=40)
    victim = list(network.peers)[3]
    network.run_for(4_000)
    network.crash(victim)
    network.run_for(70_000)
    goal = max(heights(network))
    network.restart(victim)
    network.run_for(15_000)
    peer = network.peers[victim]
    assert peer.replica.ordering.status.counters.snapshots == 1
    assert peer.head is not None
    assert peer.head.height >= goal
    assert max(heights(network)) - min(heights(network)) <= 1
    assert_one_history(network)
    network.crash(victim)
    network.restart(victim)
    network.run_for(5_000)
    assert max(heights(network)) - min(heights(network)) <= 1


def test_one_seed_gives_one_trace() -> None:
    traces = set()
    for _ in range(2):
        network = simulated_members(4, seed=8)
        network.run_for(6_000)
        traces.add(network.trace_digest)
    assert len(traces) == 1
