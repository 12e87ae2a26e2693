"""Each attack below all messages, in whole scenarios: it happens, it comes to nothing, and without its defence it would not."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import msgspec
import pytest

from consensus.effects import Offence
from node.lab.checkers.finding import Pass
from node.lab.faults.catalogue import NETWORK_FAULTS
from node.lab.faults.network.frame_attacks import FALSE_NETWORKS
from node.lab.scenarios.events import Crash, Cut, Heal, Join, Misbehave, Partition, Reset, Restart
from node.lab.scenarios.scenario import Scenario, TimedEvent, parse_scenario, read_scenario
from node.lab.simulation.run import Simulation, SimulationOutcome
from node.lab.simulation.sockets import process as ground
from node.lab.simulation.sockets.process import SimulatedProcess
from node.net import listener
from node.net.address_book import AddressBook
from node.net.connections import Connections
from node.net.network_interface import NetSettings
from node.net.rates import RateLimits

HONEST = 3
"""And one attacker."""


WATCHFUL = NetSettings(
    address_exchange_seconds=0.5, rates=RateLimits(frames_per_second=200, frames_burst=500), outbox_frames_max=1_000_000
)
"""Limits that are reached within seconds, by a slow uplink too: a flood costs this machine time, though it takes none there."""


@pytest.fixture(autouse=True)
def watchful(monkeypatch: pytest.MonkeyPatch) -> None:
    set_limits(monkeypatch)


def set_limits(monkeypatch: pytest.MonkeyPatch, **limits: object) -> None:
    monkeypatch.setattr(ground, "NetSettings", partial(replace, WATCHFUL, **limits))


def scenario(
    fault: str,
    consensus: str = "total-order",
    *events: TimedEvent,
    duration_s: int = 6,
    calm_s: int = 3,
    uplink_kbit_s: int = 500,
) -> Scenario:
    plain = parse_scenario(
        f"""
        name = "raid"
        consensus = "{consensus}"
        learning = "evolution"
        peers = {HONEST + 1}
        duration_s = {duration_s}
        [links]
        sockets = true
        slice_ms = 100
        uplink_kbit_s = {uplink_kbit_s}
        [expect]
        calm_s = {calm_s}
        heights_min = 1
        behind_max = 8
        [proof_of_work]
        block_interval_ms = 400
        start_attempts = 100
        puzzle_memory_kib = 8
        """
    )
    faulty = () if not fault else parse_scenario(_FAULTY.format(fault=fault)).faulty
    return msgspec.structs.replace(plain, events=events, faulty=faulty)


_FAULTY = """
name = "raid"
consensus = "total-order"
learning = "evolution"
peers = 4
duration_s = 30
[[faulty]]
fault = "{fault}"
peers = [3]
"""


class Raid:
    """A scenario that has run, and what honest peers' doors have seen of it."""

    def __init__(self, plan: Scenario, seed: int = 1) -> None:
        simulation = Simulation(plan, seed)
        self.addresses: set[str] = set()
        self.outcome: SimulationOutcome = simulation.run(lambda _: self._look(simulation))
        self.dials_to_nowhere = simulation.network.dials_to_nowhere
        honest = self._honest(simulation)
        self.notes = [note for incarnation in honest for note in incarnation.notes]
        assert self.outcome.doors is not None
        self.proven, self.came = self.outcome.doors.proven, self.outcome.doors.came
        self.at_once = max(incarnation.host.accepted_at_once_max for incarnation in honest)
        self.bytes_received = sum(incarnation.network.bytes_received for incarnation in honest)
        self.bytes_sent = sum(incarnation.network.bytes_sent for incarnation in honest)
        self.accused = {accusation.offence for peer in simulation.network.peers.values() for accusation in peer.accusations}

    def _look(self, simulation: Simulation) -> None:
        """What honest peers would tell others of."""
        for incarnation in self._honest(simulation):
            self.addresses.update(address.host for address in incarnation.network.known_addresses())

    @staticmethod
    def _honest(simulation: Simulation) -> list[SimulatedProcess]:
        return [incarnation for peer, incarnation in simulation.network.processes.items() if peer in simulation.checkers.honest]

    def noted(self, text: str) -> int:
        return sum(text in note for note in self.notes)


