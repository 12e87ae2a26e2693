"""How a block of our own comes about."""

from consensus.effects import Adopt, Assess, Broadcast, Check, Record, SolvePuzzle, StopPuzzle
from consensus.encoding import encode
from consensus.proof_of_work.header import Block, body_digest
from consensus.proof_of_work.messages import MESSAGE_CODEC, BlockMessage
from consensus.proof_of_work.mining import REFRESH_TIMER
from consensus.proof_of_work.puzzle import is_solved
from consensus.protocol import Assessed, Checked, Offered, PuzzleSolved, Submitted, TimerFired
from consensus.steps import Verdict
from consensus.types import Digest, Instant, StepId
from tests.consensus.proof_of_work.bench import OTHER, Bench, of_type
from tests.consensus.proof_of_work.forge import NETWORK, RULES, Forge, person, state_after

FORGE = Forge()
ALICE = person("alice")
GENESIS = FORGE.genesis.id


def offer(base: StepId = GENESIS, contributions: tuple[Digest, ...] = (), claim: bytes = b"") -> Offered:
    return Offered(base, contributions, claim, state_after(base))


def leading() -> Bench:
    return Bench(is_leading=True, judge=None)


def block_of(effects) -> Block:
    (broadcast,) = of_type(effects, Broadcast)
    message = MESSAGE_CODEC.decode(broadcast.message)
    assert isinstance(message, BlockMessage)
    return message.block


def test_an_offer_becomes_a_puzzle_and_a_solution_a_recorded_signed_block_to_be_checked() -> None:
    bench = leading()
    (puzzle,) = of_type(bench.feed(offer(claim=b"better")), SolvePuzzle)
    effects = bench.feed(PuzzleSolved(puzzle.prefix, 7))
    assert [type(effect) for effect in effects] == [Record, Broadcast, Check, StopPuzzle]
    block = block_of(effects)
    assert block.header.leader == bench.me.id
    assert block.header.body == body_digest(NETWORK, block.body)
    assert block.body.claim == b"better"
    assert is_solved(puzzle.prefix, 7, puzzle.target, RULES.puzzle_memory_kib)
    assert Bench().receive(BlockMessage(block))[-1] == Adopt(of_type(effects, Check)[0].step.id, 1)


def test_our_own_block_becomes_the_head_when_the_learner_has_answered() -> None:
    bench = leading()
    (puzzle,) = of_type(bench.feed(offer()), SolvePuzzle)
    (check,) = of_type(bench.feed(PuzzleSolved(puzzle.prefix, 7)), Check)
    assert of_type(bench.feed(offer()), SolvePuzzle) == []
    effects = bench.feed(Checked(check.step.id, Verdict.GOOD, is_proven_lie=False, detail=""))
    assert of_type(effects, Adopt) == [Adopt(check.step.id, check.step.height)]
    assert bench.machine.status.blocks_led == 1
    assert len(of_type(bench.feed(offer(check.step.id)), SolvePuzzle)) == 1


def test_a_block_of_ours_that_the_learner_contests_is_not_tried_again_until_there_is_a_new_offer() -> None:
    bench = leading()
    (puzzle,) = of_type(bench.feed(offer()), SolvePuzzle)
    (check,) = of_type(bench.feed(PuzzleSolved(puzzle.prefix, 7)), Check)
    assert of_type(bench.feed(Checked(check.step.id, Verdict.CONTESTED, is_proven_lie=True, detail="")), SolvePuzzle) == []
    assert len(of_type(bench.feed(offer(claim=b"new")), SolvePuzzle)) == 1


