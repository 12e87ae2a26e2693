"""Whole networks over sockets: what befalls processes and disks, what is refused, and that a mistake is seen."""

import msgspec
import pytest

from node.lab.checkers.finding import Diverged, Pass
from node.lab.checkers.suite import NOTHING_RAISES
from node.lab.scenarios.events import BackUp, Clock, DiskFull, KillAt, Misbehave, Pause, Restart, RestoreOldDisk, Slow, Wipe
from node.lab.scenarios.scenario import Scenario, TimedEvent
from node.lab.scenarios.scenario_check import check
from node.lab.simulation.population import START
from node.lab.simulation.run import Simulation, SimulationOutcome
from node.lab.simulation.sockets.network import SocketNetwork
from node.lab.simulation.sockets.process import SimulatedProcess
from node.lab.simulation.sockets.simulated_ports import SampledPuzzles
from node.rules.typed_toml import TomlProblem
from tests.node.lab.simulation.sockets.test_raids import scenario


def run(plan: Scenario, seed: int = 1) -> SimulationOutcome:
    return Simulation(plan, seed).run()


def network_of(plan: Scenario) -> SocketNetwork:
    network = Simulation(plan, 1).network
    assert isinstance(network, SocketNetwork)
    return network


def test_disks_fail_and_clocks_are_wrong_and_all_come_back() -> None:
    events = (
        TimedEvent(1, BackUp((0,))),
        TimedEvent(1, Clock((3,), offset_ms=400, drift_ppm=100)),
        TimedEvent(1, Slow((3,), factor=2)),
        TimedEvent(2, DiskFull((1,))),
        TimedEvent(3, Restart((1,))),
        TimedEvent(4, RestoreOldDisk((0,))),
        TimedEvent(5, Restart((0,))),
        TimedEvent(6, Wipe((2,))),
        TimedEvent(7, Restart((2,))),
    )
    outcome = run(scenario("", "total-order", *events, duration_s=14, calm_s=6))
    assert isinstance(outcome.run_outcome, Pass), outcome.run_outcome


def test_a_full_disk_ends_the_process_and_its_connections() -> None:
    network = network_of(scenario(""))
    first, second, *_ = network.peers
    network.run_for(2_000)
    assert len(network.processes[second].network.peers()) == 3
    network.fill_disk(first)
    network.run_for(1_000)
    assert (network.peers[first].is_up, network.peers[first].stopped) == (False, "the disk is full")
    assert len(network.processes[second].network.peers()) == 2
    network.close()


def test_a_crash_leaves_a_batch_whole_or_not_at_all() -> None:
    plan = scenario("")
    slow_disk = msgspec.structs.replace(plan, links=msgspec.structs.replace(plan.links, disk_ms=500))
    left = set()
    for seed in range(6):
        network = Simulation(slow_disk, seed).network
        first = next(iter(network.peers))
        network.run_for(1_200)
        before = dict(network.peers[first].records)
        network.crash(first)
        left.add(network.peers[first].records == before)
        network.run_for(600)
        assert network.peers[first].records.keys() >= before.keys()
        network.close()
    assert left == {True, False}


def test_what_a_dead_process_still_does_is_not_seen() -> None:
    network = network_of(scenario("", "proof-of-work"))
    seen = []
    first = next(iter(network.peers))
    network.run_for(2_000)
    network.watch = lambda peer, _happening, now: seen.append((now - START, peer.id))
    network.crash(first)
    network.run_for(3_000)
    network.restart(first)
    network.run_for(1_000)
    assert len(seen) > 10
    assert min(at for at, peer in seen if peer == first) >= 5_000
    network.close()


@pytest.mark.parametrize(
    "place", [(SimulatedProcess, "on_peer_joined"), (SampledPuzzles, "_solved")], ids=["in a task", "in a timer"]
)
def test_a_mistake_of_a_peer_s_own_is_the_finding(place: tuple[type, str], monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise ArithmeticError("our own mistake")

    monkeypatch.setattr(*place, fail)
    ended = run(scenario("", "proof-of-work")).run_outcome
    assert isinstance(ended, Diverged)
    assert ended.finding.checker == NOTHING_RAISES
    assert "ArithmeticError (our own mistake)" in ended.finding.detail


def test_an_interrupted_run_ends_cleanly() -> None:
    def interrupt(passed_ms: int) -> None:
        if passed_ms >= 2_000:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Simulation(scenario("slow-loris+eclipse:outsiders=5"), 1).run(interrupt)


# --- what cannot be had over sockets --------------------------------------------------------------------------------


def refusal_of(plan: Scenario) -> str:
    with pytest.raises(TomlProblem) as refused:
        check(plan)
    return str(refused.value)


def test_events_that_stop_a_peer_between_two_effects_are_refused() -> None:
    kill = scenario("", "total-order", TimedEvent(1, KillAt((0,), effect=9)))
    pause = scenario("slow-loris", "total-order", TimedEvent(1, Pause((0,))))
    told = refusal_of(kill)
    assert told.startswith('[[event]] number 1: kind is "kill-at", which cannot be had over sockets')
    assert "none of them can stop alone" in told
    assert "; allowed over sockets is crash, restart, join, wipe," in told
    assert 'kind is "pause"' in refusal_of(pause)
    over_wires = msgspec.structs.replace(kill, links=msgspec.structs.replace(kill.links, sockets=False))
    check(over_wires)


def test_a_crowd_and_an_unordered_network_are_refused() -> None:
    plan = scenario("")
    assert "peers is 33; allowed is 1 to 32" in refusal_of(msgspec.structs.replace(plan, peers=33))
    unordered = msgspec.structs.replace(plan, links=msgspec.structs.replace(plan.links, is_ordered=False))
    assert "TCP delivers in order" in refusal_of(unordered)


def test_a_network_fault_of_a_peer_that_turns_later_needs_sockets_too() -> None:
    turning = TimedEvent(1, Misbehave((3,), "oversized-frames"))
    plan = scenario("", "total-order", turning)
    plan = msgspec.structs.replace(plan, links=msgspec.structs.replace(plan.links, sockets=False))
    network = network_of(plan)
    network.run_for(100)
    network.close()
