"""Each checker on a stream that it must pass, and on one that it must not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consensus.effects import Accusation, Accuse, Broadcast, Guard, Halt, Offence, Record, Refuse, Send
from consensus.encoding import encode
from consensus.proof_of_work import messages as work_messages
from consensus.proof_of_work.block_tree import BlockIndex, genesis_link, header_fault, next_link, next_target
from consensus.proof_of_work.header import Block
from consensus.proof_of_work.puzzle import start_target, work_of
from consensus.proof_of_work.records import block_key
from consensus.steps import Contribution
from consensus.total_order.messages import BlockMessage, OwnBlocks
from consensus.total_order.records import record_of_block
from consensus.types import Height, Instant, PeerId, StepId
from learning.learner import (
    AssessRequest,
    CheckRequest,
    ContributionFound,
    DeliverRequest,
    FinaliseRequest,
    GradientsReport,
    LearnerRequest,
    RestoreRequest,
    StateKept,
    StepChecked,
    Verdict,
)
from node.lab.checkers.attribution import DeliveredOnce, FoundByItsAuthor, NoHonestBlamed
from node.lab.checkers.finding import Seen
from node.lab.checkers.one_history import OneChain, OneOrder, OneState
from node.lab.checkers.one_signature import OneBlockAParent, OneBlockARound, RecordedBeforeSent
from node.lab.checkers.progress import ExpectedPace, HeadProgress, Standstill
from node.lab.checkers.work import WorkAddsUp
from node.runtime.coupling import AskLearner
from tests.node.lab.runs.streams import (
    ALICE,
    BOB,
    CAROL,
    DAVE,
    GENESIS,
    HONEST,
    MEMBERS,
    NETWORK,
    NO_SIGNATURE,
    dag_block,
    delivery,
    details,
    findings,
    head,
    large,
    name_of,
    payload,
    proposal,
    seen,
    work_block,
)
from tests.node.lab.simulation.world import WORK


def asked(peer: PeerId, request: LearnerRequest, incarnation: int = 0) -> Seen:
    return seen(peer, AskLearner(request), incarnation=incarnation)


# --- one order --------------------------------------------------------------------------------------------------------


def test_members_may_deliver_one_history_at_their_own_pace() -> None:
    events = [asked(peer, DeliverRequest(delivery(height))) for peer in (ALICE, BOB) for height in (1, 2, 3)]
    assert details(OneOrder(), *events) == []


def test_two_deliveries_at_one_height_are_found_with_both_witnesses() -> None:
    ours, theirs = asked(ALICE, DeliverRequest(delivery(1))), asked(BOB, DeliverRequest(delivery(1, payload(CAROL, "other"))))
    (finding,) = findings(OneOrder(), (ours, theirs))
    assert (finding.detail, finding.contradicting) == ("two deliveries at height 1", (ours, theirs))


def test_a_delivery_on_another_parent_is_found() -> None:
    first, second = DeliverRequest(delivery(1)), DeliverRequest(delivery(2, parent="elsewhere"))
    assert details(OneOrder(), asked(ALICE, first), asked(ALICE, second)) == ["delivery 2 does not follow delivery 1"]


def test_a_gap_is_found_but_not_where_the_learner_goes_on_from_a_checkpoint() -> None:
    jump = asked(ALICE, DeliverRequest(delivery(9)))
    restored = asked(ALICE, RestoreRequest(StateKept(name_of("version 3"), 3, b"", commit=8, commit_step=name_of("commit 8"))))
    assert details(OneOrder(), jump) == ["delivery 9 comes after delivery 0"]
    assert details(OneOrder(), restored, jump) == []
    assert details(OneOrder(), asked(ALICE, DeliverRequest(delivery(1))), restored, jump) == []
    assert details(OneOrder(), restored, asked(ALICE, DeliverRequest(delivery(8)))) == ["delivery 8 comes after delivery 8"]


def test_only_a_restart_delivers_again() -> None:
    once, again = DeliverRequest(delivery(1)), DeliverRequest(delivery(2))
    assert details(OneOrder(), asked(ALICE, once), asked(ALICE, again), asked(ALICE, once, incarnation=1)) == []
    assert details(OneOrder(), asked(ALICE, once), asked(ALICE, again), asked(ALICE, once)) == [
        "delivery 1 comes after delivery 2"
    ]


# --- one chain --------------------------------------------------------------------------------------------------------


def checked(peer: PeerId, *steps: tuple[str, str, int]) -> list[Seen]:
    return [asked(peer, CheckRequest(proposal(name, parent, height))) for name, parent, height in steps]


def final(peer: PeerId, name: str, incarnation: int = 0) -> Seen:
    return asked(peer, FinaliseRequest(name_of(name)), incarnation)


TREE = [("a1", "genesis", 1), ("a2", "a1", 2), ("a3", "a2", 3), ("b2", "a1", 2), ("b3", "b2", 3)]


def test_final_steps_on_one_chain_are_fine_in_any_order() -> None:
    events = (*checked(ALICE, *TREE), final(ALICE, "a2"), final(BOB, "a3"), final(CAROL, "a1"), final(ALICE, "a3"))
    assert details(OneChain(GENESIS), *events) == []


def test_final_steps_on_two_branches_are_found_even_at_unequal_heights() -> None:
    events = (*checked(ALICE, *TREE), final(ALICE, "a2"), final(BOB, "b3"))
    assert details(OneChain(GENESIS), *events) == ["two final steps at height 2"]


def test_a_final_step_that_nobody_checked_is_found() -> None:
    assert details(OneChain(GENESIS), final(ALICE, "a1")) == [
        f"step {name_of('a1').hex()[:8]} is final, but nobody was asked to check it"
    ]


def test_finality_moves_back_only_with_a_restart() -> None:
    before = (*checked(ALICE, *TREE), final(ALICE, "a3"))
    assert details(OneChain(GENESIS), *before, final(ALICE, "a2")) == ["final height 2 comes after 3"]
    assert details(OneChain(GENESIS), *before, final(ALICE, "a2", incarnation=1)) == []


# --- one state --------------------------------------------------------------------------------------------------------


def test_two_states_at_one_step_are_found() -> None:
    events = (seen(ALICE, head("a1", 1)), seen(BOB, head("a1", 1, state="other")))
    assert details(OneState(is_one_history=False), *events) == [f"two states at step {name_of('a1').hex()[:8]} (height 1)"]


def test_a_state_other_than_its_leader_committed_to_is_found() -> None:
    events = (asked(ALICE, CheckRequest(proposal("a1", "genesis", 1, state="committed"))), seen(ALICE, head("a1", 1)))
    assert len(findings(OneState(is_one_history=False), events)) == 1


@pytest.mark.parametrize(("is_one_history", "found"), [(True, ["two models at height 1"]), (False, [])])
def test_two_steps_at_one_height_are_wrong_where_there_is_one_history(is_one_history: bool, found: list[str]) -> None:
    assert details(OneState(is_one_history=is_one_history), seen(ALICE, head("a1", 1)), seen(BOB, head("b1", 1))) == found


# --- one signature ----------------------------------------------------------------------------------------------------


def rounds() -> OneBlockARound:
    return OneBlockARound(NETWORK, MEMBERS, HONEST)


def test_one_block_may_be_recorded_and_sent_by_everybody() -> None:
    reference, block = dag_block(0, 5, "x")
    record, message = record_of_block(reference, block), encode(BlockMessage(block))
    assert details(rounds(), seen(ALICE, record), seen(ALICE, Broadcast(message)), seen(BOB, record, incarnation=1)) == []


@pytest.mark.parametrize("incarnation", [0, 1])
def test_two_blocks_of_an_honest_member_for_one_round_are_found_across_lives(incarnation: int) -> None:
    (one, first), (other, second) = dag_block(0, 5, "x"), dag_block(0, 5, "y")
    events = (seen(BOB, record_of_block(one, first)), seen(CAROL, record_of_block(other, second), incarnation=incarnation))
    assert details(rounds(), *events) == ["two blocks of member 0 for round 5"]


def test_a_block_that_was_lost_with_the_disk_before_anybody_saw_it_does_not_count() -> None:
    (one, first), (other, second) = dag_block(0, 5, "x"), dag_block(0, 5, "y")
    events = (seen(ALICE, record_of_block(one, first)), seen(ALICE, record_of_block(other, second), incarnation=1))
    assert details(rounds(), *events) == []


def test_a_second_block_that_is_only_sent_is_found_too() -> None:
    (_, first), (_, second) = dag_block(1, 5, "x"), dag_block(1, 5, "y")
    pushed, streamed = encode(BlockMessage(first)), encode(OwnBlocks((second,)))
    assert details(rounds(), seen(BOB, Broadcast(pushed)), seen(BOB, Send(ALICE, streamed))) == [
        "two blocks of member 1 for round 5"
    ]


def test_who_is_faulty_may_sign_what_it_likes() -> None:
    (one, first), (other, second) = dag_block(3, 5, "x"), dag_block(3, 5, "y")
    assert details(rounds(), seen(ALICE, record_of_block(one, first)), seen(BOB, record_of_block(other, second))) == []


def led(leader: PeerId, text: int, incarnation: int = 0) -> Seen:
    step, block = work_block(GENESIS, 1, 1_000, leader=leader, nonce=text)
    return seen(leader, Record("block", block_key(Height(1), StepId(step)), encode(block)), incarnation=incarnation)


def test_two_blocks_led_on_one_parent_are_found_within_one_life() -> None:
    assert details(OneBlockAParent(NETWORK), led(ALICE, 1), led(ALICE, 2)) == [
        f"two blocks led on {GENESIS.hex()[:8]} (height 1)"
    ]
    assert details(OneBlockAParent(NETWORK), led(ALICE, 1), led(BOB, 2), led(ALICE, 2, incarnation=1)) == []


def test_an_own_block_of_an_earlier_life_that_comes_back_is_not_led_again() -> None:
    lost, back = led(ALICE, 1), led(ALICE, 1, incarnation=1)
    assert details(OneBlockAParent(NETWORK), lost, led(ALICE, 2, incarnation=1), back) == []


def test_who_finds_its_own_block_not_good_may_lead_another() -> None:
    first = led(ALICE, 1)
    assert isinstance(first.event, Record)
    verdict = seen(ALICE, Record("verdict", first.event.key[8:], b"contested"))
    assert details(OneBlockAParent(NETWORK), first, verdict, led(ALICE, 2)) == []


# --- attribution ------------------------------------------------------------------------------------------------------


def found(peer: PeerId, text: str) -> Seen:
    return seen(peer, ContributionFound(name_of("base"), text.encode()))


def test_what_an_honest_peer_never_found_is_found_in_requests_of_all_kinds() -> None:
    forged = payload(ALICE, "forged")
    requests = (
        AssessRequest(forged),
        CheckRequest(proposal("a1", "genesis", 1, forged)),
        DeliverRequest(delivery(1, forged)),
    )
    for request in requests:
        assert len(findings(FoundByItsAuthor(HONEST), (asked(BOB, request),))) == 1
        assert findings(FoundByItsAuthor(HONEST), (found(ALICE, "forged"), asked(BOB, request))) == []


def test_faulty_peers_may_be_the_author_of_anything() -> None:
    assert details(FoundByItsAuthor(HONEST), asked(BOB, AssessRequest(payload(DAVE, "made up")))) == []


def test_a_delivery_too_many_is_found() -> None:
    item = payload(ALICE, "once")
    both = (asked(BOB, DeliverRequest(delivery(1, item))), asked(BOB, DeliverRequest(delivery(2, item))))
    assert details(DeliveredOnce(HONEST), found(ALICE, "once"), found(ALICE, "once"), *both) == []
    assert details(DeliveredOnce(HONEST), found(ALICE, "once"), *both) == [
        f"contribution {name_of('once').hex()[:8]} was delivered 2 times, found 1 times"
    ]


def test_every_member_delivers_the_same_item_and_a_restart_does_so_again() -> None:
    request = DeliverRequest(delivery(1, payload(ALICE, "once")))
    events = (found(ALICE, "once"), asked(ALICE, request), asked(BOB, request), asked(BOB, request, incarnation=1))
    assert details(DeliveredOnce(HONEST), *events) == []


@pytest.mark.parametrize(("leader", "count"), [(ALICE, 1), (DAVE, 0)])
def test_an_honest_leader_that_lists_again_what_its_branch_holds_is_found(leader: PeerId, count: int) -> None:
    item = payload(BOB, "listed")
    steps = (proposal("a1", "genesis", 1, item), proposal("a2", "a1", 2), proposal("a3", "a2", 3, item, leader=leader))
    assert len(findings(DeliveredOnce(HONEST), [asked(ALICE, CheckRequest(step)) for step in steps])) == count


def test_two_branches_may_list_the_same() -> None:
    item = payload(BOB, "listed")
    steps = (proposal("a1", "genesis", 1, item), proposal("b1", "genesis", 1, item))
    assert findings(DeliveredOnce(HONEST), [asked(ALICE, CheckRequest(step)) for step in steps]) == []


# --- durable ----------------------------------------------------------------------------------------------------------


def test_an_own_block_needs_its_record_and_its_guard_before_it_is_sent() -> None:
    reference, block = dag_block(0, 5, "x")
    record, guard = seen(ALICE, record_of_block(reference, block)), seen(ALICE, Guard(5))
    sent = seen(ALICE, Broadcast(encode(BlockMessage(block))))

    def found_by(*events: Seen) -> list[str]:
        return details(RecordedBeforeSent(NETWORK, MEMBERS), *events)

    assert found_by(record, guard, sent) == []
    assert found_by(guard, sent, record) == ["sent its block of round 5 before it was durable"]
    assert found_by(record, sent) == ["sent a block of round 5, with its signed round at 0, before it was durable"]
    assert found_by(seen(BOB, Send(CAROL, encode(BlockMessage(block))))) == []


def test_a_commit_needs_its_record_before_it_is_delivered() -> None:
    delivered = asked(ALICE, DeliverRequest(delivery(7)))
    recorded = seen(ALICE, Record("commit", (7).to_bytes(8, "big"), b""))
    assert details(RecordedBeforeSent(NETWORK, MEMBERS), recorded, delivered) == []
    assert details(RecordedBeforeSent(NETWORK, MEMBERS), delivered) == ["delivered commit 7 before it was durable"]


def test_a_led_block_needs_its_record_before_it_is_sent_and_checked() -> None:
    step, block = work_block(GENESIS, 1, 1_000)
    record = seen(ALICE, Record("block", block_key(Height(1), StepId(step)), encode(block)))
    sent = seen(ALICE, Broadcast(encode(work_messages.BlockMessage(block))))
    assert details(RecordedBeforeSent(NETWORK, ()), record, sent) == []
    assert details(RecordedBeforeSent(NETWORK, ()), sent) == [f"sent its block {step.hex()[:8]} before it was durable"]
    assert details(RecordedBeforeSent(NETWORK, ()), asked(ALICE, CheckRequest(proposal("a1", "genesis", 1)))) == [
        f"checked block {name_of('a1').hex()[:8]} before it was durable"
    ]


def test_a_large_payload_is_recorded_before_a_contribution_names_it() -> None:
    plain = Contribution(ALICE, GENESIS, b"p", (), NO_SIGNATURE)
    named = Contribution(ALICE, GENESIS, b"p", (large("gradient"),), NO_SIGNATURE)
    for contribution, expected in ((plain, 0), (named, 1)):
        sent = seen(ALICE, Broadcast(encode(work_messages.ContributionMessage(contribution))))
        assert len(findings(RecordedBeforeSent(NETWORK, ()), (sent,))) == expected


# --- work -------------------------------------------------------------------------------------------------------------


def recorded(step: bytes, block: Block) -> Seen:
    return seen(ALICE, Record("block", block_key(Height(block.header.height), StepId(step)), encode(block)))


@given(gaps=st.lists(st.integers(min_value=-3_000, max_value=90_000), min_size=1, max_size=25))
def test_targets_that_the_node_gives_agree_with_those_from_scratch(gaps: list[int]) -> None:
    """Whatever times the leaders write, as far as the median rule lets them."""
    checker = WorkAddsUp(NETWORK, WORK, GENESIS)
    link: BlockIndex = genesis_link(StepId(GENESIS))
    time_ms = 1_000_000
    for gap_ms in gaps:
        time_ms = max(link.next_time_min, time_ms + gap_ms)
        step, block = work_block(link.id, link.height + 1, time_ms, target=next_target(link, WORK))
        assert header_fault(link, block.header, WORK) is None
        link = next_link(link, StepId(step), block.header, WORK)
        assert findings(checker, (recorded(step, block),)) == []
        tip = work_messages.Tip(link.id, link.height, link.work.to_bytes(40, "big"))
        assert findings(checker, (seen(BOB, Send(ALICE, encode(tip))),)) == []


def test_a_target_that_is_a_little_too_easy_is_found() -> None:
    first, block = work_block(GENESIS, 1, 1_000)
    second, easy = work_block(first, 2, 2_000, target=start_target(WORK.start_attempts) * 1_001 // 1_000)
    (detail,) = details(WorkAddsUp(NETWORK, WORK, GENESIS), recorded(first, block), recorded(second, easy))
    assert "target is" in detail


def test_a_tip_that_claims_more_work_than_its_branch_has_is_found() -> None:
    step, block = work_block(GENESIS, 1, 1_000)
    work = work_of(start_target(WORK.start_attempts)) + 1
    told = seen(ALICE, Send(BOB, encode(work_messages.Tip(step, 1, work.to_bytes(40, "big")))))
    assert details(WorkAddsUp(NETWORK, WORK, GENESIS), recorded(step, block), told) == [
        f"told of work {work} at height 1, counted {work - 1} at height 1"
    ]


def test_a_time_that_is_not_after_the_median_is_found() -> None:
    first, block = work_block(GENESIS, 1, 1_000)
    second, early = work_block(first, 2, 1_000)
    (detail,) = details(WorkAddsUp(NETWORK, WORK, GENESIS), recorded(first, block), recorded(second, early))
    assert detail.endswith("time is 1000, the median before it 1000")


# --- blame ------------------------------------------------------------------------------------------------------------


def test_nothing_may_be_said_against_an_honest_peer() -> None:
    against = (
        Accuse(Accusation(BOB, Offence.FALSE_CLAIM, "too good", b"")),
        Refuse(BOB, Offence.FLOODING, "blocks"),
        Halt("own key signed twice"),
    )
    for event in against:
        assert len(findings(NoHonestBlamed(HONEST), (seen(ALICE, event),))) == 1


def test_what_is_said_against_a_faulty_peer_is_fine() -> None:
    events = (Accuse(Accusation(DAVE, Offence.FALSE_CLAIM, "too good", b"")), Refuse(DAVE, Offence.FLOODING, "blocks"))
    assert findings(NoHonestBlamed(HONEST), [seen(ALICE, event) for event in events]) == []


@pytest.mark.parametrize(("leader", "author", "count"), [(BOB, CAROL, 1), (DAVE, CAROL, 0), (BOB, DAVE, 0)])
def test_a_step_by_honest_peers_alone_is_never_contested(leader: PeerId, author: PeerId, count: int) -> None:
    step = proposal("a1", "genesis", 1, payload(author, "claim"), leader=leader)
    answer = seen(ALICE, StepChecked(step.id, Verdict.CONTESTED, False, "the claim is not borne out"))
    assert len(findings(NoHonestBlamed(HONEST), (asked(ALICE, CheckRequest(step)), answer))) == count


# --- progress ---------------------------------------------------------------------------------------------------------


def standstill(heights: dict[PeerId, tuple[int, int]]) -> str | None:
    """By peer: the height of its head when all was calm, and in the end."""
    progress = HeadProgress()
    for peer, (height, _) in heights.items():
        progress.see(seen(peer, head(f"a{height}", height)))
    progress.calm(Instant(1_000))
    for peer, (_, height) in heights.items():
        progress.see(seen(peer, head(f"a{height}", height)))
    found = progress.standstill((ALICE, BOB, CAROL), ExpectedPace(heights_min=3, behind_max=2), Instant(9_000))
    return None if found is None else found.detail.split(") ")[1]


def test_progress_is_expected_of_everybody() -> None:
    assert standstill({ALICE: (5, 9), BOB: (4, 8), CAROL: (0, 7)}) is None
    within = "in 8000 ms without a fault"
    assert standstill({ALICE: (5, 9), BOB: (7, 9), CAROL: (0, 9)}) == f"gained 2 heights, expected 3 or more, {within}"
    assert standstill({ALICE: (5, 9), BOB: (1, 6), CAROL: (0, 9)}) == f"is 3 behind the highest, expected 2 or less, {within}"
    assert standstill({ALICE: (5, 9), BOB: (1, 9)}) == f"gained 0 heights, expected 3 or more, {within}"


def test_where_nobody_is_left_nobody_has_moved_on_and_that_matters_where_something_was_expected() -> None:
    progress = HeadProgress()
    progress.see(seen(ALICE, head("a5", 5)))
    progress.calm(Instant(1_000))
    found = progress.standstill((), ExpectedPace(heights_min=1, behind_max=9), Instant(9_000))
    assert found == Standstill(None, "no honest peer is up at the end", None)
    assert progress.standstill((), ExpectedPace(heights_min=0, behind_max=9), Instant(9_000)) is None


def test_under_a_total_order_each_move_of_the_model_counts_even_where_no_head_is_told_of() -> None:
    def gained(*, is_one_history: bool) -> bool:
        progress = HeadProgress(is_one_history=is_one_history)
        progress.see(seen(ALICE, head("a40", 40)))
        progress.calm(Instant(1_000))
        progress.see(seen(ALICE, GradientsReport(name_of("a43"), 43, (), ())))
        return progress.standstill((ALICE,), ExpectedPace(heights_min=3, behind_max=0), Instant(9_000)) is None

    assert gained(is_one_history=True)
    assert not gained(is_one_history=False)
