"""Peers that learn jointly under proof of work: lists are measured, joined and checked; nothing is taken on trust."""

from dataclasses import replace

import pytest
from msgspec import structs

from learning.evolution.joint_block_learner import JointBlockLearner
from learning.evolution.joint_blocks import (
    LISTS_MAX,
    decode_claimed_list,
    decode_joint_claim,
    encode_claimed_list,
    encode_joint_claim,
    lists_max,
)
from learning.evolution.ranked_list import RankedList
from learning.evolution.rules import EvolutionRules
from learning.evolution.search import SearchSettings
from learning.learner import (
    AssessRequest,
    AuthoredPayload,
    ContributionAssessed,
    Participant,
    ProposedStep,
    ReplayRequest,
    StateKept,
    StepOffered,
    Verdict,
)
from learning.state import StoredStateError
from learning.task import Task
from tests.learning.evolution.common_order import names
from tests.learning.evolution.exchange import GENESIS, NETWORK
from tests.learning.evolution.joint_order import JOINT_RULES, JOINT_SETTINGS
from tests.learning.following.line_world import Shelf, signed
from tests.learning.following.tree_world import TreePeer, step_of
from tests.learning.sphere import SphereTask

FOUR = names(4)
RULES = structs.replace(JOINT_RULES, regression_allowed=0)
SLICES_MAX = 500
LENGTH = 12


class Peer(TreePeer):
    def __init__(
        self,
        author: bytes,
        *,
        rules: EvolutionRules = RULES,
        settings: SearchSettings = JOINT_SETTINGS,
        parameters: int = 20,
        restored: StateKept | None = None,
        is_searching: bool = True,
        is_leading: bool = True,
        lists_max: int = LISTS_MAX,
        task: Task | None = None,
    ) -> None:
        self.task = task or SphereTask(parameters)
        participant = Participant(NETWORK, author, GENESIS, (), is_searching, is_leading)
        super().__init__(
            author, JointBlockLearner(self.task, rules, participant, settings, restored, lists_max=lists_max), Shelf()
        )

    def find(self) -> AuthoredPayload:
        """Rank until there is a list."""
        for _ in range(SLICES_MAX):
            if found := self.work():
                return found[0]
        raise AssertionError("no list gains")

    def offer_for(self, base: bytes) -> StepOffered:
        """Work until there is a block to be led."""
        for _ in range(SLICES_MAX):
            if base in self.offers:
                return self.offers[base]
            self.work()
        raise AssertionError("nothing is offered")


def grown(peers: list[Peer], blocks: int) -> list[ProposedStep]:
    """The path that these peers make, each leading in its turn with the lists of all."""
    head, path = GENESIS, []
    for peer in peers:
        peer.adopt(head)
    for height in range(1, blocks + 1):
        lists = [peer.find() for peer in peers]
        for peer in peers:
            for item in lists:
                peer.assess(item)
            peer.work(6)
        path.append(peers[height % len(peers)].lead(head, height))
        head = path[-1].id
        for peer in peers:
            peer.follow(path[-1])
    return path


def distance(peer: Peer) -> float:
    return peer.adopt(peer.exported().step).metrics["distance"]


def test_peers_join_the_lists_of_all_and_improve() -> None:
    peers = [Peer(author) for author in FOUR]
    first = peers[0].adopt(GENESIS).metrics["distance"]
    path = grown(peers, 5)
    assert {len(step.contributions) for step in path} == {4}
    assert {peer.exported().state_digest for peer in peers} == {path[-1].state_digest}
    assert distance(peers[0]) < first / 3


def test_more_peers_come_further_in_as_many_blocks() -> None:
    reached = {}
    for count in (1, 4):
        peers = [Peer(author, parameters=400) for author in FOUR[:count]]
        grown(peers, 5)
        reached[count] = distance(peers[0])
    assert reached[4] < 0.9 * reached[1]


def test_nothing_is_offered_before_something_was_tried() -> None:
    """Who led a block of nothing at once would throw away what all the others search on its parent."""
    alice = Peer(FOUR[0])
    alice.adopt(GENESIS)
    assert alice.offers == {}
    alice.assess(alice.find())
    claim = decode_joint_claim(alice.offer_for(GENESIS).claim)
    assert claim.child_fitness > claim.parent_fitness


