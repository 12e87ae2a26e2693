"""What a change of the workers does to what they have submitted."""

from dataclasses import replace

import numpy as np
import pytest

from learning.gradient.blocks import BlockState, BlockTransition
from learning.gradient.ledger import AggregationState, Aggregator, PastModel, first_ledger
from learning.state import genesis_state
from tests.learning.evolution.exchange import NETWORK
from tests.learning.gradient.chain import ALICE, BOB, CAROL, world_of
from tests.learning.gradient.quadratic import LAYOUT

WORLD = world_of()
RULE = WORLD.rules.named_rule()
TRANSITION = BlockTransition(Aggregator(LAYOUT, WORLD.rules.ledger_rules(), RULE), WORLD.shelf, WORLD.rules.workers_window)


def ledger_at(version: int, *bases: tuple[bytes, int]) -> AggregationState:
    first = first_ledger(genesis_state(NETWORK, LAYOUT).parameters, RULE)
    return replace(first, past=(PastModel(version, bytes(32), None),), bases=bases)


@pytest.mark.parametrize(
    ("version", "before", "after"),
    [(3, ((ALICE, 1), (BOB, 3)), ((ALICE, 1), (BOB, 2))), (0, ((ALICE, 0),), ())],
)
def test_a_change_of_voices_reopens_the_present_version_and_no_older_one(version: int, before: tuple, after: tuple) -> None:
    ledger = ledger_at(version, *before)
    assert TRANSITION.begin(BlockState(ledger, (ALICE,)), BOB).ledger.bases == after
    assert TRANSITION.begin(BlockState(ledger, (ALICE,)), ALICE).ledger.bases == after
    full = BlockState(ledger, (ALICE,) * WORLD.rules.workers_window)
    assert TRANSITION.begin(full, ALICE).ledger.bases == before


@pytest.mark.parametrize(
    ("parameters", "workers", "listed_max"),
    [(2_410, 4, 64), (2_410, 25, 51), (16_330, 25, 7), (85_002, 4, 9), (85_002, 64, 1), (10_000_000, 64, 1)],
)
def test_a_block_may_list_what_a_quarter_of_a_block_interval_is_enough_to_check(
    parameters: int, workers: int, listed_max: int
) -> None:
    ledger = replace(ledger_at(0), parameters=np.zeros(parameters, dtype=np.float32))
    leaders = tuple(number.to_bytes(32, "big") for number in range(workers))
    assert TRANSITION.listed_max(BlockState(ledger, leaders)) == listed_max


def test_a_worker_has_a_voice_for_each_block_that_it_led_however_many_keys_others_use() -> None:
    group = TRANSITION.group(BlockState(ledger_at(0), (BOB, ALICE, ALICE, CAROL, ALICE, BOB, ALICE)))
    assert [(key, group.voices_of(key)) for key in (ALICE, BOB, CAROL, bytes(32))] == [
        (ALICE, 4),
        (BOB, 2),
        (CAROL, 1),
        (bytes(32), 0),
    ]
    assert (group.size, group.faulty_max, group.honest_min) == (3, 2, 5)
