"""Whatever befalls a machine, a disk, a clock or a link: it has happened, all agree, and they go on once it is over."""

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from consensus.effects import Broadcast
from learning.learner import StepAdopted
from node.lab.scenarios import events
from node.lab.scenarios.scenario import ExpectSection, LinksSection, Scenario, TimedEvent
from node.lab.scenarios.toy_tasks import ToyTask
from node.lab.simulation.peer import SimulatedPeer
from node.lab.simulation.population import START
from node.rules.network_rules import Consensus, Learning, TotalOrderSection
from tests.node.lab.faults.stage import ORDER, WORK, Play, assert_passed, play_scenario


@dataclass(frozen=True)
class Trouble:
    """What befalls a network within its first six seconds, and how one sees that it did."""

    events: tuple[TimedEvent, ...]
    has_happened: Callable[[Play, SimulatedPeer], bool]
    """Of the peer number 1, at the end."""


def at(at_s: float, event: events.Event) -> TimedEvent:
    return TimedEvent(f"{at_s:.1f}", event)


def ended_times(count: int) -> Callable[[Play, SimulatedPeer], bool]:
    return lambda _, peer: peer.incarnation == count


def lost_connections(play: Play, _: SimulatedPeer) -> bool:
    assert play.outcome is not None
    return play.outcome.connections_lost > 0


def was_down(from_s: float, until_s: float) -> Callable[[Play, SimulatedPeer], bool]:
    """It has sent before and after, and nothing between."""

    def has_happened(play: Play, peer: SimulatedPeer) -> bool:
        sent = [now - START for now, _ in play.by(peer, Broadcast)]
        is_silent = not any(1_000 * from_s < one < 1_000 * until_s for one in sent)
        return is_silent and sent[0] <= 1_000 * from_s and sent[-1] >= 1_000 * until_s

    return has_happened


def fell_back(at_s: float) -> Callable[[Play, SimulatedPeer], bool]:
    """Its first head of the next incarnation is below the last one of the one before."""

    def has_happened(play: Play, peer: SimulatedPeer) -> bool:
        heads = [(now - START, head.height) for now, head in play.by(peer, StepAdopted)]
        before = max(height for now, height in heads if now < 1_000 * at_s)
        after = next(height for now, height in heads if now > 1_000 * at_s)
        return peer.incarnation == 1 and after < before

    return has_happened


def was_stopped_by_its_disk(play: Play, peer: SimulatedPeer) -> bool:
    return peer.incarnation == 1 and was_down(4.5, 5)(play, peer)


def came_late(play: Play, _: SimulatedPeer) -> bool:
    late = play.honest[3]
    assert late.head is not None
    return min(now for now, _ in play.by(late, Broadcast)) >= START + 6_000 and late.head.height >= 6


def dates_ahead(play: Play, peer: SimulatedPeer) -> bool:
    true_now = play.simulation.network.now
    return peer.clock.now(true_now) + peer.clock.offset_ms >= true_now + 1_200


TROUBLES = {
    "crash": Trouble((at(2, events.Crash((1,))), at(4, events.Restart((1,)))), was_down(2.1, 4)),
    "correlated crash": Trouble(
        (at(3, events.Crash((0, 1, 2, 3))), at(4, events.Restart((0, 1, 2, 3)))),
        lambda play, _: all(peer.incarnation == 1 for peer in play.honest),
    ),
    "kill at an effect": Trouble((at(0, events.KillAt((1,), effect=40)), at(4, events.Restart((1,)))), ended_times(1)),
    "pause": Trouble((at(2, events.Pause((1,))), at(6, events.Resume((1,)))), was_down(2, 6)),
    "slow processor": Trouble(
        (at(1, events.Slow((1,), factor=20)),), lambda _, peer: peer.core.free_at_us > 1_000 * (START + 1_000)
    ),
    "clock offset and drift": Trouble((at(1, events.Clock((1,), offset_ms=1_200, drift_ppm=200)),), dates_ahead),
    "clock offset of minutes": Trouble((at(1, events.Clock((1,), offset_ms=300_000)),), dates_ahead),
    "clock jump": Trouble(
        (at(3, events.Clock((1,), offset_ms=3_600_000)), at(6, events.Clock((1,)))),
        lambda _, peer: peer.clock.since == START + 6_000,
    ),
    "full disk": Trouble((at(2, events.DiskFull((1,))), at(5, events.Restart((1,)))), was_stopped_by_its_disk),
    "lying disk": Trouble(
        (at(0, events.DiskLies((1,), unsynced_ms=3_000)), at(5, events.Crash((1,))), at(6, events.Restart((1,)))), fell_back(5)
    ),
    "old disk": Trouble(
        (at(2, events.BackUp((1,))), at(5, events.RestoreOldDisk((1,))), at(6, events.Restart((1,)))), fell_back(5)
    ),
    "wiped disk": Trouble((at(5, events.Wipe((1,))), at(6, events.Restart((1,)))), fell_back(5)),
    "partition": Trouble((at(1, events.Partition(((0, 1), (2, 3)))), at(6, events.Heal())), lost_connections),
    "half-open link": Trouble((at(1, events.Cut((1,), (0, 2, 3))), at(6, events.Heal())), lost_connections),
    "reset in mid-frame": Trouble(tuple(at(1 + place / 2, events.Reset((1,))) for place in range(10)), lost_connections),
    "late join": Trouble((at(6, events.Join((3,))),), came_late),
}


OF_MEMBERS_ALONE = ("clock offset of minutes",)
"""Under proof of work a clock may be wrong by the network's `future_limit_ms` at most."""


def scenario_of(trouble: Trouble, consensus: Consensus) -> Scenario:
    is_work = consensus is WORK
    duration_s = 7 + (13 if is_work else 4)
    return Scenario(
        name="trouble",
        consensus=consensus,
        learning=Learning.EVOLUTION,
        peers=4,
        duration_s=duration_s,
        task=ToyTask.SPHERE,
        total_order=TotalOrderSection(round_interval_ms=150),
        links=LinksSection(silence_ms=2_000),
        expect=ExpectSection(calm_s=duration_s - 7, heights_min=3, behind_max=4),
        events=trouble.events,
    )


@pytest.mark.parametrize(
    ("name", "consensus"),
    [
        (name, consensus)
        for name in TROUBLES
        for consensus in (WORK, ORDER)
        if not (consensus is WORK and name in OF_MEMBERS_ALONE)
    ],
)
def test_it_has_happened_and_all_agree_and_go_on(name: str, consensus: Consensus) -> None:
    played = play_scenario(scenario_of(TROUBLES[name], consensus))
    assert_passed(played)
    assert TROUBLES[name].has_happened(played, played.honest[1])
    assert (played.accusations, played.refusals) == ([], [set()] * 4)
