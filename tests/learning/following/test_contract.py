"""What every learner owes its node, whatever is learned and whatever the order is."""

import random
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest

from learning.learner import (
    AdoptRequest,
    AssessRequest,
    CheckRequest,
    DeliverRequest,
    FinaliseRequest,
    LearnerRequest,
    ProposedStep,
    ReplayRequest,
    RestoreRequest,
    StateKept,
    StepAdopted,
    StepApplied,
    StepChecked,
    Verdict,
)
from learning.state import StoredStateError
from tests.learning.evolution.common_order import Member, some
from tests.learning.evolution.exchange import GENESIS, NETWORK, Peer
from tests.learning.following.line_world import LineMember, Order, commit, signed
from tests.learning.following.tree_world import TreePeer
from tests.learning.gradient import chain, stream
from tests.learning.gradient.scored_order import ScoredMember, scored_world
from tests.learning.gradient.stream import FOUR

OBSERVER = b"o" * 32
ALICE, BOB, CAROL = FOUR[:3]
COMMITS = 30

MakeMember = Callable[[bytes, StateKept | None], LineMember]
MakePeer = Callable[[bytes, StateKept | None], TreePeer]


def mutations_in_a_line() -> MakeMember:
    return lambda author, restored: Member(author, FOUR, restored=restored)


def scored_steps_in_a_line() -> MakeMember:
    world = scored_world()
    return lambda author, restored: ScoredMember(world, author, restored=restored)


def gradients_in_a_line() -> MakeMember:
    world = stream.quadratic_world("kardam")
    return lambda author, restored: stream.Member(world, author, restored=restored)


def mutations_in_a_tree() -> MakePeer:
    return lambda author, restored: Peer(author, restored=restored)


def gradients_in_a_tree() -> MakePeer:
    world = chain.world_of("kardam")
    return lambda author, restored: chain.Peer(world, author, restored=restored)


