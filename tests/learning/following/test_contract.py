"""What every learner owes its node, whatever is learned and whatever the order is."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import pytest

from learning.learner import (
    AdoptRequest,
    AssessRequest,
    CheckRequest,
    DeliverRequest,
    ExportRequest,
    FinaliseRequest,
    LearnerRequest,
    ModelExported,
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


LINES = [mutations_in_a_line, scored_steps_in_a_line, gradients_in_a_line]
TREES = [mutations_in_a_tree, gradients_in_a_tree]


@pytest.fixture(autouse=True)
def _states_are_kept_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("learning.gradient.checkpoint_codec.KEPT_COMMITS", (4, 4))


@pytest.fixture(params=LINES)
def member_of(request: pytest.FixtureRequest) -> MakeMember:
    return request.param()


@pytest.fixture(params=TREES)
def peer_of(request: pytest.FixtureRequest) -> MakePeer:
    return request.param()


# --- all of them ----------------------------------------------------------------------------------------------------

Named = tuple[bytes, int, bytes]
"""Step, height, digest of the state."""


@dataclass(frozen=True)
class History:
    """What one peer has come to, and how another comes there: from genesis, or from a kept state."""

    peer: LineMember | TreePeer
    again: Callable[[StateKept | None], LineMember | TreePeer]
    learner_of: Callable[[StateKept], object]

    @staticmethod
    def of_a_line(make: Callable[[], MakeMember]) -> "History":
        member_of = make()
        order = ordered(member_of)

        def again(kept: StateKept | None) -> LineMember:
            """What the state already holds is passed over."""
            member = member_of(ALICE, kept)
            member.deliver(*order.log)
            return member

        return History(order.members[0], again, lambda kept: member_of(ALICE, kept))

    @staticmethod
    def of_a_tree(make: Callable[[], MakePeer]) -> "History":
        peer_of = make()
        alice, path = alone(peer_of, ALICE, 8)

        def finalised(peer: TreePeer) -> TreePeer:
            for step in path[:-2]:
                peer.finalise(step.id)
            return peer

        def again(kept: StateKept | None) -> TreePeer:
            peer = peer_of(BOB, kept)
            for step in path:
                peer.ask(ReplayRequest(step))
            peer.adopt(path[-1].id)
            return finalised(peer)

        return History(finalised(alice), again, lambda kept: peer_of(ALICE, kept))


@pytest.fixture(params=[(History.of_a_line, make) for make in LINES] + [(History.of_a_tree, make) for make in TREES])
def history(request: pytest.FixtureRequest) -> History:
    of_this_kind, make = request.param
    return of_this_kind(make)


def adopted_and_exported(peer: LineMember | TreePeer) -> tuple[Named, ModelExported]:
    (model,) = peer.learner.handle(ExportRequest())
    assert isinstance(model, ModelExported)
    adopted = peer.learner.handle(AdoptRequest(model.step))[0]
    assert isinstance(adopted, StepAdopted)
    return (adopted.step, adopted.height, adopted.state_digest), model


def test_kept_adopted_exported_restored_and_replayed_are_one_state(history: History) -> None:
    adopted, model = adopted_and_exported(history.peer)
    assert adopted == (model.step, model.height, model.state_digest)
    for start in (None, *history.peer.kept):
        again = history.again(start)
        assert adopted_and_exported(again) == (adopted, model)
        assert again.kept == [kept for kept in history.peer.kept if start is None or age(kept) > age(start)]


def age(kept: StateKept) -> tuple[int, int]:
    return kept.commit, kept.height


DAMAGE: dict[str, Callable[[StateKept], StateKept]] = {
    "another digest": lambda kept: replace(kept, state_digest=bytes(32)),
    "another height": lambda kept: replace(kept, height=kept.height + 1),
    "other parameters": lambda kept: replace(kept, parameters=bytes([kept.parameters[0] ^ 1]) + kept.parameters[1:]),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_kept_state_that_is_not_the_one_that_it_names_is_refused(history: History, damage: str) -> None:
    with pytest.raises(StoredStateError, match="is not the one that"):
        history.learner_of(DAMAGE[damage](history.peer.kept[0]))


def test_a_kept_state_of_another_model_is_refused(history: History) -> None:
    kept = history.peer.kept[-1]
    with pytest.raises(StoredStateError, match="bytes of parameters"):
        history.learner_of(replace(kept, parameters=kept.parameters[4:]))


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


def test_deliveries_that_a_state_holds_are_passed_over(member_of: MakeMember) -> None:
    order = ordered(member_of)
    member = order.members[0]
    before, told = member.model, len(member.answers)
    member.deliver(*order.log)
    assert (member.model, member.answers[told:]) == (before, [StepApplied(step.height) for step in order.log])


def test_of_a_commit_that_brings_nothing_is_said_that_it_was_applied(member_of: MakeMember) -> None:
    member = member_of(ALICE, None)
    told = len(member.answers)
    member.deliver(commit(1, []))
    assert member.answers[told:] == [StepApplied(1)]


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


def test_small_models_are_kept_at_every_final_step(peer_of: MakePeer) -> None:
    alice, path = alone(peer_of, ALICE, 8)
    for step in path[:-2]:
        alice.finalise(step.id)
    assert [(kept.step, kept.height) for kept in alice.kept] == [(step.id, step.height) for step in path[:-2]]


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


def test_nothing_is_adopted_that_was_not_checked(peer_of: MakePeer) -> None:
    with pytest.raises(AssertionError, match="was neither checked nor replayed"):
        peer_of(ALICE, None).ask(AdoptRequest(b"x" * 32))


@pytest.mark.parametrize("request_of_a_line", [DeliverRequest(commit(1, [])), RestoreRequest(StateKept(NETWORK, 1, b""))])
def test_requests_of_a_total_order_stop_the_learner(peer_of: MakePeer, request_of_a_line: LearnerRequest) -> None:
    with pytest.raises(AssertionError, match="a total order delivers to a LineLearner"):
        peer_of(ALICE, None).ask(request_of_a_line)
