"""What a change of the workers does to what they have submitted."""

from dataclasses import replace

import pytest

from learning.gradient.blocks import BlockState, Scribe
from learning.gradient.ledger import Clerk, Ledger, PastModel, first_ledger
from learning.state import genesis_state
from tests.learning.evolution.exchange import NETWORK
from tests.learning.gradient.chain import ALICE, BOB, world_of
from tests.learning.gradient.quadratic import LAYOUT

WORLD = world_of()
RULE = WORLD.rules.named_rule()
SCRIBE = Scribe(Clerk(LAYOUT, WORLD.rules.ledger_rules(), RULE), WORLD.shelf, WORLD.rules.workers_window)


def ledger_at(version: int, *bases: tuple[bytes, int]) -> Ledger:
    first = first_ledger(genesis_state(NETWORK, LAYOUT).parameters, RULE)
    return replace(first, past=(PastModel(version, bytes(32), None),), bases=bases)


@pytest.mark.parametrize(
    ("version", "before", "after"),
    [(3, ((ALICE, 1), (BOB, 3)), ((ALICE, 1), (BOB, 2))), (0, ((ALICE, 0),), ())],
)
def test_a_new_worker_reopens_the_present_version_and_no_older_one(version: int, before: tuple, after: tuple) -> None:
    state = BlockState(ledger_at(version, *before), (ALICE,))
    assert SCRIBE.begun(state, BOB).ledger.bases == after
    assert SCRIBE.begun(state, ALICE).ledger.bases == before
