"""Peers that follow blocks of gradients hold one state after every block, whatever its leader lists, on whatever branch."""

import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from learning.aggregation.rule import GradientOutcome
from learning.gradient.block_learner import BASE_AGE_MAX, NEVER_LISTED
from learning.gradient.ledger import GradientSubmission, PayloadMissingError, decode_submission, encode_submission
from learning.learner import (
    AuthoredPayload,
    CheckRequest,
    ContributionAssessed,
    ExportRequest,
    ProposedStep,
    ReplayRequest,
    StepChecked,
    StepOffered,
    Verdict,
)
from tests.learning.evolution.exchange import GENESIS
from tests.learning.following.line_world import Shelf, attached, signed
from tests.learning.gradient.chain import ALICE, BOB, CAROL, DAVE, Forge, Peer, World, world_of
from tests.learning.gradient.quadratic import encoded_gradient
from tests.learning.gradient.scored_order import Attacker

RULES = ("mean", "dampened", "kardam", "buffered")
OUTSIDER = b"o" * 32


def outcomes(peer: Peer) -> list[str]:
    return [one.outcome for told in peer.judged for one in told.judged]


def listed(peer: Peer, base: bytes) -> tuple[bytes, ...]:
    return peer.offers[base].contributions


def digests(*contributions: AuthoredPayload) -> tuple[bytes, ...]:
    return tuple(contribution.digest for contribution in contributions)


def good(contribution: AuthoredPayload) -> ContributionAssessed:
    return ContributionAssessed(contribution.digest, Verdict.GOOD, True, "")


def of_no_use(contribution: AuthoredPayload) -> ContributionAssessed:
    return ContributionAssessed(contribution.digest, Verdict.CONTESTED, False, "")


def mined(peers: list[Peer], blocks: int, seed: int = 1) -> list[ProposedStep]:
    """The chain that these peers make: all work, hear of some of the rest, and one of them leads on its own head."""
    chance = random.Random(seed)
    chain: list[ProposedStep] = []
    for peer in peers:
        peer.adopt(GENESIS)
    for height in range(1, blocks + 1):
        for peer in peers:
            for contribution in peer.work():
                for other in peers:
                    if other is peer or chance.random() < 0.7:
                        other.assess(contribution)
        base = chain[-1].id if chain else GENESIS
        chain.append(chance.choice(peers).lead(base, height))
        for peer in peers:
            peer.follow(chain[-1])
    return chain


# --- agreement ------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32), rule=st.sampled_from(RULES))
def test_peers_agree_on_every_block_that_any_of_them_leads(seed: int, rule: str) -> None:
    world = world_of(rule)
    peers = [Peer(world, author) for author in (ALICE, BOB, CAROL)]
    chain = mined(peers, 15, seed)
    late = Peer(world, DAVE).follow(*chain)
    assert late.judged == peers[0].judged == peers[1].judged
    assert any(step.contributions for step in chain)


class Branching:
    """Peers that hear of blocks late, lead on what they know, and follow the highest; the lower id among equals."""

    def __init__(self, world: World, seed: int) -> None:
        self.peers = [Peer(world, author) for author in (ALICE, BOB, CAROL)]
        self.heads = {peer.author: (0, GENESIS) for peer in self.peers}
        self.waiting: dict[bytes, list[ProposedStep]] = {peer.author: [] for peer in self.peers}
        self.chance = random.Random(seed)
        for peer in self.peers:
            peer.adopt(GENESIS)

    def run(self, turns: int) -> None:
        for _ in range(turns):
            peer = self.chance.choice(self.peers)
            self.hear(peer, self.chance.randrange(len(self.waiting[peer.author]) + 1))
            for contribution in peer.work():
                for other in self.peers:
                    other.assess(contribution)
            if self.chance.random() < 0.6:
                height, head = self.heads[peer.author]
                for waiting in self.waiting.values():
                    waiting.append(peer.lead(head, height + 1))
        for peer in self.peers:
            self.hear(peer, len(self.waiting[peer.author]))

    def hear(self, peer: Peer, count: int) -> None:
        waiting = self.waiting[peer.author]
        for step in waiting[:count]:
            assert peer.check(step).verdict is Verdict.GOOD
            height, head = self.heads[peer.author]
            if (-step.height, step.id) < (-height, head):
                self.heads[peer.author] = (step.height, step.id)
                peer.adopt(step.id)
        del waiting[:count]


