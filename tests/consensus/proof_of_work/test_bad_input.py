"""What a peer may do wrong, and what becomes of it."""

import msgspec
import pytest
from msgspec import structs

from consensus.effects import Accuse, Adopt, Assess, Broadcast, Check, FetchAttachment, Offence, PassOver, VerifyPuzzle
from consensus.encoding import encode
from consensus.proof_of_work import machine, peers
from consensus.proof_of_work.header import BLOCK_BYTES_MAX, BLOCK_CODEC, Block, Body
from consensus.proof_of_work.mempool import ASSESSED_BURST, QUEUED_PER_SOURCE_MAX
from consensus.proof_of_work.messages import (
    MESSAGE_BYTES_MAX,
    BlockMessage,
    Blocks,
    ContributionMessage,
    GetBlocks,
    GetHeaders,
    Headers,
    Place,
    Tip,
)
from consensus.proof_of_work.records import block_key
from consensus.proof_of_work.unverified_headers import EARLY_MAX, ORPHANS_MAX, ORPHANS_PER_PEER_MAX
from consensus.protocol import (
    Assessed,
    AttachmentHeld,
    Checked,
    PeerJoined,
    PuzzleVerified,
    Received,
    StateHeld,
    StateReached,
    TimerFired,
)
from consensus.rate_limit import Spending, TokenBucket
from consensus.steps import PAYLOAD_BYTES_MAX, Attachment, Verdict, contribution_digest, sign_contribution
from consensus.types import Digest, Instant, NetworkId, StepId
from tests.consensus.proof_of_work.bench import OTHER, PEER, Answer, Bench, accusations, of_type, refusals, sent
from tests.consensus.proof_of_work.forge import NETWORK, RULES, Forge, person, resigned

FORGE = Forge()
ALICE = person("alice")
CHAIN = FORGE.branch(FORGE.genesis, ALICE, 20)
PARENT = CHAIN[2].link
NEXT = CHAIN[3]


def bench(**more) -> Bench:
    made = Bench(**more)
    made.push(*CHAIN[:3])
    assert made.machine.status.height == 3
    return made


# --- bytes ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xc1",
        encode(BlockMessage(NEXT.block))[:-1],
        encode(BlockMessage(NEXT.block)) + b"\x00",
        msgspec.msgpack.encode([99, 1]),
        msgspec.msgpack.encode([2, b"x" * 32, 1, b"x" * 40, "and more"]),
        msgspec.msgpack.encode([2, b"x" * 31, 1, b"x" * 40]),
        msgspec.msgpack.encode([2, b"x" * 32, -1, b"x" * 40]),
        encode(Tip(b"x" * 32, 5, bytes(40))).replace(b"\x05", b"\xcd\x00\x05"),
        b"\x91" * 5_000,
    ],
)
def test_malformed_bytes_are_refused(data: bytes) -> None:
    assert refusals(bench().feed(Received(PEER.id, data))) == [(PEER.id, Offence.MALFORMED)]


def test_an_oversized_message_is_refused_unread() -> None:
    effects = bench().feed(Received(PEER.id, bytes(MESSAGE_BYTES_MAX + 1)))
    assert refusals(effects) == [(PEER.id, Offence.OVERSIZED)]


def test_an_oversized_block_is_refused() -> None:
    contributions = tuple(
        sign_contribution(NETWORK, ALICE.id, PARENT.id, bytes([index]) * PAYLOAD_BYTES_MAX, ALICE.sign) for index in range(9)
    )
    body = FORGE.body(PARENT, contributions)
    block = FORGE.seal(FORGE.draft(PARENT, ALICE, body), body, ALICE)
    assert len(encode(block)) > BLOCK_BYTES_MAX
    assert refusals(bench().receive(BlockMessage(block))) == [(PEER.id, Offence.OVERSIZED)]


def test_who_was_refused_is_heard_no_more() -> None:
    made = bench()
    made.feed(Received(PEER.id, b""))
    assert made.push(NEXT) == (PassOver(),), "another may bring it"
    made.feed(PeerJoined(PEER.id))
    assert made.push(NEXT) != ()


