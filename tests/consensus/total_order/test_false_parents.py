"""Blocks that name a parent by a wrong round or author: they are told once, wait for the horizon, and stop nobody."""

import pytest

from consensus.effects import Accuse, Effect, Offence
from consensus.total_order.block import Reference
from consensus.total_order.dag import Dag
from consensus.total_order.messages import BlockMessage
from tests.consensus.total_order.forge import Forge, Forged, own_first, person
from tests.consensus.total_order.network import RULES
from tests.consensus.total_order.test_machine import FIRST, FORGE, MEMBERS, One, faults

UNKNOWN = b"u" * 32


def rounds_up_to(number: int) -> list[list[Forged]]:
    """Member 3 falls silent after round 1."""
    rounds = [FIRST]
    while len(rounds) < number:
        rounds.append([FORGE.on(author, rounds[-1][:3]) for author in (0, 1, 2)])
    return rounds


def watcher_of(rounds: list[list[Forged]]) -> One:
    """An observer that has these rounds."""
    one = One(who=person("watcher").id, answers=False)
    for blocks in rounds:
        one.show(*blocks, by=1)
    return one


def offences(effects: list[Effect]) -> list[Offence]:
    return [effect.accusation.offence for effect in effects if isinstance(effect, Accuse)]


def naming(rounds: list[list[Forged]], parent: Reference, author: int = 1, time_ms: int = 1) -> Forged:
    """A block on the newest round that names one parent more."""
    newest = [block.reference for block in rounds[-1][:3]]
    return FORGE.block(author, len(rounds) + 1, own_first(author, (*newest, parent)), time_ms=time_ms)


ROUNDS = rounds_up_to(4)
FALSE = {
    "round": Reference(3, 3, FIRST[3].digest),
    "author": Reference(1, 3, FIRST[0].digest),
}


@pytest.mark.parametrize("wrong", FALSE)
def test_a_parent_by_another_round_or_author_than_its_own_accuses_whoever_names_it(wrong: str) -> None:
    one = watcher_of(ROUNDS)
    assert offences(one.show(naming(ROUNDS, FALSE[wrong]))) == [Offence.WRONG_PARENTS]
    status = one.machine.status
    assert (status.round, status.suspended, status.missing) == (4, 1, 0)


def test_a_false_parent_is_told_once_however_often_the_block_comes() -> None:
    one = watcher_of(ROUNDS)
    false = naming(ROUNDS, FALSE["round"])
    assert offences(one.show(false)) == [Offence.WRONG_PARENTS]
    assert faults(one.show(false)) == []
    assert faults(one.show(false, by=2)) == []


def test_a_twin_of_a_block_with_a_false_parent_is_evidence_like_any_other() -> None:
    one = watcher_of(ROUNDS)
    one.show(naming(ROUNDS, FALSE["round"]))
    assert offences(one.show(naming(ROUNDS, ROUNDS[0][3].reference, time_ms=2))) == [Offence.EQUIVOCATION]


def test_what_builds_on_a_false_parent_waits_and_nothing_is_asked_for() -> None:
    one = watcher_of(ROUNDS)
    false = naming(ROUNDS, FALSE["round"])
    honest = [FORGE.on(author, ROUNDS[-1][:3]) for author in (0, 2)]
    one.show(false, *honest, by=1)
    one.show(FORGE.on(0, [*honest, false]), by=1)
    status = one.machine.status
    assert (status.round, status.suspended, status.missing) == (4, 2, 0)


LONG = rounds_up_to(2 * RULES.gc_depth)


def test_a_false_parent_counts_as_present_once_the_round_it_is_named_by_is_below_the_horizon() -> None:
    """So it does for those whose horizon was there before, and all see the same again."""
    one = watcher_of(LONG[:20])
    one.show(naming(LONG[:20], Reference(12, 3, FIRST[3].digest), author=3), by=1)
    assert one.machine.status.suspended == 1
    for blocks in LONG[20:]:
        one.show(*blocks, by=1)
    status = one.machine.status
    assert status.horizon >= 12
    assert (status.suspended, status.suspended_released, status.suspended_dropped) == (0, 1, 0)


@pytest.mark.parametrize("rounds", [(5, 12), (12, 5)])
def test_an_unknown_parent_that_is_named_by_two_rounds_is_missed_until_the_horizon_has_passed_each(
    rounds: tuple[int, int],
) -> None:
    one = watcher_of(LONG[:21])
    for number, named in zip((20, 21), rounds, strict=True):
        assert faults(one.show(naming(LONG[:number], Reference(named, 3, UNKNOWN), author=3), by=1)) == []
    waiting = set()
    for blocks in LONG[21:]:
        one.show(*blocks, by=2)
        status = one.machine.status
        waiting.add((status.horizon >= 5, status.horizon >= 12, status.suspended))
    assert waiting == {(False, False, 2), (True, False, 1), (True, True, 0)}


@pytest.mark.parametrize("rounds", [(5, 8), (8, 5)])
def test_a_block_that_names_an_unknown_parent_by_two_rounds_waits_for_the_higher(rounds: tuple[int, int]) -> None:
    forge = Forge(7)
    dag = Dag(forge.committee)
    newest = [Reference(8, author, bytes([author]) * 32) for author in range(5)]
    twice = [Reference(number, author, UNKNOWN) for number, author in zip(rounds, (5, 6), strict=True)]
    block = forge.block(0, 9, (*newest, *twice))
    assert dag.add(block.digest, block.block, set()) == []
    assert dag.prune(7) == ([], [])
    assert UNKNOWN in {reference.digest for reference in dag.wanted()}
    assert [vertex.digest for vertex in dag.prune(8)[1]] == [block.digest]
    assert list(dag.wanted()) == []


def test_a_block_of_the_far_future_is_not_kept_because_a_false_name_wants_it() -> None:
    """Each such block would name the next, and none of them would ever fall below the horizon."""
    one = watcher_of(ROUNDS)
    own = Reference(2**39, 3, UNKNOWN)
    others = [Reference(2**39, author, bytes([author]) * 32) for author in (0, 1)]
    far = FORGE.block(3, 2**39 + 1, (own, *others))
    one.show(naming(ROUNDS, Reference(4, 3, far.digest), author=3))
    assert one.machine.status.missing == 1
    assert offences(one.say(MEMBERS[3].id, BlockMessage(far.block))) == [Offence.WRONG_PARENTS]
    status = one.machine.status
    assert (status.suspended, status.missing) == (1, 0)


def test_a_missing_block_is_named_rightly_by_its_own_round_and_author_alone() -> None:
    """What a kept block names so is kept however far ahead it lies: blocks of a range of commits do."""
    forge = Forge(4)
    dag = Dag(forge.committee)
    parents = [Reference(2**39, author, bytes([author]) * 32) for author in (0, 1, 2)]
    block = forge.block(0, 2**39 + 1, parents)
    dag.add(block.digest, block.block, set())
    assert dag.is_missed_as(parents[1])
    assert not dag.is_missed_as(Reference(2**39 - 1, 1, parents[1].digest))
    assert not dag.is_missed_as(Reference(2**39, 2, parents[1].digest))