def test_an_offer_for_the_head_outlives_the_verdict_on_a_block_of_ours_that_lost_the_race() -> None:
    bench = leading()
    (puzzle,) = of_type(bench.feed(offer()), SolvePuzzle)
    (ours,) = of_type(bench.feed(PuzzleSolved(puzzle.prefix, 7)), Check)
    theirs = FORGE.branch(FORGE.genesis, ALICE, 2)
    bench.push(*theirs)
    for forged in theirs:
        bench.feed(Checked(forged.id, Verdict.GOOD, is_proven_lie=False, detail=""))
    assert of_type(bench.feed(offer(theirs[1].id)), SolvePuzzle) == []
    effects = bench.feed(Checked(ours.step.id, Verdict.GOOD, is_proven_lie=False, detail=""))
    assert len(of_type(effects, SolvePuzzle)) == 1


def test_offers_for_another_step_or_of_unknown_contributions_are_ignored() -> None:
    bench = leading()
    assert bench.feed(offer(StepId(b"x" * 32))) == ()
    assert bench.feed(offer(contributions=(Digest(b"x" * 32),))) == ()


def test_a_contribution_is_listed_once_it_is_assessed() -> None:
    bench = leading()
    (assess,) = of_type(bench.feed(Submitted(GENESIS, b"recipe")), Assess)
    assert bench.feed(offer(contributions=(assess.digest,))) == ()
    bench.feed(Assessed(assess.digest, Verdict.GOOD, is_useful=True, detail=""))
    (puzzle,) = of_type(bench.feed(offer(contributions=(assess.digest,))), SolvePuzzle)
    block = block_of(bench.feed(PuzzleSolved(puzzle.prefix, 1)))
    assert block.body.contributions == (assess.contribution,)


def test_a_new_offer_replaces_the_puzzle_and_a_solution_of_the_old_one_still_counts() -> None:
    bench = leading()
    (old,) = of_type(bench.feed(offer(claim=b"old")), SolvePuzzle)
    (new,) = of_type(bench.feed(offer(claim=b"new")), SolvePuzzle)
    assert old.prefix != new.prefix
    assert block_of(bench.feed(PuzzleSolved(old.prefix, 3))).body.claim == b"old"


def test_a_new_head_stops_the_puzzle_and_voids_its_solution() -> None:
    bench = leading()
    (puzzle,) = of_type(bench.feed(offer()), SolvePuzzle)
    forged = FORGE.child(FORGE.genesis, ALICE)
    bench.push(forged)
    effects = bench.feed(Checked(forged.id, Verdict.GOOD, is_proven_lie=False, detail=""))
    assert len(of_type(effects, StopPuzzle)) == 1
    assert bench.feed(PuzzleSolved(puzzle.prefix, 3)) == ()


def test_the_time_is_renewed() -> None:
    bench = leading()
    (before,) = of_type(bench.feed(offer()), SolvePuzzle)
    bench.now = Instant(bench.now + 1_000)
    (after,) = of_type(bench.feed(TimerFired(REFRESH_TIMER)), SolvePuzzle)
    assert before.prefix != after.prefix
    assert block_of(bench.feed(PuzzleSolved(after.prefix, 3))).header.time_ms == bench.now


def test_a_clock_that_lags_behind_the_chain_still_gives_a_time_after_the_median() -> None:
    bench = leading()
    forged = FORGE.child(FORGE.genesis, ALICE, time_ms=bench.now + 3_000)
    bench.push(forged)
    bench.feed(Checked(forged.id, Verdict.GOOD, is_proven_lie=False, detail=""))
    (puzzle,) = of_type(bench.feed(offer(forged.id)), SolvePuzzle)
    assert block_of(bench.feed(PuzzleSolved(puzzle.prefix, 3))).header.time_ms == bench.now + 3_001


def test_an_observer_never_mines() -> None:
    assert of_type(Bench(is_leading=False).feed(offer()), SolvePuzzle) == []


def test_our_own_block_comes_back_from_a_peer_unnoticed() -> None:
    bench = leading()
    (puzzle,) = of_type(bench.feed(offer()), SolvePuzzle)
    block = block_of(bench.feed(PuzzleSolved(puzzle.prefix, 7)))
    assert bench.receive(BlockMessage(block), OTHER.id) == ()
    assert encode(block) in bench.records.tables.values()