# --- headers --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "offence"),
    [
        ({"height": 9}, Offence.WRONG_HEIGHT),
        ({"target": 2**255}, Offence.WRONG_TARGET),
        ({"time_ms": PARENT.next_time_min - 1}, Offence.WRONG_TIME),
    ],
)
def test_a_header_against_the_rules_accuses_its_leader_and_refuses_its_sender(changes: dict, offence: Offence) -> None:
    block = FORGE.bent(PARENT, ALICE, **changes)
    effects = bench().receive(BlockMessage(block))
    assert refusals(effects) == [(PEER.id, offence)]
    assert [effect.accusation.evidence for effect in of_type(effects, Accuse)] == [encode(block.header)]
    assert accusations(effects) == [(ALICE.id, offence)]
    assert of_type(effects, VerifyPuzzle) == []


def test_a_header_that_its_leader_did_not_sign_accuses_nobody() -> None:
    effects = bench().receive(BlockMessage(resigned(NEXT.block, bytes(64))))
    assert (refusals(effects), accusations(effects)) == ([(PEER.id, Offence.WRONG_SIGNATURE)], [])


def test_a_header_of_another_network_is_not_signed_for_this_one() -> None:
    elsewhere = Forge(network_id=NetworkId(b"m" * 32))
    body = FORGE.body(PARENT)
    block = elsewhere.seal(FORGE.draft(PARENT, ALICE, body), body, ALICE)
    assert refusals(bench().receive(BlockMessage(block))) == [(PEER.id, Offence.WRONG_SIGNATURE)]


def unsolved_bench() -> tuple[Bench, Block, StepId]:
    hard = structs.replace(RULES, start_attempts=2**40)
    forge = Forge(hard)
    body = forge.body(forge.genesis)
    block = forge.seal(forge.draft(forge.genesis, ALICE, body), body, ALICE, is_solved=False)
    return Bench(hard), block, forge.forged(forge.genesis, block).id


def test_an_unsolved_puzzle_is_refused_and_never_computed_again() -> None:
    made, block, _ = unsolved_bench()
    effects = made.receive(BlockMessage(block))
    assert (refusals(effects), accusations(effects)) == (
        [(PEER.id, Offence.WRONG_PUZZLE)],
        [(ALICE.id, Offence.WRONG_PUZZLE)],
    )
    again = made.receive(BlockMessage(block), OTHER.id)
    assert (refusals(again), of_type(again, VerifyPuzzle)) == ([(OTHER.id, Offence.WRONG_PUZZLE)], [])


def test_a_block_from_the_future_waits_and_is_taken_when_its_time_has_come() -> None:
    made = bench()
    early = FORGE.child(PARENT, ALICE, time_ms=made.now + RULES.future_limit_ms + 1)
    assert made.push(early) == ()
    made.now = Instant(made.now + 1)
    made.feed(TimerFired(machine.SYNC_TIMER))
    assert made.machine.status.head == early.id


def test_a_block_from_the_near_future_is_taken() -> None:
    made = bench()
    early = FORGE.child(PARENT, ALICE, time_ms=made.now + RULES.future_limit_ms)
    made.push(early)
    assert made.machine.status.head == early.id


# --- bodies ---------------------------------------------------------------------------------------------------------


def test_a_foreign_body_is_the_senders_fault_alone() -> None:
    effects = bench().receive(BlockMessage(Block(NEXT.block.header, Body((), b"other", NEXT.block.body.state_digest))))
    assert (refusals(effects), accusations(effects)) == ([(PEER.id, Offence.WRONG_BODY)], [])


def spoiled(spoil) -> Block:
    """A sound block but for its contributions."""
    body = FORGE.body(PARENT, spoil)
    return FORGE.seal(FORGE.draft(PARENT, ALICE, body), body, ALICE)


GOOD = sign_contribution(NETWORK, ALICE.id, PARENT.id, b"good", ALICE.sign)
HEAVY = sign_contribution(NETWORK, ALICE.id, PARENT.id, b"", ALICE.sign, attachments=(Attachment(bytes(32), 1),))
STALE = sign_contribution(NETWORK, ALICE.id, CHAIN[0].id, b"good", ALICE.sign)