@pytest.mark.slow
@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32), rule=st.sampled_from(RULES))
def test_peers_on_many_branches_come_to_agree(seed: int, rule: str) -> None:
    """Every block passes every check, wherever its leader stood; the contributions were judged on other heads before."""
    branching = Branching(world_of(rule), seed)
    branching.run(30)
    exported = [peer.learner.handle(ExportRequest()) for peer in branching.peers]
    assert exported[0] == exported[1] == exported[2]


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_whatever_a_leader_lists_all_judge_it_alike(data: st.DataObject) -> None:
    """Left out, twice, of outsiders, on other models, in any order: a block is invalid to all where it lists in vain."""
    world = world_of(data.draw(st.sampled_from(RULES)))
    forge = Forge(world)
    path = forge.path(GENESIS, ALICE, BOB, CAROL)
    path.append(forge.block(path[-1].id, DAVE, forge.contribution(ALICE, path[-1].id)))
    bases = [GENESIS, path[1].id, path[-1].id]
    authors = [ALICE, BOB, CAROL, DAVE, OUTSIDER]
    choices = [forge.contribution(author, base, value) for author in authors for base in bases for value in (0.5, -0.25)]
    choices += [signed(ALICE, GENESIS, b"junk"), replace(choices[0], attached=())]
    last = forge.block(path[-1].id, BOB, *data.draw(st.lists(st.sampled_from(choices), max_size=4)))
    one, other = Peer(world, ALICE).follow(*path), Peer(world, OUTSIDER).follow(*path)
    answer = one.check(last)
    assert other.check(last) == answer
    in_vain = any(judged.outcome in NEVER_LISTED for judged in forge.states[last.id].judged)
    assert answer.verdict is (Verdict.INVALID if in_vain else Verdict.GOOD)


@pytest.mark.parametrize(
    ("listed_by", "twice", "outcome"),
    [
        (OUTSIDER, False, GradientOutcome.NOT_A_WORKER),
        (ALICE, True, GradientOutcome.REPEATED),
    ],
)
def test_a_block_that_lists_in_vain_is_invalid(listed_by: bytes, twice: bool, outcome: GradientOutcome) -> None:
    forge = Forge(world_of())
    (first,) = forge.path(GENESIS, ALICE)
    contribution = forge.contribution(listed_by, first.id)
    block = forge.block(first.id, BOB, *(contribution, forge.contribution(listed_by, first.id, 0.25))[: 1 + twice])
    answer = Peer(forge.world, DAVE).follow(first).check(block)
    assert answer.verdict is Verdict.INVALID
    assert outcome in answer.detail


def test_a_block_that_would_keep_others_busy_for_longer_than_allowed_is_invalid_and_nobody_offers_one(monkeypatch) -> None:
    forge = Forge(world_of())
    path = forge.path(GENESIS, ALICE, BOB, CAROL)
    base = path[-1].id
    monkeypatch.setattr("learning.gradient.blocks.LISTED_MAX", 2)
    contributions = [forge.contribution(author, base, value) for author, value in ((ALICE, 0.1), (BOB, 0.2), (CAROL, 0.3))]
    bob = Peer(forge.world, BOB).follow(*path)
    assert [bob.assess(contribution) for contribution in contributions] == [
        good(contribution) for contribution in contributions
    ]
    assert listed(bob, base) == digests(*contributions[:2])
    judged = [bob.check(forge.block(base, BOB, *contributions[:count])).verdict for count in (2, 3)]
    assert judged == [Verdict.GOOD, Verdict.INVALID]