MESH = HONEST * (HONEST + 1)
"""Connections of honest peers' own, where nobody attacks; half of them at most are opened twice at the start."""

SEEN: dict[str, Callable[[Raid], bool]] = {
    "malformed-frames": lambda raid: raid.noted("malformed message") >= 6,
    "oversized-frames": lambda raid: raid.noted("oversized message") >= 4,
    "message-flood:outsiders=1": lambda raid: raid.noted("frames a second") >= 2,
    "costly-questions:outsiders=8": lambda raid: raid.bytes_sent >= 250_000,
    "first-relay": lambda raid: raid.noted("more messages than allowed") >= 3,
    "fresh-keys": lambda raid: Offence.WRONG_PUZZLE in raid.accused and raid.noted("puzzle not solved") >= 3,
    "handshake-replay": lambda raid: raid.noted("did not prove that it holds the key") >= 3,
    "borrowed-name": lambda raid: raid.noted("did not prove that it holds the key") >= 3,
    "foreign-network": lambda raid: raid.noted("runs another network") >= 6,
    "address-poisoning": lambda raid: raid.dials_to_nowhere >= 5,
    "eclipse:outsiders=12": lambda raid: raid.proven >= MESH + 12,
    "crowd:outsiders=12": lambda raid: raid.proven >= MESH + 8,
    "connection-flood": lambda raid: raid.came >= 100,
    "malformed-requests": lambda raid: raid.came >= 30,
    "slow-loris": lambda raid: raid.came >= 50,
}
"""By fault: what shows that the attack has taken place."""


UPLINKS_KBIT_S = {"costly-questions:outsiders=8": 20_000, "first-relay": 20_000}
"""Outsiders have a share of the loop: what they may ask for in that time fills a narrow line. Who is first has a wide one."""

OF_PROOF_OF_WORK = ("first-relay", "fresh-keys")
"""Whose budgets they overdraw, whose puzzles they leave out."""


def test_every_network_fault_is_here() -> None:
    assert {fault.partition(":")[0] for fault in SEEN} == {fault.name for fault in NETWORK_FAULTS}


@pytest.mark.parametrize(
    ("fault", "consensus"),
    [
        *((fault, "total-order") for fault in SEEN if fault not in OF_PROOF_OF_WORK),
        *((fault, "proof-of-work") for fault in OF_PROOF_OF_WORK),
        ("costly-questions:outsiders=8", "proof-of-work"),
        ("slow-loris", "proof-of-work"),
    ],
)
def test_an_attack_takes_place_and_honest_peers_agree_and_move_on(fault: str, consensus: str) -> None:
    raid = Raid(scenario(fault, consensus, uplink_kbit_s=UPLINKS_KBIT_S.get(fault, 500)))
    assert isinstance(raid.outcome.run_outcome, Pass), raid.outcome.run_outcome
    assert SEEN[fault](raid), (raid.notes, vars(raid))


def test_nothing_of_it_is_seen_where_nobody_attacks() -> None:
    raid = Raid(scenario(""))
    assert isinstance(raid.outcome.run_outcome, Pass), raid.outcome.run_outcome
    assert [fault for fault, is_seen in SEEN.items() if is_seen(raid)] == []
    assert raid.notes == []


def test_attacks_join_with_a_liar_and_with_crashes_cuts_and_resets() -> None:
    events = (
        TimedEvent(2, Reset((0,))),
        TimedEvent(3, Crash((1,))),
        TimedEvent(4, Restart((1,))),
        TimedEvent(5, Partition(((0, 3), (1, 2)))),
        TimedEvent(6, Heal()),
        TimedEvent("6.5", Cut((0,), (2,))),
        TimedEvent("7.5", Heal()),
    )
    plan = scenario("slow-loris+inflated-claim+malformed-frames", "proof-of-work", *events, duration_s=16, calm_s=8)
    raid = Raid(plan)
    assert isinstance(raid.outcome.run_outcome, Pass), raid.outcome.run_outcome
    assert raid.noted("malformed message") >= 3
    assert raid.outcome.connections_lost > 40


