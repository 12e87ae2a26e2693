"""Only branches that may soon be the head cost anything: verified when pushed, passed on, checked.

A fork far below may be dated so that its puzzles are nearly free, and a check on an old parent costs a learner many states.
"""

from consensus.effects import Broadcast, Check, Effect, VerifyPuzzle
from consensus.proof_of_work.head_candidates import CONTENDERS_BACK
from consensus.proof_of_work.messages import GetHeaders, Headers
from consensus.types import StepId
from tests.consensus.proof_of_work.bench import OTHER, Bench, of_type, sent
from tests.consensus.proof_of_work.forge import Forge, Forged, person
from tests.consensus.proof_of_work.test_unproven import later, tip_of

FORGE = Forge()
MALLORY = person("mallory")
CHAIN = FORGE.branch(FORGE.genesis, person("alice"), 11)
FORK = 3
BRANCH = FORGE.branch(CHAIN[FORK - 1].link, MALLORY, 12, claim=b"another")
CATCHES_UP = len(CHAIN) - CONTENDERS_BACK - FORK
"""The block of the branch with which it has enough work."""


def checked(effects: tuple[Effect, ...]) -> list[StepId]:
    return [effect.step.id for effect in of_type(effects, Check)]


def ids(branch: tuple[Forged, ...]) -> list[StepId]:
    return [forged.id for forged in branch]


def headers_of(branch: tuple[Forged, ...]) -> Headers:
    return Headers(tuple(forged.block.header for forged in branch))


def test_blocks_pushed_on_old_parents_are_neither_verified_nor_passed_on_nor_checked() -> None:
    bench = Bench()
    bench.push(*CHAIN)
    effects: tuple[Effect, ...] = ()
    for height in range(len(CHAIN) - CONTENDERS_BACK - 2):
        effects += bench.push(FORGE.child(CHAIN[height].link, MALLORY, claim=b"old"), peer=OTHER.id)
    effects += later(bench, 60_000)
    assert (of_type(effects, VerifyPuzzle), of_type(effects, Broadcast), checked(effects)) == ([], [], [])


def test_blocks_close_to_the_head_are_checked() -> None:
    bench = Bench()
    bench.push(*CHAIN)
    for parent in CHAIN[-CONTENDERS_BACK - 2 :]:
        beside = FORGE.child(parent.link, MALLORY, claim=b"new")
        assert checked(bench.push(beside, peer=OTHER.id)) == [beside.id]


def test_headers_that_end_far_behind_the_head_are_not_verified_and_soon_asked_for_again() -> None:
    bench = Bench()
    bench.push(*CHAIN)
    lie = tip_of(BRANCH[-1])
    assert len(sent(bench.receive(lie), GetHeaders)) == 1
    effects = bench.receive(headers_of(BRANCH[: CATCHES_UP - 1]))
    assert of_type(effects, VerifyPuzzle) == []
    bench.receive(lie)
    assert len(sent(later(bench, 3_000), GetHeaders)) == 1
    assert of_type(bench.receive(headers_of(BRANCH)), VerifyPuzzle) != []


def test_a_branch_whose_end_was_pushed_before_its_parents_were_known_is_adopted() -> None:
    """As after a short split: each side pushes what it has, and then tells the headers below it. Else neither would follow."""
    bench = Bench()
    bench.push(*CHAIN)
    effects = bench.push(*reversed(BRANCH), peer=OTHER.id)
    assert len(sent(effects, GetHeaders)) == 1
    effects = bench.receive(headers_of(BRANCH[:-1]), OTHER.id)
    assert len(of_type(effects, VerifyPuzzle)) == len(BRANCH)
    bench.push(*BRANCH, peer=OTHER.id)
    assert bench.machine.status.head == BRANCH[-1].id


def test_a_branch_is_checked_from_its_fork_on_once_it_has_caught_up_and_then_adopted() -> None:
    bench = Bench()
    bench.push(*CHAIN)
    bench.receive(tip_of(BRANCH[-1]))
    bench.receive(headers_of(BRANCH[:CATCHES_UP]))
    effects: tuple[Effect, ...] = ()
    for forged in BRANCH[:CATCHES_UP]:
        effects += bench.push(forged, peer=OTHER.id)
    assert checked(effects) == ids(BRANCH[:CATCHES_UP])
    bench.push(*BRANCH[CATCHES_UP:], peer=OTHER.id)
    assert bench.machine.status.head == BRANCH[-1].id


def test_a_branch_whose_headers_show_that_it_is_heavier_is_checked_from_its_first_body_on() -> None:
    bench = Bench()
    bench.push(*CHAIN)
    bench.receive(tip_of(BRANCH[-1]))
    bench.receive(headers_of(BRANCH))
    assert checked(bench.push(BRANCH[0], peer=OTHER.id)) == [BRANCH[0].id]


def test_bodies_of_a_branch_that_has_fallen_behind_wait_until_it_catches_up() -> None:
    bench = Bench()
    bench.push(*CHAIN[:5])
    bench.receive(tip_of(BRANCH[3]))
    bench.receive(headers_of(BRANCH[:4]))
    bench.push(*CHAIN[5:])
    assert checked(bench.push(*BRANCH[:4], peer=OTHER.id)) == []
    bench.receive(tip_of(BRANCH[-1]))
    assert checked(bench.receive(headers_of(BRANCH[4:]))) == ids(BRANCH[:4])
    bench.push(*BRANCH[4:], peer=OTHER.id)
    assert bench.machine.status.head == BRANCH[-1].id