def test_where_a_block_has_room_for_few_who_was_heard_longest_ago_comes_first_and_nobody_twice(monkeypatch) -> None:
    """ALICE has several gradients waiting; CAROL's comes last of all."""
    forge = Forge(world_of("robust", workers_window=64))
    path = forge.path(GENESIS, *(ALICE, BOB, CAROL, DAVE) * 8)
    for author, value in ((BOB, 0.1), (ALICE, 0.15)):
        path.append(forge.block(path[-1].id, DAVE, forge.contribution(author, path[-1].id, value)))
    early = forge.contribution(ALICE, path[-1].id, 0.2)
    values = ((ALICE, 0.3), (BOB, 0.4), (CAROL, 0.5))
    path += forge.path(path[-1].id, DAVE)
    contributions = (early, *(forge.contribution(author, path[-1].id, value) for author, value in values))
    monkeypatch.setattr("learning.gradient.blocks.LISTED_MAX", 2)
    dave = Peer(forge.world, DAVE).follow(*path)
    for contribution in contributions:
        dave.assess(contribution)
    path += forge.path(path[-1].id, DAVE)
    dave.follow(path[-1])
    assert listed(dave, path[-1].id) == digests(contributions[3], contributions[2])


def test_a_block_lists_one_gradient_of_each_worker() -> None:
    """The second is on the version that the first has made: its author would move the model as often as it likes."""
    forge = Forge(world_of())
    path = forge.path(GENESIS, ALICE)
    first = forge.contribution(ALICE, path[-1].id)
    path.append(forge.block(path[-1].id, BOB, first))
    second = forge.contribution(ALICE, path[-1].id, 0.25)
    both = forge.block(path[0].id, BOB, first, second)
    assert [one.outcome for one in forge.states[both.id].judged] == [GradientOutcome.APPLIED, GradientOutcome.REPEATED]
    dave = Peer(forge.world, DAVE).follow(path[0])
    assert [dave.check(block).verdict for block in (both, path[1])] == [Verdict.INVALID, Verdict.GOOD]
    dave.adopt(path[1].id)
    other = forge.contribution(BOB, path[1].id, 0.5)
    assert [dave.assess(contribution) for contribution in (second, other)] == [good(second), good(other)]
    assert listed(dave, path[1].id) == digests(second, other)
    dave.follow(forge.block(path[1].id, CAROL, second))


def test_peers_learn() -> None:
    peers = [Peer(world_of(), ALICE)]
    distance = peers[0].adopt(GENESIS).metrics["distance"]
    chain = mined(peers, 60)
    assert peers[0].adopt(chain[-1].id).metrics["distance"] < 0.2 * distance


# --- branches -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", RULES)
def test_a_reorganisation_and_back_is_a_straight_path(rule: str) -> None:
    world = world_of(rule)
    forge = Forge(world)
    trunk = forge.path(GENESIS, ALICE, BOB)
    left, right = list(trunk), list(trunk)
    for branch, authors in ((left, (ALICE, BOB)), (right, (BOB, CAROL, BOB))):
        for author in authors:
            base = branch[-1].id
            other = ALICE if author == BOB else BOB
            branch.append(forge.block(base, CAROL, forge.contribution(author, base), forge.contribution(other, base, 0.1)))
    wanderer = Peer(world, DAVE).follow(*left, *right[2:])
    straight = Peer(world, DAVE).follow(*right)
    assert wanderer.learner.handle(ExportRequest()) == straight.learner.handle(ExportRequest())
    wanderer.adopt(left[-1].id)
    assert wanderer.learner.handle(ExportRequest()) == Peer(world, DAVE).follow(*left).learner.handle(ExportRequest())


def test_gradients_of_a_branch_that_died_are_offered_again() -> None:
    world = world_of()
    forge = Forge(world)
    (first,) = forge.path(GENESIS, ALICE)
    contribution = forge.contribution(ALICE, first.id)
    listing, rival = forge.block(first.id, BOB, contribution), forge.block(first.id, CAROL)
    peer = Peer(world, DAVE).follow(first)
    assert peer.assess(contribution) == good(contribution)
    peer.follow(listing)
    assert listed(peer, listing.id) == ()
    peer.follow(rival)
    assert listed(peer, rival.id) == digests(contribution)


