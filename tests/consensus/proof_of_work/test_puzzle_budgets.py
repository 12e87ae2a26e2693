import pytest

from consensus.proof_of_work.puzzle_budgets import (
    GROUP_BURST,
    GROUPS_MAX,
    IN_FLIGHT_PER_PEER_MAX,
    OUTSIDERS_BURST,
    OUTSIDERS_US_PER_SECOND,
    PuzzleBudgets,
)
from consensus.types import Instant
from tests.consensus.proof_of_work.forge import person

NOW = Instant(1_000)
MEMORY_KIB = 8_192
ALICE = person("alice").id


def started(verifying: PuzzleBudgets, names: range, group: bytes, now: Instant = NOW) -> int:
    """How many of so many fresh keys have a puzzle computed, one each."""
    count = 0
    for name in names:
        peer = person(f"key {name}").id
        verifying.join(peer, group, now)
        count += verifying.start(peer, 0, now) is not None
        verifying.leave(peer)
    return count


def test_an_outsider_has_one_puzzle_computed_at_a_time_and_more_once_one_was_of_use() -> None:
    verifying = PuzzleBudgets(MEMORY_KIB)
    verifying.join(ALICE, b"", NOW)
    ticket = verifying.start(ALICE, 0, NOW)
    assert ticket is not None
    assert verifying.start(ALICE, 1, NOW) is None
    verifying.settle(ALICE, ticket, is_useful=True)
    assert verifying.start(ALICE, IN_FLIGHT_PER_PEER_MAX - 1, NOW) is not None
    assert verifying.start(ALICE, IN_FLIGHT_PER_PEER_MAX, NOW) is None


def test_what_is_of_use_costs_nothing_however_much_it_is() -> None:
    verifying = PuzzleBudgets(MEMORY_KIB)
    verifying.join(ALICE, b"net", NOW)
    for _ in range(1_000):
        ticket = verifying.start(ALICE, 0, NOW)
        assert ticket is not None
        verifying.settle(ALICE, ticket, is_useful=True)


def test_who_sends_one_useless_proof_is_an_outsider_again() -> None:
    verifying = PuzzleBudgets(MEMORY_KIB)
    verifying.join(ALICE, b"", NOW)
    for is_useful in (True, False):
        ticket = verifying.start(ALICE, 0, NOW)
        assert ticket is not None
        verifying.settle(ALICE, ticket, is_useful=is_useful)
    assert verifying.is_outsider(ALICE)


def test_fresh_keys_of_one_subnet_share_one_budget_and_leave_others_theirs() -> None:
    verifying = PuzzleBudgets(MEMORY_KIB)
    assert started(verifying, range(100), b"one net") == GROUP_BURST
    assert started(verifying, range(100, 200), b"another net") == OUTSIDERS_BURST - GROUP_BURST


@pytest.mark.parametrize("memory_kib", [8_192, 65_536])
def test_all_outsiders_together_have_an_eighth_of_a_core(memory_kib: int) -> None:
    verifying = PuzzleBudgets(memory_kib)
    seconds = 600
    count = 0
    for second in range(seconds):
        now = Instant(NOW + 1_000 * second)
        count += started(verifying, range(20), f"net {second % 8}".encode(), now)
    assert (count - OUTSIDERS_BURST) * verifying.cost_us <= seconds * OUTSIDERS_US_PER_SECOND
    assert count * verifying.cost_us >= 0.5 * seconds * OUTSIDERS_US_PER_SECOND


@pytest.mark.parametrize(("others", "left"), [(GROUPS_MAX - 1, 0), (GROUPS_MAX, OUTSIDERS_BURST - GROUP_BURST)])
def test_what_so_many_subnets_have_used_is_remembered(others: int, left: int) -> None:
    verifying = PuzzleBudgets(MEMORY_KIB)
    assert started(verifying, range(GROUP_BURST), b"one net") == GROUP_BURST
    for number in range(others):
        verifying.join(ALICE, f"net {number}".encode(), NOW)
    assert started(verifying, range(OUTSIDERS_BURST), b"one net") == left