def test_where_nothing_gains_the_next_step_is_half_as_long() -> None:
    peer = Peer(FOUR[0], rules=structs.replace(RULES, step_size="10", step_size_floor="10"))
    peer.adopt(GENESIS)
    claim = decode_joint_claim(peer.offer_for(GENESIS).claim)
    assert (claim.scale, claim.child_fitness) == (-1, claim.parent_fitness)
    assert peer.offer_for(GENESIS).contributions == ()
    other = Peer(FOUR[1], rules=structs.replace(RULES, step_size="10", step_size_floor="10"))
    other.adopt(GENESIS)
    other.follow(peer.lead(GENESIS, 1))


# --- lists of others ----------------------------------------------------------------------------------------------------


def rewritten(item: AuthoredPayload, **changes: object) -> AuthoredPayload:
    claimed = replace(decode_claimed_list(item.payload, LENGTH), **changes)  # type: ignore[arg-type]
    return signed(item.author, item.base, encode_claimed_list(claimed))


def heard() -> tuple[Peer, AuthoredPayload]:
    """Bob, who stands on the first model, and a list of Alice's."""
    alice, bob = Peer(FOUR[0]), Peer(FOUR[1])
    alice.adopt(GENESIS)
    bob.adopt(GENESIS)
    return bob, alice.find()


def test_a_list_that_gains_as_claimed_is_useful_once() -> None:
    bob, item = heard()
    assert bob.assess(item) == ContributionAssessed(item.digest, Verdict.GOOD, True, "")
    assert not bob.assess(item).is_useful


def test_a_better_list_replaces_its_authors_former_one() -> None:
    alice, bob = Peer(FOUR[0]), Peer(FOUR[1])
    alice.adopt(GENESIS)
    bob.adopt(GENESIS)
    former, better = alice.find(), alice.find()
    assert bob.assess(former).is_useful
    assert bob.assess(better).is_useful
    assert not bob.assess(former).is_useful
    assert bob.offer_for(GENESIS).contributions == (better.digest,)


@pytest.mark.parametrize(("more", "is_proven"), [(11, False), (10_000, True)])
def test_a_claim_beyond_the_tolerance_is_contested(more: int, is_proven: bool) -> None:
    bob, item = heard()
    lie = rewritten(item, claimed_fitness=decode_claimed_list(item.payload, LENGTH).claimed_fitness + more)
    verdict = bob.assess(lie)
    assert (verdict.verdict, verdict.is_useful, verdict.is_proven_lie) == (Verdict.CONTESTED, False, is_proven)
    assert "claimed_fitness is" in verdict.detail


def test_a_reversed_list_is_a_lie_or_of_no_use() -> None:
    bob, item = heard()
    ranked = decode_claimed_list(item.payload, LENGTH).ranked
    assert bob.assess(rewritten(item, ranked=RankedList(ranked.indices[::-1]))).is_proven_lie
    honest = rewritten(item, ranked=RankedList(ranked.indices[::-1]), claimed_fitness=-(10**9))
    assert bob.assess(honest) == ContributionAssessed(honest.digest, Verdict.CONTESTED, False, "")


def test_a_malformed_list_is_invalid_and_one_for_an_unknown_step_is_nobodys_fault() -> None:
    bob, item = heard()
    assert bob.assess(signed(FOUR[0], GENESIS, item.payload[:-1])).verdict is Verdict.INVALID
    stray = signed(FOUR[0], b"?" * 32, item.payload)
    assert bob.assess(stray) == ContributionAssessed(stray.digest, Verdict.CONTESTED, False, "")


# --- blocks -------------------------------------------------------------------------------------------------------------


def led() -> tuple[Peer, ProposedStep]:
    """Bob, who has checked nothing yet, and a block of Alice's with her own list."""
    alice, bob = Peer(FOUR[0]), Peer(FOUR[1])
    alice.adopt(GENESIS)
    bob.adopt(GENESIS)
    alice.assess(alice.find())
    alice.offer_for(GENESIS)
    return bob, alice.lead(GENESIS, 1)