def test_a_peer_that_turns_and_one_that_joins_late() -> None:
    events = (
        TimedEvent(2, Misbehave((3,), "oversized-frames")),
        TimedEvent(4, Join((2,))),
    )
    raid = Raid(scenario("", "total-order", *events, duration_s=16, calm_s=8))
    assert isinstance(raid.outcome.run_outcome, Pass), raid.outcome.run_outcome
    assert raid.noted("oversized message") >= 10


# --- without a defence ----------------------------------------------------------------------------------------------


def test_without_limits_on_outsiders_they_fill_the_door(monkeypatch: pytest.MonkeyPatch) -> None:
    guarded = Raid(scenario("slow-loris"))
    assert guarded.at_once <= 2 * HONEST + NetSettings().unauthenticated_per_group_max
    set_limits(monkeypatch, unauthenticated_per_group_max=10_000, unauthenticated_max=10_000)
    assert Raid(scenario("slow-loris")).at_once >= 50


def test_without_a_rate_a_flood_is_taken_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    guarded = Raid(scenario("message-flood:outsiders=1", uplink_kbit_s=250))
    set_limits(monkeypatch, rates=RateLimits(1e9, 1e9, 1e12, 1e12))
    open_to_all = Raid(scenario("message-flood:outsiders=1", uplink_kbit_s=250))
    assert (guarded.noted("frames a second") >= 2, open_to_all.noted("frames a second")) == (True, 0)
    assert open_to_all.bytes_received > guarded.bytes_received + 50_000


def test_without_a_limit_on_messages_they_are_taken_in_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    guarded = Raid(scenario("oversized-frames", uplink_kbit_s=0))
    monkeypatch.setattr(listener, "MESSAGE_SIZE_SETTING", 0)
    open_to_all = Raid(scenario("oversized-frames", uplink_kbit_s=0))
    assert (guarded.noted("exceeds limit") >= 2, open_to_all.noted("exceeds limit")) == (True, 0)
    assert open_to_all.bytes_received > guarded.bytes_received + 1_000_000


def test_without_proof_of_addresses_false_ones_are_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    guarded = Raid(scenario("address-poisoning"))
    assert guarded.addresses == {"10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4"}
    monkeypatch.setattr(AddressBook, "proven_addresses", lambda book: tuple(book._entries))  # a mutation
    believing = Raid(scenario("address-poisoning"))
    assert any(host.startswith(FALSE_NETWORKS[0]) for host in believing.addresses)


def test_without_blame_a_host_may_break_handshakes_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a member lives nobody is blamed, so this is about a network that is open to all."""
    guarded = Raid(scenario("handshake-replay", "proof-of-work"))
    monkeypatch.setattr(Connections, "blame_host", lambda *_: None)
    forgiving = Raid(scenario("handshake-replay", "proof-of-work"))
    assert forgiving.proven > guarded.proven + 4


# --- the same each time ---------------------------------------------------------------------------------------------


def test_the_same_seed_has_the_same_trace_where_sets_have_another_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "raid.toml"
    file.write_text(
        """
        name = "raid"
        consensus = "proof-of-work"
        learning = "evolution"
        peers = 4
        duration_s = 6
        [links]
        uplink_kbit_s = 2_000
        [expect]
        calm_s = 2
        heights_min = 0
        [[faulty]]
        fault = "malformed-frames+address-poisoning+slow-loris+eclipse:outsiders=5"
        peers = [3]
        [[event]]
        at_s = 2
        kind = "reset"
        peers = [0]
        [[event]]
        at_s = 3
        kind = "crash"
        peers = [1]
        [[event]]
        at_s = 4
        kind = "restart"
        peers = [1]
        """
    )
    monkeypatch.undo()
    assert trace_of_another_process(file, seed=5) == Simulation(read_scenario(file), seed=5).run().trace_digest


def trace_of_another_process(file: Path, seed: int) -> str:
    code = "from node.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, "simulate", str(file), "--seed", str(seed), "--json"],
        env={**os.environ, "PYTHONHASHSEED": "4711"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr + done.stdout
    return json.loads(done.stdout)["trace"]