@pytest.mark.parametrize(
    ("contributions", "offence"),
    [
        ((GOOD, STALE), Offence.WRONG_BASE),
        ((GOOD, GOOD), Offence.WRONG_BODY),
        ((msgspec.structs.replace(GOOD, payload=b"other"),), Offence.WRONG_SIGNATURE),
    ],
)
def test_bad_contributions_accuse_the_leader_who_listed_them(contributions, offence: Offence) -> None:
    block = spoiled(contributions)
    effects = bench().receive(BlockMessage(block))
    assert (refusals(effects), accusations(effects)) == ([(PEER.id, offence)], [(ALICE.id, offence)])
    assert of_type(effects, Accuse)[0].accusation.evidence == encode(block)
    assert (of_type(effects, Broadcast), of_type(effects, Check)) == ([], [])


def test_what_names_more_payloads_than_the_rules_allow_is_refused_and_nothing_is_fetched() -> None:
    light = structs.replace(RULES, attachments_max=0)
    made = Bench(light)
    made.push(*CHAIN[:3])
    effects = made.receive(BlockMessage(spoiled((HEAVY,))))
    assert (refusals(effects), accusations(effects)) == ([(PEER.id, Offence.WRONG_BODY)], [(ALICE.id, Offence.WRONG_BODY)])
    effects += made.receive(ContributionMessage(HEAVY), OTHER.id)
    assert refusals(effects)[1:] == [(OTHER.id, Offence.MALFORMED)]
    assert of_type(effects, FetchAttachment) == []
    assert len(of_type(bench().receive(ContributionMessage(HEAVY)), FetchAttachment)) == 1


def test_blocks_without_work_that_are_dated_ahead_push_out_nobody_else_s() -> None:
    made = bench()
    honest = FORGE.child(PARENT, ALICE, time_ms=made.now + RULES.future_limit_ms + 300)
    made.push(honest)
    for number in range(EARLY_MAX):
        body = FORGE.body(PARENT, claim=number.to_bytes(2, "big"))
        far = FORGE.draft(PARENT, ALICE, body, made.now + RULES.future_limit_ms + 60_000)
        made.receive(BlockMessage(FORGE.seal(far, body, ALICE, is_solved=False)), OTHER.id)
    made.now = Instant(made.now + 500)
    made.feed(TimerFired("sync"))
    assert made.machine.status.head == honest.id


def test_a_block_that_lists_more_than_the_rules_allow_is_neither_recorded_nor_passed_on() -> None:
    """Else who leads one in vain would have everybody keep 32 kB of anything for it."""
    listed = tuple(contribution_of(payload=bytes([number])) for number in range(2))
    for allowed, offences in ((2, []), (1, [(PEER.id, Offence.WRONG_BODY)])):
        made = Bench(structs.replace(RULES, contributions_max=allowed))
        made.push(*CHAIN[:3])
        records = len(made.records.journal)
        effects = made.receive(BlockMessage(spoiled(listed)))
        assert refusals(effects) == offences
        assert (len(made.records.journal) == records, of_type(effects, Broadcast) == []) == (bool(offences), bool(offences))


def test_a_body_with_a_signature_of_someone_else_is_not_recorded() -> None:
    made = bench()
    made.receive(Tip(CHAIN[-1].id, 20, (100).to_bytes(40, "big")))
    made.receive(Headers((NEXT.block.header,)))
    effects = made.receive(BlockMessage(resigned(NEXT.block, bytes(64))), OTHER.id)
    assert refusals(effects) == [(OTHER.id, Offence.WRONG_SIGNATURE)]
    assert of_type(made.push(NEXT), Adopt) == [Adopt(NEXT.id, NEXT.link.height)]
    assert made.records.block(block_key(NEXT.link.height, NEXT.id)) == encode(NEXT.block)


# --- verdicts -------------------------------------------------------------------------------------------------------


def test_an_invalid_step_accuses_its_leader_but_spares_who_passed_it_on() -> None:
    made = bench()
    made.judge = lambda step: Answer(Verdict.INVALID, detail="another state digest")
    effects = made.push(NEXT)
    assert (refusals(effects), accusations(effects)) == ([], [(ALICE.id, Offence.INVALID_STEP)])
    assert BLOCK_CODEC.decode(of_type(effects, Accuse)[0].accusation.evidence) == NEXT.block
    assert made.machine.status.head == PARENT.id


def test_an_invalid_step_from_its_leader_is_refused() -> None:
    made = bench()
    made.feed(PeerJoined(ALICE.id))
    made.judge = lambda step: Answer(Verdict.INVALID, detail="another state digest")
    assert refusals(made.push(NEXT, peer=ALICE.id)) == [(ALICE.id, Offence.INVALID_STEP)]