def test_gradients_that_leaders_leave_out_are_offered_until_too_old() -> None:
    world = world_of(staleness_max=2)
    forge = Forge(world)
    path = forge.path(GENESIS, ALICE, BOB)
    contribution = forge.contribution(ALICE, path[-1].id)
    peer = Peer(world, CAROL).follow(*path)
    peer.assess(contribution)
    offered = []
    for _ in range(4):
        step = forge.block(path[-1].id, BOB, forge.contribution(BOB, path[-1].id))
        path.append(step)
        peer.follow(step)
        offered.append(listed(peer, step.id))
    assert offered == [digests(contribution), digests(contribution), (), ()]


# --- wrong blocks ---------------------------------------------------------------------------------------------------


def test_the_leader_is_part_of_the_state() -> None:
    world = world_of()
    step = replace(Forge(world).block(GENESIS, ALICE), leader=BOB)
    assert Peer(world, BOB).check(step).verdict is Verdict.INVALID


def test_a_claim_is_invalid() -> None:
    world = world_of()
    step = replace(Forge(world).block(GENESIS, ALICE), claim=b"!")
    assert Peer(world, BOB).check(step) == StepChecked(step.id, Verdict.INVALID, False, "a claim of 1 bytes, expected none")


def test_a_listed_payload_that_is_not_held_is_a_broken_promise() -> None:
    world = world_of()
    elsewhere = Forge(World(world.rules, Shelf()))
    path = elsewhere.path(GENESIS, ALICE)
    path.append(elsewhere.block(path[-1].id, ALICE, elsewhere.contribution(ALICE, path[-1].id)))
    peer = Peer(world, BOB).follow(path[0])
    with pytest.raises(PayloadMissingError, match="is not held"):
        peer.ask(CheckRequest(path[1]))


# --- who is a worker ------------------------------------------------------------------------------------------------


def test_who_led_a_block_of_the_window_is_a_worker() -> None:
    forge = Forge(world_of(workers_window=3))
    path = forge.path(GENESIS, ALICE, BOB, ALICE, CAROL, CAROL, CAROL)
    groups = [forge.group(step) for step in path]
    assert [group.workers for group in groups] == [
        (ALICE,),
        (ALICE, BOB),
        (ALICE, BOB),
        (ALICE, BOB, CAROL),
        (ALICE, CAROL),
        (CAROL,),
    ]
    assert [group.voices for group in groups] == [(1,), (1, 1), (2, 1), (1, 1, 1), (1, 2), (3,)]
    assert [group.faulty_max for group in groups] == [0] * 6


def test_of_four_voices_one_may_be_faulty() -> None:
    forge = Forge(world_of())
    path = forge.path(GENESIS, ALICE, BOB, CAROL, DAVE)
    assert forge.group(path[-1]).faulty_max == 1


def test_nobody_is_a_worker_before_a_fourth_of_the_window_is_full() -> None:
    world = world_of(workers_window=12)
    forge = Forge(world)
    path = forge.path(GENESIS, ALICE, BOB, ALICE)
    assert [forge.group(step).workers for step in path] == [(), (), (ALICE, BOB)]
    early = forge.contribution(ALICE, path[1].id)
    alice = Peer(world, ALICE).follow(*path[:2])
    assert (alice.learner.is_searching, alice.assess(early).is_useful) == (False, False)
    alice.follow(path[2])
    assert (alice.learner.is_searching, alice.assess(early)) == (True, good(early))


def test_a_peer_works_once_it_has_led_and_as_long_as_that_counts() -> None:
    world = world_of(workers_window=2)
    path = Forge(world).path(GENESIS, ALICE, BOB, BOB)
    alice = Peer(world, ALICE)
    alice.adopt(GENESIS)
    is_working = [alice.learner.is_searching]
    for step in path:
        alice.follow(step)
        is_working.append(alice.learner.is_searching)
    assert is_working == [False, True, True, False]


# --- contributions --------------------------------------------------------------------------------------------------


