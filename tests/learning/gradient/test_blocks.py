"""What a change of the workers does to what they have submitted.

Contributions wait in the order in which they came, and nobody can fill the room of the others.
"""

from dataclasses import replace

import numpy as np
import pytest

from learning.gradient.blocks import (
    PENDING_MAX,
    PENDING_PER_AUTHOR_MAX,
    BlockState,
    BlockTransition,
    UnlistedContribution,
    UnlistedContributions,
)
from learning.gradient.ledger import AggregationState, Aggregator, GradientSubmission, PastModel, first_ledger
from learning.learner import AuthoredPayload
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


NONE_LISTED: frozenset[bytes] = frozenset()


def waiting(author: int, base: int) -> UnlistedContribution:
    digest = author.to_bytes(16, "big") + base.to_bytes(16, "big")
    return UnlistedContribution(
        AuthoredPayload(digest, author.to_bytes(32, "big"), bytes(32), b""),
        GradientSubmission(base, base.to_bytes(32, "big"), bytes(32), 1),
    )


def test_contributions_come_back_in_their_order() -> None:
    pending, items = UnlistedContributions(), [waiting(3, 1), waiting(1, 1), waiting(2, 5)]
    assert all(pending.add(item, NONE_LISTED) for item in items)
    assert list(pending) == items


def test_of_one_author_on_one_model_the_first_waits() -> None:
    pending = UnlistedContributions()
    first = waiting(1, 1)
    second = UnlistedContribution(AuthoredPayload(b"2" * 32, first.contribution.author, bytes(32), b""), first.submission)
    assert [pending.add(first, NONE_LISTED), pending.add(second, NONE_LISTED)] == [True, False]
    assert list(pending) == [first]
    assert pending.add(second, frozenset({first.contribution.digest})), "the model was opened to its author once more"


def test_an_author_has_room_for_a_few() -> None:
    pending = UnlistedContributions()
    assert [pending.add(waiting(1, base), NONE_LISTED) for base in range(20)] == [
        base < PENDING_PER_AUTHOR_MAX for base in range(20)
    ]
    assert pending.add(waiting(2, 0), NONE_LISTED)


def test_the_room_is_bounded() -> None:
    pending = UnlistedContributions()
    added = [pending.add(waiting(author, 0), NONE_LISTED) for author in range(300)]
    assert (sum(added), len(pending)) == (PENDING_MAX, PENDING_MAX)


def test_what_is_not_kept_makes_room() -> None:
    pending = UnlistedContributions()
    for base in range(PENDING_PER_AUTHOR_MAX):
        pending.add(waiting(1, base), NONE_LISTED)
    pending.keep(lambda known: known != waiting(1, 0))
    assert waiting(1, 0).contribution.digest not in pending
    assert pending.add(waiting(1, 100), NONE_LISTED)


def test_what_is_listed_makes_room_for_what_is_not_the_oldest_first() -> None:
    pending, own = UnlistedContributions(), [waiting(1, base) for base in range(PENDING_PER_AUTHOR_MAX)]
    assert all(pending.add(item, NONE_LISTED) for item in own)
    listed = frozenset(item.contribution.digest for item in own[2:4])
    newer = [waiting(1, 100 + turn) for turn in range(3)]
    assert [pending.add(item, listed) for item in newer] == [True, True, False]
    assert list(pending) == [*own[:2], *own[4:], *newer[:2]]


def test_what_others_have_listed_makes_room_where_all_is_full() -> None:
    pending, items = UnlistedContributions(), [waiting(author, 0) for author in range(PENDING_MAX)]
    assert all(pending.add(item, NONE_LISTED) for item in items)
    assert pending.add(waiting(PENDING_MAX, 0), frozenset({items[7].contribution.digest}))
    assert (len(pending), items[7].contribution.digest in pending) == (PENDING_MAX, False)