def test_nothing_is_built_on_an_invalid_step_and_it_is_passed_on_once_at_most() -> None:
    made = bench()
    made.judge = lambda step: Answer(Verdict.INVALID)
    assert len(of_type(made.push(NEXT), Broadcast)) == 1
    assert of_type(made.push(NEXT, CHAIN[4], peer=OTHER.id), Broadcast) == []
    assert made.machine.status.orphans == 0


@pytest.mark.parametrize("is_restarted", [False, True])
def test_a_branch_over_a_refuted_claim_is_not_built_on_before_it_is_as_long_as_what_is_final(is_restarted: bool) -> None:
    """With a third of the work a branch that is a few blocks longer is found every minute; one so long hardly ever."""
    made = bench()
    made.judge = lambda step: Answer(Verdict.REFUTED if step.claim == b"lie" else Verdict.GOOD)
    lie = FORGE.child(PARENT, ALICE, claim=b"lie")
    branch = FORGE.branch(lie.link, ALICE, RULES.finality_depth)
    made.push(lie, *branch[:-2])
    if is_restarted:
        made = Bench(records=made.records, judge=made.judge)
    heads = [made.machine.status.head]
    for forged in branch[-2:]:
        made.push(forged)
        heads.append(made.machine.status.head)
    assert heads == [PARENT.id, PARENT.id, branch[-1].id]


def test_a_contested_block_accuses_only_a_proven_liar() -> None:
    made = bench()
    made.judge = lambda step: Answer(Verdict.CONTESTED, is_proven_lie=step.claim == b"lie", detail="off by 10")
    effects = made.push(NEXT)
    assert (refusals(effects), accusations(effects)) == ([], [])
    lie = FORGE.child(PARENT, ALICE, claim=b"lie")
    effects = made.push(lie)
    assert (refusals(effects), accusations(effects)) == ([], [(ALICE.id, Offence.FALSE_CLAIM)])
    assert made.machine.status.blocks_contested == 2
    assert made.machine.status.head == PARENT.id


def test_an_answer_about_a_step_that_nobody_asked_about_is_ignored() -> None:
    assert bench().feed(Checked(StepId(b"x" * 32), Verdict.GOOD, is_proven_lie=False, detail="")) == ()
    assert bench().feed(PuzzleVerified(StepId(b"x" * 32), is_solved=False)) == ()


def test_inputs_of_total_order_and_a_payload_that_nobody_waits_for_are_ignored() -> None:
    events = (AttachmentHeld(Digest(bytes(32))), StateReached(PARENT.height, Digest(bytes(32))), StateHeld(PARENT.id, b""))
    assert [bench().feed(event) for event in events] == [(), (), ()]


# --- answers that nobody asked for ----------------------------------------------------------------------------------


@pytest.mark.parametrize("answer", [Headers(()), Headers((NEXT.block.header,)), Blocks(()), Blocks((NEXT.block,))])
def test_an_unsolicited_answer_is_refused(answer) -> None:
    assert refusals(bench().receive(answer)) == [(PEER.id, Offence.UNSOLICITED)]


def test_blocks_other_than_those_asked_for_are_refused() -> None:
    made = bench()
    made.receive(Tip(CHAIN[-1].id, 20, (100).to_bytes(40, "big")))
    effects = made.receive(Headers(tuple(forged.block.header for forged in CHAIN[3:6])))
    assert len(sent(effects, GetBlocks)) == 1
    assert refusals(made.receive(Blocks((CHAIN[7].block,)))) == [(PEER.id, Offence.UNSOLICITED)]


def test_headers_that_do_not_follow_one_another_are_refused() -> None:
    made = bench()
    made.receive(Tip(CHAIN[-1].id, 20, (100).to_bytes(40, "big")))
    effects = made.receive(Headers((CHAIN[3].block.header, CHAIN[5].block.header)))
    assert refusals(effects) == [(PEER.id, Offence.MALFORMED)]


# --- floods ---------------------------------------------------------------------------------------------------------