def standing_on_two(world: World) -> tuple[Forge, Peer, list[ProposedStep]]:
    """Version 1 of the model, workers Alice and Bob."""
    forge = Forge(world)
    path = forge.path(GENESIS, ALICE)
    path.append(forge.block(path[-1].id, BOB, forge.contribution(ALICE, path[-1].id)))
    return forge, Peer(world, CAROL).follow(*path), path


def test_a_good_contribution_is_offered_with_the_state_after_a_block_of_our_own() -> None:
    forge, carol, path = standing_on_two(world_of())
    contribution = forge.contribution(BOB, path[-1].id)
    assert carol.assess(contribution) == good(contribution)
    step = forge.block(path[-1].id, CAROL, contribution)
    assert carol.offers[path[-1].id] == StepOffered(path[-1].id, digests(contribution), b"", step.state_digest)


def test_lies_that_anybody_can_prove_are_invalid() -> None:
    forge, carol, path = standing_on_two(world_of())
    honest = forge.contribution(BOB, path[-1].id)
    junk = replace(honest, payload=b"junk")
    short = encoded_gradient(0.5)[:-1]
    digest, length = forge.world.shelf.put(short)
    ledger = forge.states[path[-1].id].ledger
    submission = encode_submission(GradientSubmission(ledger.version, ledger.digest, digest, length))
    malformed = attached(signed(BOB, path[-1].id, submission), (digest, length))
    details = [carol.assess(item).detail for item in (junk, malformed, replace(honest, attached=()))]
    no_gradient = "its large payload is no gradient of this model"
    assert details == ["its payload is no submission of a gradient", no_gradient, no_gradient]
    assert {carol.assess(item).verdict for item in (junk, malformed)} == {Verdict.INVALID}


def test_what_cannot_be_listed_now_is_of_no_use_and_no_lie() -> None:
    world = world_of(staleness_max=1)
    forge, carol, path = standing_on_two(world)
    path.append(forge.block(path[-1].id, BOB, forge.contribution(BOB, path[-1].id)))
    carol.follow(path[-1])
    head = path[-1].id
    unseen = forge.block(head, ALICE, forge.contribution(ALICE, head))
    fork = forge.block(GENESIS, ALICE)
    fork = forge.block(fork.id, ALICE, forge.contribution(ALICE, fork.id, -0.5))
    useless = [
        forge.contribution(OUTSIDER, head),
        forge.contribution(CAROL, head),
        forge.contribution(BOB, GENESIS),
        forge.contribution(ALICE, fork.id),
        forge.contribution(ALICE, unseen.id),
        forge.contribution(BOB, path[-2].id, 0.1),
    ]
    assert [carol.assess(item) for item in useless] == [of_no_use(item) for item in useless]
    assert listed(carol, head) == ()


def test_the_second_of_an_author_on_one_model_waits_for_nothing() -> None:
    forge, carol, path = standing_on_two(world_of())
    first, second = (forge.contribution(BOB, path[-1].id, value) for value in (0.5, 0.25))
    carol.assess(first)
    assert carol.assess(second) == ContributionAssessed(second.digest, Verdict.GOOD, False, "")
    assert listed(carol, path[-1].id) == digests(first)


def test_a_gradient_on_a_block_that_is_checked_but_not_yet_adopted_is_offered_later() -> None:
    forge, carol, path = standing_on_two(world_of())
    newer = forge.block(path[-1].id, ALICE, forge.contribution(BOB, path[-1].id))
    contribution = forge.contribution(ALICE, newer.id)
    carol.check(newer)
    assert carol.assess(contribution) == good(contribution)
    assert listed(carol, path[-1].id) == ()
    carol.adopt(newer.id)
    assert listed(carol, newer.id) == digests(contribution)