def reclaimed(step: ProposedStep, **changes: int) -> ProposedStep:
    claim = encode_joint_claim(replace(decode_joint_claim(step.claim), **changes))  # type: ignore[arg-type]
    return step_of(GENESIS, step.height, step.leader, step.contributions, step.state_digest, claim)


def test_a_true_block_is_good() -> None:
    bob, step = led()
    assert bob.check(step).verdict is Verdict.GOOD


@pytest.mark.parametrize(("more", "expected"), [(15, Verdict.CONTESTED), (25, Verdict.REFUTED), (5_000, Verdict.REFUTED)])
def test_a_block_that_claims_more_than_it_measures_is_found_out(more: int, expected: Verdict) -> None:
    bob, step = led()
    checked = bob.check(reclaimed(step, child_fitness=decode_joint_claim(step.claim).child_fitness + more))
    assert (checked.verdict, checked.is_proven_lie) == (expected, more == 5_000)


def test_a_block_that_is_worse_than_its_parent_or_leads_elsewhere_is_invalid() -> None:
    bob, step = led()
    claim = decode_joint_claim(step.claim)
    assert "allowed" in bob.check(reclaimed(step, child_fitness=claim.parent_fitness - 1)).detail
    assert "state digest is" in bob.check(reclaimed(step, scale=claim.scale - 1)).detail
    assert "k is" in bob.check(reclaimed(step, scale=claim.scale + 4)).detail
    assert "height is 3, expected 1" in bob.check(replace(step, height=3)).detail
    orphan = replace(step, parent=b"?" * 32)
    assert bob.check(orphan).verdict is Verdict.INVALID


def test_what_was_joined_by_a_leader_need_not_have_been_heard_before() -> None:
    peers = [Peer(author) for author in FOUR[:3]]
    path = grown(peers, 2)
    outsider = Peer(FOUR[3])
    outsider.adopt(GENESIS)
    outsider.follow(*path)
    assert outsider.exported().state_digest == path[-1].state_digest


# --- restart --------------------------------------------------------------------------------------------------------------


def test_a_restart_from_a_final_state_goes_on_with_the_same_blocks() -> None:
    peers = [Peer(author) for author in FOUR[:2]]
    path = grown(peers, 4)
    (kept,) = [answer for answer in peers[0].finalise(path[1].id) if isinstance(answer, StateKept)]
    again = Peer(FOUR[0], restored=kept)
    for step in path:
        again.ask(ReplayRequest(step))
    assert again.adopt(path[-1].id).state_digest == path[-1].state_digest
    assert again.exported().parameters == peers[1].exported().parameters


def test_a_damaged_state_or_step_is_told() -> None:
    peers = [Peer(author) for author in FOUR[:2]]
    path = grown(peers, 2)
    (kept,) = [answer for answer in peers[0].finalise(path[0].id) if isinstance(answer, StateKept)]
    with pytest.raises(StoredStateError, match="is not the one that its digest names"):
        Peer(FOUR[0], restored=replace(kept, state_digest=bytes(32)))
    with pytest.raises(StoredStateError, match="of another form"):
        Peer(FOUR[0], restored=replace(kept, memory=b""))
    with pytest.raises(StoredStateError, match="claim of 3 bytes, expected 20"):
        Peer(FOUR[0], restored=kept).ask(ReplayRequest(replace(path[1], claim=b"bad")))


def test_an_observer_checks_and_neither_ranks_nor_offers() -> None:
    bob, step = led()
    observer = Peer(FOUR[2], is_searching=False, is_leading=False)
    observer.adopt(GENESIS)
    observer.follow(step)
    assert (observer.learner.is_searching, observer.learner.search(), observer.offers) == (False, (), {})
    assert bob.learner.is_searching