def test_orphans_are_bounded_and_their_sender_is_asked_for_headers_once() -> None:
    made = bench()
    orphans = FORGE.branch(CHAIN[9].link, ALICE, 100)
    effects = made.push(*orphans)
    assert made.machine.status.orphans == ORPHANS_PER_PEER_MAX
    assert [peer for peer, _ in sent(effects, GetHeaders)] == [PEER.id]
    for index in range(6):
        peer = person(f"peer {index}")
        made.feed(PeerJoined(peer.id))
        made.push(*orphans[16 * index : 16 * index + 16], peer=peer.id)
    assert made.machine.status.orphans == ORPHANS_MAX


def test_an_orphan_is_taken_when_its_parent_comes() -> None:
    made = bench()
    made.push(CHAIN[4], CHAIN[5])
    assert made.machine.status.orphans == 2
    made.push(NEXT)
    assert (made.machine.status.orphans, made.machine.status.head) == (0, CHAIN[5].id)


def test_a_flood_of_new_headers_is_first_ignored_then_refused() -> None:
    made = bench(verifies=True)
    made.verifies = False
    spam = [FORGE.child(PARENT, ALICE, claim=index.to_bytes(2, "big")) for index in range(600)]
    fates, passed_over = [], 0
    for forged in spam:
        effects = made.push(forged)
        fates.extend(refusals(effects))
        passed_over += PassOver() in effects
    assert fates == [(PEER.id, Offence.FLOODING)]
    assert passed_over >= len(spam) - peers.HEADERS_BURST, "what was not looked at may come from another"


def test_the_budget_for_headers_refills_with_time() -> None:
    budget = TokenBucket(burst=2, per_second=1, debt_max=peers.DEBT_MAX, now=Instant(0))
    spent = [budget.spend(Instant(at)) for at in (0, 0, 500, 1_000, 3_000, 3_000)]
    covered, over = Spending.COVERED, Spending.OVERDRAWN
    assert spent == [covered, covered, over, over, covered, over]


def test_puzzles_in_flight_are_bounded_per_peer() -> None:
    made = bench()
    made.verifies = False
    spam = [FORGE.child(PARENT, ALICE, claim=index.to_bytes(2, "big")) for index in range(30)]
    asked = of_type(made.push(*spam[:20]), VerifyPuzzle)
    assert len(asked) == 8
    assert len(of_type(made.push(*spam[20:], peer=OTHER.id), VerifyPuzzle)) == 1  # it has not proven anything yet
    effects = made.feed(PuzzleVerified(asked[0].step, is_solved=True))
    assert len(of_type(effects, VerifyPuzzle)) == 1


def test_a_flood_of_requests_is_first_ignored_then_refused() -> None:
    made = bench()
    request = GetHeaders((Place(0, FORGE.genesis.id),))
    answers = [made.receive(request) for _ in range(400)]
    assert sum(len(sent(effects, Headers)) for effects in answers) == peers.REQUESTS_BURST
    assert [refused for effects in answers for refused in refusals(effects)] == [(PEER.id, Offence.FLOODING)]


# --- contributions --------------------------------------------------------------------------------------------------


def contribution_of(who=ALICE, base=PARENT.id, payload=b"recipe"):
    return sign_contribution(NETWORK, who.id, base, payload, who.sign)


def test_a_contribution_that_its_author_did_not_sign_is_refused() -> None:
    forged = msgspec.structs.replace(contribution_of(), payload=b"other")
    assert refusals(bench().receive(ContributionMessage(forged))) == [(PEER.id, Offence.WRONG_SIGNATURE)]


@pytest.mark.parametrize("base", [b"x" * 32, FORGE.genesis.id])
def test_a_contribution_for_an_unknown_or_old_step_is_dropped(base: bytes) -> None:
    assert bench().receive(ContributionMessage(contribution_of(base=base))) == ()


def test_a_good_contribution_is_passed_on_once() -> None:
    made = bench()
    message = ContributionMessage(contribution_of())
    (assess,) = of_type(made.receive(message), Assess)
    effects = made.feed(Assessed(assess.digest, Verdict.GOOD, is_useful=True, detail=""))
    assert effects == (Broadcast(encode(message)),)
    assert made.receive(message, OTHER.id) == ()


def test_a_contribution_that_beats_nothing_is_not_passed_on() -> None:
    made = bench()
    (assess,) = of_type(made.receive(ContributionMessage(contribution_of())), Assess)
    assert made.feed(Assessed(assess.digest, Verdict.GOOD, is_useful=False, detail="")) == ()


