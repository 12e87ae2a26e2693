"""Only branches that may soon be the head are checked: a block on an old parent costs one puzzle, its check many states."""

from consensus.proof_of_work.messages import Headers
from consensus.proof_of_work.verdicts import CONTENDERS_BACK
from consensus.protocol import Check, Effect
from consensus.types import StepId
from tests.consensus.proof_of_work.bench import OTHER, Bench, of_type
from tests.consensus.proof_of_work.forge import RULES, Forge, Forged, person
from tests.consensus.proof_of_work.test_unproven import later, tip_of

FORGE = Forge()
MALLORY = person("mallory")
CHAIN = FORGE.branch(FORGE.genesis, person("alice"), 11)
FORK = 3
BRANCH = FORGE.branch(CHAIN[FORK - 1].link, MALLORY, 12, claim=b"another")
assert len(CHAIN) < RULES.finality_depth
CATCHES_UP = len(CHAIN) - CONTENDERS_BACK - FORK
"""The block of the branch with which it has enough work."""


def checked(effects: tuple[Effect, ...]) -> list[StepId]:
    return [effect.step.id for effect in of_type(effects, Check)]


def ids(branch: tuple[Forged, ...]) -> list[StepId]:
    return [forged.id for forged in branch]


def test_blocks_on_old_parents_are_not_checked() -> None:
    bench = Bench()
    bench.push(*CHAIN)
    effects: tuple[Effect, ...] = ()
    for height in range(len(CHAIN) - CONTENDERS_BACK - 2):
        effects += bench.push(FORGE.child(CHAIN[height].link, MALLORY, claim=b"old"), peer=OTHER.id)
    assert checked(effects + later(bench, 60_000)) == []


def test_blocks_close_to_the_head_are_checked() -> None:
    bench = Bench()
    bench.push(*CHAIN)
    for parent in CHAIN[-CONTENDERS_BACK - 2 :]:
        beside = FORGE.child(parent.link, MALLORY, claim=b"new")
        assert checked(bench.push(beside, peer=OTHER.id)) == [beside.id]


def test_a_branch_is_checked_from_its_fork_on_once_it_has_caught_up_and_then_adopted() -> None:
    bench = Bench()
    bench.push(*CHAIN)
    assert checked(bench.push(*BRANCH[: CATCHES_UP - 1], peer=OTHER.id)) == []
    assert checked(bench.push(BRANCH[CATCHES_UP - 1], peer=OTHER.id)) == ids(BRANCH[:CATCHES_UP])
    bench.push(*BRANCH[CATCHES_UP:], peer=OTHER.id)
    assert bench.machine.status.head == BRANCH[-1].id


def test_a_branch_whose_headers_show_that_it_is_heavier_is_checked_from_its_first_body_on() -> None:
    bench = Bench()
    bench.push(*CHAIN)
    bench.receive(tip_of(BRANCH[-1]))
    bench.receive(Headers(tuple(forged.block.header for forged in BRANCH)))
    assert checked(bench.push(BRANCH[0], peer=OTHER.id)) == [BRANCH[0].id]


def test_what_was_behind_before_a_restart_is_asked_for_again_when_it_has_caught_up() -> None:
    bench = Bench()
    bench.push(*CHAIN)
    bench.push(*BRANCH[:2], peer=OTHER.id)
    again = Bench(records=bench.records)
    again.push(*BRANCH, peer=OTHER.id)
    assert again.machine.status.head == BRANCH[-1].id
