"""No bytes of a liar end a machine, grow it beyond its bounds, make it blame the honest, or keep it from the order."""

import functools
import random

import pytest

from consensus.effects import Accuse, Deliver, Restore
from node.lab.checkers.bounds import Scale, declared_bounds, sizes_of
from tests.consensus.total_order.hostile import HONEST, MEMBERS, OBSERVER, RULES, VICTIM, Ordeal, World
from tests.consensus.total_order.network import Disk

ROUNDS = 72
SCALE = Scale(peers=len(MEMBERS), gc_depth=RULES.gc_depth, height=0, outsiders_max=2)


@functools.cache
def world() -> World:
    made = World()
    made.grow(ROUNDS)
    return made


STARTS = ((0, ROUNDS, 24), (0, ROUNDS, 10_000), (0, 1, 24), (10, 40, 24), (40, ROUNDS, 10_000), (52, 53, 24), (72, ROUNDS, 24))
"""Rounds that the machine has recorded; the newest round of the others; how far behind it takes over a state."""


def ordeal(seed: int) -> Ordeal:
    """A member or an observer that starts anew, is a little behind, far behind, or up to date."""
    held, front, behind = STARTS[seed % len(STARTS)]
    who = MEMBERS[VICTIM] if seed % 2 else OBSERVER.id
    disk = world().disks[held - 1].copy() if held else Disk()
    commits = sum(table == "commit" for table, _ in disk.tables)
    last_step = world().digests[commits - 1] if commits else None
    return Ordeal(world(), random.Random(seed), who, disk, last_step, front, behind)


def assert_bounded(trial: Ordeal) -> None:
    bounds = declared_bounds(SCALE)
    sizes = sizes_of(trial.machine)  # type: ignore[arg-type]  # looks into any object of these rooms
    assert {name for name in sizes if name not in bounds} == set()
    assert {name: size for name, size in sizes.items() if size > bounds[name]} == {}


@pytest.mark.parametrize("seed", range(30))
def test_whatever_liars_send_nothing_raises_and_the_order_is_reached(seed: int) -> None:
    trial = ordeal(seed)
    for number in range(300):
        trial.step()
        if number % 50 == 0:
            assert_bounded(trial)
    assert_bounded(trial)
    trial.recover(60_000)
    assert trial.halts() == []
    assert trial.blamed() & {MEMBERS[author] for author in HONEST} == set()
    assert trial.machine.status.commits >= len(world().commits) - 2
    true = dict(enumerate(world().digests, start=1))
    delivered = {effect.step.height: effect.step.id for effect in trial.effects if isinstance(effect, Deliver)}
    assert delivered.items() <= true.items()


@pytest.mark.slow
def test_the_histories_reach_each_state_of_a_machine() -> None:
    """Else they would show nothing."""
    counts = {"a state was restored": 0, "commits were synced": 0, "a liar was accused": 0, "blocks waited": 0}
    for seed in range(100, 116):
        trial = ordeal(seed)
        for _ in range(200):
            trial.step()
        counts["blocks waited"] += trial.machine.status.suspended > 0
        trial.recover(10_000)
        counts["a state was restored"] += any(isinstance(effect, Restore) for effect in trial.effects)
        counts["commits were synced"] += trial.machine.status.counters.synced_commits > 0
        counts["a liar was accused"] += any(isinstance(effect, Accuse) for effect in trial.effects)
    assert min(counts.values()) >= 1, counts