@pytest.fixture(params=[mutations_in_a_line, scored_steps_in_a_line, gradients_in_a_line])
def member_of(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> MakeMember:
    monkeypatch.setattr("learning.gradient.checkpoint_codec.KEPT_COMMITS", (4, 4))
    return request.param()


@pytest.fixture(params=[mutations_in_a_tree, gradients_in_a_tree])
def peer_of(request: pytest.FixtureRequest) -> MakePeer:
    return request.param()


# --- a line ---------------------------------------------------------------------------------------------------------


def ordered(member_of: MakeMember, seed: int = 1) -> Order:
    """Four members and an observer, who comes last."""
    order = Order([member_of(author, None) for author in (*FOUR, OBSERVER)], seed, some)
    order.run(COMMITS)
    return order


@pytest.mark.parametrize("seed", range(3))
def test_members_and_an_observer_keep_and_export_the_same(member_of: MakeMember, seed: int) -> None:
    first, *others = ordered(member_of, seed).members
    commits = [kept.commit for kept in first.kept]
    assert commits == sorted(set(commits)) != []
    assert first.model.height > 0
    assert [(member.model, member.kept) for member in others] == [(first.model, first.kept)] * 4
    assert (others[-1].learner.is_searching, others[-1].learner.search()) == (False, ())


def test_a_restart_from_any_kept_state_comes_to_the_same(member_of: MakeMember) -> None:
    order = ordered(member_of)
    member = order.members[0]
    for kept in member.kept:
        again = member_of(member.author, kept)
        again.deliver(*order.log)  # what the state already holds is passed over
        later = [other for other in member.kept if other.commit > kept.commit]
        assert (again.model, again.kept) == (member.model, later)


def test_who_comes_late_goes_on_from_a_state_of_another(member_of: MakeMember) -> None:
    order = ordered(member_of)
    donor, late = order.members[0], member_of(FOUR[3], None)
    late.deliver(*order.log[:3])
    kept = donor.kept[-1]
    adopted = late.learner.handle(RestoreRequest(kept))[0]
    assert isinstance(adopted, StepAdopted)
    assert (adopted.step, adopted.height, adopted.state_digest) == (kept.step, kept.height, kept.state_digest)
    late.deliver(*order.log)
    assert late.model == donor.model


def test_a_restart_does_not_submit_again_what_was_delivered_and_finds_once_more_what_was_not(member_of: MakeMember) -> None:
    member = member_of(ALICE, None)
    found = member.work_until_idle()
    again, unheard = member_of(ALICE, None), member_of(ALICE, None)
    again.deliver(commit(1, found))
    assert found[0] not in again.work_until_idle()
    unheard.deliver(commit(1, []))
    assert [item.author for item in unheard.work_until_idle()] == [ALICE]


def test_what_is_adopted_is_what_is_exported(member_of: MakeMember) -> None:
    member = ordered(member_of).members[0]
    (adopted,) = member.learner.handle(AdoptRequest(GENESIS))
    assert isinstance(adopted, StepAdopted)
    model = member.model
    assert (adopted.step, adopted.height, adopted.state_digest) == (model.step, model.height, model.state_digest)


def test_deliveries_that_a_state_holds_are_passed_over(member_of: MakeMember) -> None:
    order = ordered(member_of)
    member = order.members[0]
    before, told = member.model, len(member.answers)
    member.deliver(*order.log)
    assert (member.model, member.answers[told:]) == (before, [StepApplied(step.height) for step in order.log])


def test_of_a_commit_that_brings_nothing_is_said_that_it_was_applied(member_of: MakeMember) -> None:
    assert member_of(ALICE, None).learner.handle(DeliverRequest(commit(1, []))) == (StepApplied(1),)


def test_junk_changes_nothing(member_of: MakeMember) -> None:
    chance = random.Random(7)
    member = member_of(ALICE, None)
    before = member.model
    junk = [signed(author, GENESIS, chance.randbytes(chance.randrange(80))) for author in (*FOUR, OBSERVER) for _ in range(20)]
    member.deliver(commit(1, junk), commit(2, junk))
    assert (member.model, member.adopted[1:], member.decided) == (before, [], [])


def test_a_gap_between_deliveries_stops_the_learner(member_of: MakeMember) -> None:
    with pytest.raises(AssertionError, match="delivery 2 after 0"):
        member_of(ALICE, None).deliver(commit(2, []))


def test_a_kept_state_of_another_model_is_refused(member_of: MakeMember) -> None:
    kept = ordered(member_of).members[0].kept[-1]
    with pytest.raises(StoredStateError, match="bytes of parameters"):
        member_of(ALICE, replace(kept, parameters=kept.parameters[4:]))


STEP = ProposedStep(bytes(32), GENESIS, 1, ALICE, (), b"", bytes(32))


@pytest.mark.parametrize(
    "request_of_a_tree",
    [AssessRequest(signed(ALICE, GENESIS, b"")), CheckRequest(STEP), ReplayRequest(STEP), FinaliseRequest(GENESIS)],
)
def test_requests_of_proof_of_work_stop_the_learner(member_of: MakeMember, request_of_a_tree: LearnerRequest) -> None:
    with pytest.raises(AssertionError, match=f"does not ask for {type(request_of_a_tree).__name__}"):
        member_of(ALICE, None).learner.handle(request_of_a_tree)


# --- a tree ---------------------------------------------------------------------------------------------------------


def grown(peers: Sequence[TreePeer], leader: TreePeer, steps: int) -> list[ProposedStep]:
    """The path from genesis that one of them leads, all following; they work and hear of all that is found."""
    path: list[ProposedStep] = []
    for peer in peers:
        peer.adopt(GENESIS)
    for height in range(1, steps + 1):
        for contribution in [item for peer in peers for item in peer.work(40)]:
            for peer in peers:
                peer.assess(contribution)
        path.append(leader.lead(path[-1].id if path else GENESIS, height))
        for peer in peers:
            peer.follow(path[-1])
    return path


def alone(peer_of: MakePeer, author: bytes, steps: int) -> tuple[TreePeer, list[ProposedStep]]:
    peer = peer_of(author, None)
    return peer, grown([peer], peer, steps)


def test_peers_that_check_the_same_steps_hold_the_same_model(peer_of: MakePeer) -> None:
    peers = [peer_of(author, None) for author in (ALICE, BOB, CAROL)]
    path = grown(peers, peers[1], 8)
    assert any(step.contributions for step in path)
    exported = peers[0].exported()
    assert (exported.step, exported.height, exported.state_digest) == (path[-1].id, 8, path[-1].state_digest)
    assert [peer.exported() for peer in peers] == [exported] * 3


def test_a_reorganisation_and_back_is_a_straight_path(peer_of: MakePeer) -> None:
    (alice, ours), (bob, theirs) = alone(peer_of, ALICE, 3), alone(peer_of, BOB, 5)
    wanderer = peer_of(CAROL, None).follow(*ours, *theirs)
    assert wanderer.exported() == bob.exported()
    wanderer.adopt(ours[-1].id)
    assert wanderer.exported() == alice.exported()


def test_a_step_on_an_unknown_parent_is_invalid(peer_of: MakePeer) -> None:
    step = replace(STEP, parent=b"x" * 32)
    assert peer_of(ALICE, None).check(step) == StepChecked(
        step.id, Verdict.INVALID, False, f"unknown parent {step.parent.hex()}"
    )


def test_a_wrong_state_digest_is_invalid_and_leaves_no_trace(peer_of: MakePeer) -> None:
    _, (right,) = alone(peer_of, ALICE, 1)
    wrong, bob = replace(right, state_digest=bytes(32)), peer_of(BOB, None)
    detail = f"state digest is {bytes(32).hex()}, rebuilt {right.state_digest.hex()}"
    assert bob.check(wrong) == StepChecked(wrong.id, Verdict.INVALID, False, detail)
    child = bob.check(replace(wrong, id=b"c" * 32, parent=wrong.id, height=2))
    assert (child.verdict, child.detail) == (Verdict.INVALID, f"unknown parent {wrong.id.hex()}")


def test_a_restart_from_any_kept_state_replays_to_the_same(peer_of: MakePeer) -> None:
    alice, path = alone(peer_of, ALICE, 8)
    for step in path[:-2]:
        alice.finalise(step.id)
    assert [kept.height for kept in alice.kept] == list(range(1, 7))
    for kept in alice.kept:
        again = peer_of(BOB, kept)
        for step in path:
            again.ask(ReplayRequest(step))
        again.adopt(path[-1].id)
        again.finalise(path[-2].id)
        assert (again.exported(), again.exported(is_final=True).step) == (alice.exported(), path[-2].id)


def test_a_restart_that_finalises_before_it_adopts_stands_there_and_does_not_search_yet(peer_of: MakePeer) -> None:
    alice, path = alone(peer_of, ALICE, 4)
    again = peer_of(ALICE, None)
    for step in path:
        again.ask(ReplayRequest(step))
    again.finalise(path[-1].id)
    assert (again.exported(), again.learner.is_searching, again.learner.search()) == (alice.exported(), False, ())
    again.adopt(path[-1].id)
    assert again.learner.is_searching


def test_a_final_step_ends_the_branches_beside_it_and_comes_once(peer_of: MakePeer) -> None:
    (alice, ours), (_, theirs) = alone(peer_of, ALICE, 3), alone(peer_of, BOB, 2)
    alice.check(theirs[0])
    alice.finalise(ours[1].id)
    assert alice.check(theirs[1]).detail == f"unknown parent {theirs[0].id.hex()}"
    assert [alice.finalise(step.id) for step in (*ours[:2], theirs[0])] == [()] * 3
    assert alice.exported(is_final=True).step == ours[1].id
    assert alice.exported().step == ours[2].id


def test_a_stored_step_that_leads_elsewhere_is_damage(peer_of: MakePeer) -> None:
    _, (step,) = alone(peer_of, ALICE, 1)
    damaged = peer_of(BOB, None)
    damaged.ask(ReplayRequest(replace(step, state_digest=bytes(32))))
    with pytest.raises(StoredStateError, match="at height 1 leads to another state than stored"):
        damaged.adopt(step.id)


def test_a_kept_final_state_of_another_model_is_refused(peer_of: MakePeer) -> None:
    alice, path = alone(peer_of, ALICE, 1)
    alice.finalise(path[0].id)
    (kept,) = alice.kept
    assert np.frombuffer(kept.parameters, "<f4").size > 1
    with pytest.raises(StoredStateError, match="bytes of parameters"):
        peer_of(ALICE, replace(kept, parameters=kept.parameters[4:]))


def test_nothing_is_adopted_that_was_not_checked(peer_of: MakePeer) -> None:
    with pytest.raises(AssertionError, match="was neither checked nor replayed"):
        peer_of(ALICE, None).ask(AdoptRequest(b"x" * 32))


@pytest.mark.parametrize("request_of_a_line", [DeliverRequest(commit(1, [])), RestoreRequest(StateKept(NETWORK, 1, b""))])
def test_requests_of_a_total_order_stop_the_learner(peer_of: MakePeer, request_of_a_line: LearnerRequest) -> None:
    with pytest.raises(AssertionError, match="a total order delivers to a LineLearner"):
        peer_of(ALICE, None).ask(request_of_a_line)