def test_it_waits_while_we_adopt_the_blocks_below_its_base() -> None:
    forge, carol, path = standing_on_two(world_of())
    between = forge.block(path[-1].id, ALICE, forge.contribution(BOB, path[-1].id))
    newer = forge.block(between.id, ALICE, forge.contribution(BOB, between.id))
    contribution = forge.contribution(ALICE, newer.id)
    for step in (between, newer):
        carol.check(step)
    assert carol.assess(contribution) == good(contribution)
    for step in (between, newer):
        carol.adopt(step.id)
    assert listed(carol, newer.id) == digests(contribution)


def test_what_a_final_block_has_listed_in_vain_is_offered_no_more() -> None:
    """A filter that refuses a gradient leaves no trace of it in the state; the pending ones must be told."""
    forge = Forge(world_of("kardam", staleness_max=50, workers_window=20))
    path = forge.path(GENESIS, ALICE, BOB, CAROL, DAVE)
    for turn in range(1, 4):
        base = path[-1].id
        values = ((ALICE, 0.5), (BOB, 0.4), (CAROL, 0.3), (DAVE, -0.45))
        path.append(forge.block(base, ALICE, *(forge.contribution(author, base, value * turn) for author, value in values)))
    bob = Peer(forge.world, BOB).follow(*path)
    steep = forge.contribution(DAVE, path[-1].id, 100.0)
    assert bob.assess(steep) == good(steep)
    path.append(forge.block(path[-1].id, ALICE, steep))
    bob.follow(path[-1])
    assert outcomes(bob)[-1] == GradientOutcome.TOO_STEEP
    bob.finalise(path[-1].id)
    path += forge.path(path[-1].id, ALICE)
    bob.follow(path[-1])
    assert listed(bob, path[-1].id) == ()


def test_a_contribution_whose_base_is_final_is_offered_no_more() -> None:
    """The ordering machine has forgotten it, and would ignore an offer that lists it."""
    forge, carol, path = standing_on_two(world_of())
    contribution = forge.contribution(BOB, path[-1].id)
    carol.assess(contribution)
    path += forge.path(path[-1].id, ALICE, ALICE)
    carol.follow(*path[-2:])
    assert listed(carol, path[-1].id) == digests(contribution)
    (offer,) = carol.finalise(path[-2].id)[:1]
    assert offer == StepOffered(path[-1].id, (), b"", forge.block(path[-1].id, CAROL).state_digest)


def test_a_contribution_is_offered_up_to_an_age_and_may_be_listed_at_any() -> None:
    """The age is how long we wait for a leader who lists it; what a block may list is for the ledger's staleness to say."""
    world = world_of(workers_window=40)
    forge = Forge(world)
    path = forge.path(GENESIS, *[ALICE] * 12, BOB)
    carol = Peer(world, CAROL).follow(*path)
    contribution = forge.contribution(BOB, path[-1].id)
    carol.assess(contribution)
    offered = []
    for _ in range(BASE_AGE_MAX + 2):
        offered.append(listed(carol, path[-1].id))
        path += forge.path(path[-1].id, ALICE)
        carol.follow(path[-1])
    assert offered == [digests(contribution)] * (BASE_AGE_MAX + 1) + [()]
    path.append(forge.block(path[-1].id, ALICE, contribution))
    carol.follow(path[-1])
    assert outcomes(carol)[-1] == GradientOutcome.APPLIED


def test_an_empty_block_is_offered_at_every_head() -> None:
    world = world_of()
    forge, carol = Forge(world), Peer(world, CAROL)
    carol.adopt(GENESIS)
    assert carol.offers[GENESIS] == StepOffered(GENESIS, (), b"", forge.block(GENESIS, CAROL).state_digest)


def test_an_offer_lists_as_many_as_a_block_may() -> None:
    world = world_of(workers_window=80, staleness_max=100)
    forge = Forge(world)
    workers = [bytes([7, number]) * 16 for number in range(70)]
    path = forge.path(GENESIS, *workers)
    carol = Peer(world, CAROL).follow(*path)
    contributions = [forge.contribution(worker, path[-1].id, number / 100) for number, worker in enumerate(workers, 1)]
    for contribution in contributions:
        assert carol.assess(contribution) == good(contribution)
    assert listed(carol, path[-1].id) == digests(*contributions[:64])