@pytest.mark.parametrize(
    ("verdict", "detail", "accused"),
    [
        (Verdict.CONTESTED, "", []),
        (Verdict.CONTESTED, "claims 12, measured 7", [(ALICE.id, Offence.FALSE_CLAIM)]),
        (Verdict.INVALID, "an index twice", [(ALICE.id, Offence.INVALID_STEP)]),
    ],
)
@pytest.mark.parametrize("sender", [PEER, ALICE])
def test_a_false_contribution_is_its_authors_fault(verdict: Verdict, detail: str, accused: list, sender) -> None:
    """And its sender's: that of a claim that two honest measurements may differ on only where the sender is the author."""
    made = bench()
    made.feed(PeerJoined(ALICE.id))
    (assess,) = of_type(made.receive(ContributionMessage(contribution_of()), sender.id), Assess)
    effects = made.feed(Assessed(assess.digest, verdict, is_useful=False, detail=detail))
    assert accusations(effects) == accused
    is_refused = sender is ALICE or verdict is Verdict.INVALID
    assert refusals(effects) == [(sender.id, offence) for _, offence in accused if is_refused]


def test_who_passes_on_a_proven_lie_is_refused_like_its_author() -> None:
    made = bench()
    (assess,) = of_type(made.receive(ContributionMessage(contribution_of())), Assess)
    lie = Assessed(assess.digest, Verdict.CONTESTED, is_useful=False, detail="claims 10**9, measured 7", is_proven_lie=True)
    effects = made.feed(lie)
    assert (accusations(effects), refusals(effects)) == ([(ALICE.id, Offence.FALSE_CLAIM)], [(PEER.id, Offence.FALSE_CLAIM)])


def test_a_contribution_for_a_block_that_is_being_checked_waits_for_the_verdict() -> None:
    made = bench()
    made.judge = None
    made.push(NEXT)
    contribution = contribution_of(base=NEXT.id)
    assert made.receive(ContributionMessage(contribution)) == ()
    effects = made.feed(Checked(NEXT.id, Verdict.GOOD, is_proven_lie=False, detail=""))
    assert of_type(effects, Assess) == [Assess(contribution_digest(NETWORK, contribution), contribution)]


def test_a_flood_of_contributions_is_first_ignored_then_refused() -> None:
    made = Bench(structs.replace(RULES, author_window=0))
    made.push(*CHAIN[:5])
    assessed, passed_over = 0, 0
    refused: list[tuple] = []
    for index in range(1_000):
        message = ContributionMessage(contribution_of(person(str(index)), payload=index.to_bytes(2, "big")))
        effects = made.receive(message)
        refused += refusals(effects)
        passed_over += PassOver() in effects
        for asked in of_type(effects, Assess):
            assessed += 1
            made.feed(Assessed(asked.digest, Verdict.GOOD, is_useful=True, detail=""))
    assert (assessed, refused) == (ASSESSED_BURST, [(PEER.id, Offence.FLOODING)])
    assert passed_over == 1_000 - ASSESSED_BURST - QUEUED_PER_SOURCE_MAX


def test_one_contribution_under_ever_new_signatures_is_a_flood_too() -> None:
    """What is signed names it, so it is known; but to gossip each of them is another message."""
    made = bench()
    effects = made.receive(ContributionMessage(contribution_of()))
    for index in range(1_000):
        resigned_again = msgspec.structs.replace(contribution_of(), signature=index.to_bytes(64, "big"))
        effects += made.receive(ContributionMessage(resigned_again))
    assert len(of_type(effects, Assess)) == 1
    assert refusals(effects) == [(PEER.id, Offence.FLOODING)]


@pytest.mark.parametrize("verdict", [Verdict.CONTESTED, Verdict.REFUTED, Verdict.INVALID])
def test_a_verdict_outlives_a_restart(verdict: Verdict) -> None:
    made = bench()
    made.judge = lambda step: Answer(verdict)
    made.push(NEXT)
    again = Bench(records=made.records)
    assert (again.machine.status.head, again.push(NEXT)) == (PARENT.id, ())
    checks = of_type(again.push(CHAIN[4]), Check)
    assert [check.step.id for check in checks] == ([] if verdict is Verdict.INVALID else [CHAIN[4].id])
    assert again.machine.status.head == PARENT.id