def test_who_leads_and_does_not_search_joins_the_lists_of_others() -> None:
    """As `start --no-search`: it ranks nothing, and its blocks are as good as those of all others."""
    alice, idle = Peer(FOUR[0]), Peer(FOUR[1], is_searching=False)
    alice.adopt(GENESIS)
    idle.adopt(GENESIS)
    assert not idle.learner.is_searching
    item = alice.find()
    assert idle.assess(item).is_useful
    assert idle.offer_for(GENESIS).contributions == (item.digest,)
    assert (idle.learner.is_searching, idle.learner.search()) == (False, ())
    alice.follow(idle.lead(GENESIS, 1))


def test_a_list_for_a_step_below_the_final_one_is_of_no_use() -> None:
    peers = [Peer(author) for author in FOUR[:2]]
    for peer in peers:
        peer.adopt(GENESIS)
    late = peers[1].find()
    path = grown(peers, 2)
    peers[0].finalise(path[1].id)
    (answer,) = peers[0].ask(AssessRequest(late))
    assert isinstance(answer, ContributionAssessed)
    assert (answer.verdict, answer.is_useful) == (Verdict.CONTESTED, False)


# --- room, time and cost ------------------------------------------------------------------------------------------------


def lists_of(count: int) -> list[AuthoredPayload]:
    """By so many authors, on the first model, the worst first."""
    found = []
    for author in names(count):
        peer = Peer(author)
        peer.adopt(GENESIS)
        found.append(peer.find())
    return sorted(found, key=lambda item: decode_claimed_list(item.payload, LENGTH).claimed_fitness)


def with_room_for(lists: int) -> Peer:
    """A peer of a model so large that a block joins no more."""
    peer = Peer(names(9)[8], lists_max=lists)
    peer.adopt(GENESIS)
    return peer


def test_where_there_is_no_room_the_better_list_takes_the_place_of_the_worst() -> None:
    """Else whoever came first with weak ones would shut everybody out."""
    lists = lists_of(6)
    peer = with_room_for(3)
    assert [peer.assess(item).is_useful for item in lists[1:]] == [True] * 5
    assert not peer.assess(lists[0]).is_useful
    assert set(peer.offer_for(GENESIS).contributions) == {item.digest for item in lists[3:]}


def test_our_own_list_however_weak_makes_no_way_for_what_is_worse_than_the_others() -> None:
    lists = lists_of(9)
    own = next(place for place, item in enumerate(lists) if item.author == names(9)[8])
    weaker, stronger = lists[own + 1 :], lists[own + 1 :]
    assert len(stronger) >= 4, "the ninth author's list is to be among the worst; take another author where it is not"
    peer = with_room_for(3)
    for item in (lists[own], *stronger[-2:]):
        assert peer.assess(item).is_useful
    assert not peer.assess(weaker[0]).is_useful
    assert set(peer.offer_for(GENESIS).contributions) == {lists[own].digest, *(item.digest for item in stronger[-2:])}


def test_there_is_always_room_for_our_own_list() -> None:
    lists = lists_of(3)
    peer = with_room_for(3)
    for item in lists:
        peer.assess(item)
    own = peer.find()
    assert peer.assess(own).is_useful
    assert len(peer.offer_for(GENESIS).contributions) == 3


@pytest.mark.parametrize(
    ("parameters", "check_ms", "expected"), [(4_810, 125, 32), (85_002, 125, 14), (10**6, 125, 4), (10**6, 15_000, 32)]
)
def test_a_block_joins_as_many_lists_as_may_be_checked(parameters: int, check_ms: int, expected: int) -> None:
    assert lists_max(parameters, check_ms) == expected


def test_ranking_has_its_share_however_often_lists_change() -> None:
    """An author whose lists become better and better would keep everybody joining anew."""
    liar, peer = Peer(FOUR[0]), Peer(FOUR[1])
    liar.adopt(GENESIS)
    peer.adopt(GENESIS)
    drip = [item for _ in range(400) for item in liar.work()]
    assert len(drip) >= 3
    joins, ranked = 0, 0
    for item in drip:
        assert peer.assess(item).is_useful
        for _ in range(4):
            is_join = peer.learner.has_to_join
            joins += is_join
            ranked += not is_join
            peer.work()
    assert ranked >= joins