# --- our own work ---------------------------------------------------------------------------------------------------


def test_one_gradient_of_ours_waits_to_be_listed_at_a_time() -> None:
    world = world_of()
    path = Forge(world).path(GENESIS, ALICE)
    alice = Peer(world, ALICE).follow(*path)
    (contribution,) = alice.work()
    submission = decode_submission(contribution.payload)
    assert submission is not None
    assert (submission.base, contribution.base) == (0, path[0].id)
    assert not alice.learner.is_searching
    assert alice.assess(contribution) == good(contribution)
    assert alice.work() == []
    alice.follow(alice.lead(path[0].id, 2))
    assert outcomes(alice) == [GradientOutcome.APPLIED]
    assert alice.learner.is_searching


def test_a_gradient_of_ours_that_is_left_out_keeps_waiting() -> None:
    world = world_of()
    forge = Forge(world)
    path = forge.path(GENESIS, ALICE, BOB)
    alice = Peer(world, ALICE).follow(path[0])
    alice.assess(*alice.work())
    alice.follow(path[1])
    assert not alice.learner.is_searching


def test_a_gradient_of_ours_that_was_never_signed_is_computed_anew_on_the_next_head() -> None:
    world = world_of()
    path = Forge(world).path(GENESIS, ALICE, ALICE)
    alice = Peer(world, ALICE).follow(path[0])
    alice.work()
    assert not alice.learner.is_searching
    alice.follow(path[1])
    assert alice.learner.is_searching


def test_of_a_flood_one_waits_and_junk_frees_its_place() -> None:
    world = world_of()
    path = Forge(world).path(GENESIS, ALICE)
    alice = Peer(world, ALICE, conduct=Attacker(lambda own: (b"junk", own, -own))).follow(*path)
    answers = [alice.assess(contribution) for contribution in alice.work()]
    assert [answer.verdict for answer in answers] == [Verdict.INVALID, Verdict.GOOD, Verdict.GOOD]
    assert [answer.is_useful for answer in answers] == [False, True, False]
    alice.follow(alice.lead(path[0].id, 2))
    assert alice.learner.is_searching


def test_a_submission_of_ours_that_is_refused_is_no_longer_on_its_way() -> None:
    world = world_of()
    alice = Peer(world, ALICE, conduct=Attacker(lambda own: (b"junk",))).follow(*Forge(world).path(GENESIS, ALICE))
    alice.assess(*alice.work())
    assert alice.learner.is_searching


# --- what people are told -------------------------------------------------------------------------------------------


def test_what_became_of_gradients_is_told_once() -> None:
    forge, carol, path = standing_on_two(world_of())
    other = forge.block(path[0].id, BOB, forge.contribution(ALICE, path[0].id, 0.1), forge.contribution(BOB, path[0].id))
    carol.follow(other)
    for step in (path[-1], other):
        carol.adopt(step.id)
    assert [told.step for told in carol.judged] == [path[-1].id, other.id]
    assert outcomes(carol) == [GradientOutcome.APPLIED] * 3
    assert carol.judged[-1].weights == ((BOB, 1.0),)
    assert carol.judged[-1].judged[0].staleness == 0


# --- final blocks and restarts --------------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", RULES)
def test_a_restart_from_any_kept_state_leads_to_the_same(rule: str) -> None:
    world = world_of(rule)
    peers = [Peer(world, author) for author in (ALICE, BOB)]
    chain = mined(peers, 12)
    for step in chain[:9]:
        peers[0].finalise(step.id)
    assert [kept.height for kept in peers[0].kept] == list(range(1, 10))
    for kept in peers[0].kept:
        again = Peer(world, CAROL, restored=kept)
        for step in chain:
            again.ask(ReplayRequest(step))
        again.adopt(chain[-1].id)
        assert again.learner.handle(ExportRequest()) == peers[0].learner.handle(ExportRequest())
        again.finalise(chain[9].id)
        next_step = peers[1].lead(chain[-1].id, 13)
        assert again.check(next_step).verdict is Verdict.GOOD
