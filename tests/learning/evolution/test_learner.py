"""The learner, as its node drives it: honest peers agree and improve; each kind of lie has its answer."""

import hashlib
from dataclasses import replace

import numpy as np
import pytest
from msgspec import structs

from learning.evolution.learner import EvolutionLearner
from learning.evolution.mutation import kept_interval
from learning.evolution.payload import Candidate, Claim, decode_candidate, decode_claim, encode_candidate, encode_claim
from learning.evolution.recipe import Recipe, child_of
from learning.evolution.rules import UNLIMITED
from learning.evolution.schedule import StepSizeSchedule
from learning.exact import noise_key
from learning.learner import (
    AdoptRequest,
    AssessRequest,
    AuthoredPayload,
    ContributionAssessed,
    ContributionFound,
    ExportRequest,
    FinaliseRequest,
    LearnerAnswer,
    ModelExported,
    Participant,
    ProposedStep,
    ReplayRequest,
    SearchProgress,
    StateKept,
    StepChecked,
    Verdict,
)
from learning.state import ModelState, StoredStateError, genesis_state, state_digest
from learning.task import Float32Array, Float64Array, Int64Array, ParameterBlock, TaskError
from tests.learning.evolution.exchange import ALICE, BOB, GENESIS, NETWORK, RULES, SETTINGS, Peer, grown
from tests.learning.following.line_world import signed
from tests.learning.sphere import SphereTask


def started(author: bytes = ALICE, regression_allowed: int = 0) -> Peer:
    peer = Peer(author, structs.replace(RULES, regression_allowed=regression_allowed))
    peer.adopt(GENESIS)
    return peer


def with_claim(contribution: AuthoredPayload, by: int) -> AuthoredPayload:
    """The same recipe, with a claim that is off by so many micro-units."""
    candidate = decode_candidate(contribution.payload, 1)
    payload = encode_candidate(Candidate(candidate.recipe, candidate.claimed_fitness + by))
    return signed(contribution.author, contribution.base, payload)


def step_by(peer: Peer) -> ProposedStep:
    """A good step on genesis that the peer would lead, its own candidate in it."""
    peer.assess(peer.find())
    return peer.lead(GENESIS, 1)


def reclaimed(step: ProposedStep, child_by: int = 0, parent_by: int = 0) -> ProposedStep:
    claim = decode_claim(step.claim)
    return replace(step, claim=encode_claim(Claim(claim.child_fitness + child_by, claim.parent_fitness + parent_by)))


# --- peers that agree -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("recipe_length_max", [1, 4])
def test_two_peers_improve_together_and_hold_the_same_state(recipe_length_max: int) -> None:
    rules = structs.replace(RULES, recipe_length_max=recipe_length_max)
    peers = (Peer(ALICE, rules), Peer(BOB, rules))
    first = [peer.adopt(GENESIS) for peer in peers]
    adopted, head = first, GENESIS
    for height in range(1, 41):
        leader = peers[height % 2]
        for contribution in [found for peer in peers for found in peer.work(24)]:
            for peer in peers:
                assert peer.assess(contribution).detail == ""
        step = leader.lead(head, height)
        for peer in peers:
            assert peer.check(step) == StepChecked(step.id, Verdict.GOOD, False, "")
        adopted, head = [peer.adopt(step.id) for peer in peers], step.id
        assert adopted[0].state_digest == adopted[1].state_digest == step.state_digest
    assert 0 < -adopted[0].fitness < -first[0].fitness / 50


def test_peers_offer_the_best_that_anybody_found() -> None:
    alice, bob = started(ALICE), started(BOB)
    found = [alice.find(), bob.find()]
    for contribution in found:
        alice.assess(contribution)
        bob.assess(contribution)
    best = max(found, key=lambda item: decode_candidate(item.payload, 1).claimed_fitness)
    assert alice.offers[GENESIS] == bob.offers[GENESIS]
    assert alice.offers[GENESIS].contributions == (best.digest,)


def test_the_order_in_which_candidates_arrive_does_not_matter() -> None:
    finders = [started(bytes([number]) * 32) for number in range(4)]
    found = [finder.find() for finder in finders]
    forwards, backwards = started(b"f" * 32), started(b"k" * 32)
    for one, other in zip(found, reversed(found), strict=True):
        forwards.assess(one)
        backwards.assess(other)
    assert forwards.offers[GENESIS] == backwards.offers[GENESIS]


def test_the_child_on_offer_is_the_published_one() -> None:
    alice = started()
    contribution = alice.find()
    alice.assess(contribution)
    recipe = decode_candidate(contribution.payload, 1).recipe
    genesis = genesis_state(NETWORK, alice.task.layout)
    sigma = StepSizeSchedule(RULES.step_size, RULES.step_size_factor, RULES.step_size_floor).at(0)
    child = child_of(genesis, noise_key(NETWORK, GENESIS, ALICE), recipe, sigma)
    assert alice.offers[GENESIS].state_digest == state_digest(child)


# --- search ---------------------------------------------------------------------------------------------------------


def test_after_adoption_no_change_is_on_offer() -> None:
    alice = started()
    genesis = genesis_state(NETWORK, alice.task.layout)
    offer = alice.offers[GENESIS]
    claim = decode_claim(offer.claim)
    assert (offer.contributions, claim.child_fitness) == ((), claim.parent_fitness)
    assert offer.state_digest == state_digest(ModelState(genesis.parameters, 1))


def test_each_finding_beats_the_one_before_and_what_others_found() -> None:
    alice, bob = started(ALICE), started(BOB)
    for _ in range(3):
        alice.assess(bob.find())
    best = decode_claim(alice.offers[GENESIS].claim).child_fitness
    fitnesses = [decode_candidate(alice.find().payload, 1).claimed_fitness for _ in range(3)]
    assert [best, *fitnesses] == sorted({best, *fitnesses})


def test_our_own_finding_comes_back_without_being_measured_again() -> None:
    alice = started()
    assert isinstance(alice.task, SphereTask)
    contribution = alice.find()
    before = alice.task.fitness_calls
    assert alice.assess(contribution) == ContributionAssessed(contribution.digest, Verdict.GOOD, True, "")
    assert alice.task.fitness_calls == before


def test_an_observer_does_not_search_but_offers_what_it_hears_of() -> None:
    observer = Peer(BOB, is_searching=False)
    observer.adopt(GENESIS)
    assert [observer.learner.search() for _ in range(100)] == [()] * 100
    contribution = started().find()
    assert observer.assess(contribution).is_useful
    assert observer.offers[GENESIS].contributions == (contribution.digest,)


def test_nothing_is_searched_before_a_step_is_adopted() -> None:
    assert Peer(ALICE).learner.search() == ()


def counts_of(answers: tuple[LearnerAnswer, ...]) -> list[int]:
    return [answer.candidates for answer in answers if isinstance(answer, SearchProgress)]


def test_progress_counts_every_candidate_over_all_generations() -> None:
    alice = Peer(ALICE)
    (first, *_) = grown(Peer(BOB), 1)
    alice.adopt(GENESIS)
    alice.work(4)
    alice.check(first)
    alice.ask(FinaliseRequest(first.id))
    assert counts_of(alice.ask(AdoptRequest(first.id))) == [32]
    alice.work(3)
    second = alice.lead(first.id, 2)
    alice.check(second)
    assert counts_of(alice.ask(AdoptRequest(second.id))) == [56]
    later = [count for _ in range(300) for count in counts_of(alice.learner.search())]
    assert (min(later) >= 56 + 1_024, later) == (True, sorted(set(later)))


def test_a_search_misled_by_its_fast_scores_tells_nothing_worse_than_before() -> None:
    class Misleading(SphereTask):
        def scores(self, candidates: Float32Array, batch: Int64Array) -> Float64Array:
            return -super().scores(candidates, batch)

        def fitness(self, parameters: Float32Array, batch: Int64Array) -> float:
            return float(super().scores(parameters[None, :], batch)[0])

    alice = Peer(ALICE, structs.replace(RULES, regression_allowed=UNLIMITED), task=Misleading())
    alice.adopt(GENESIS)
    assert len(alice.work(600)) == 1


def test_each_generation_is_measured_on_the_batch_that_its_parent_selects() -> None:
    alice = Peer(ALICE)
    (step,) = grown(alice, 1)
    batch = alice.task.draw_batch(batch_seed(step.id))
    assert alice.adopt(step.id).fitness == round(alice.task.fitness(exported(alice).parameters, batch) * 1e6) / 1e6


def exported(peer: Peer) -> ModelState:
    (answer,) = peer.ask(ExportRequest())
    assert isinstance(answer, ModelExported)
    return ModelState(np.frombuffer(answer.parameters, dtype="<f4").astype(np.float32), answer.height)


def batch_seed(base: bytes) -> bytes:
    return hashlib.blake2b(b"\x0ekubrat/batch/1" + NETWORK + base, digest_size=32).digest()


def test_without_a_limit_on_regression_a_worse_child_is_a_finding() -> None:
    class PerfectStart(SphereTask):
        """The first model is the best there is."""

        def scores(self, candidates: Float32Array, batch: Int64Array) -> Float64Array:
            start = genesis_state(NETWORK, self.layout).parameters
            return super().scores(candidates - start + np.float32(0.25), batch)

    comma = Peer(ALICE, structs.replace(RULES, regression_allowed=UNLIMITED), task=PerfectStart())
    parent = comma.adopt(GENESIS)
    contribution = comma.find()
    assert decode_candidate(contribution.payload, 1).claimed_fitness < round(parent.fitness * 1e6)
    assert comma.assess(contribution).is_useful
    plus = Peer(BOB, task=PerfectStart())
    plus.adopt(GENESIS)
    assert not [answer for _ in range(200) for answer in plus.learner.search() if isinstance(answer, ContributionFound)]
    assert plus.assess(contribution) == ContributionAssessed(contribution.digest, Verdict.CONTESTED, False, "")


# --- candidates that lie --------------------------------------------------------------------------------------------


def test_a_candidate_for_a_base_that_we_have_forgotten_is_nobodys_fault() -> None:
    answer = started().assess(signed(BOB, b"x" * 32, encode_candidate(Candidate(Recipe((1,)), 0))))
    assert (answer.verdict, answer.detail) == (Verdict.CONTESTED, "")


def test_a_candidate_with_a_large_payload_is_invalid() -> None:
    """Else one candidate would have as many digests as there are payloads."""
    contribution = replace(started(ALICE).find(), attached=((bytes(32), 1),))
    answer = started(BOB).assess(contribution)
    assert (answer.verdict, answer.detail) == (Verdict.INVALID, "attachments: 1, allowed 0")


def test_what_claims_no_more_than_the_best_known_is_not_measured() -> None:
    bob, liar = started(BOB), started(b"l" * 32)
    assert isinstance(bob.task, SphereTask)
    bob.assess(started(ALICE).find())
    measured = bob.task.fitness_calls
    lie = with_claim(liar.find(), -1_000_000_000)
    assert bob.assess(lie) == ContributionAssessed(lie.digest, Verdict.CONTESTED, False, "")
    assert bob.task.fitness_calls == measured


def test_a_malformed_candidate_is_invalid() -> None:
    payload = encode_candidate(Candidate(Recipe((1, 2)), 0))
    answer = started().assess(signed(BOB, GENESIS, payload))
    assert (answer.verdict, answer.detail) == (Verdict.INVALID, "recipe length is 2, allowed 1..1")


@pytest.mark.parametrize(("by", "verdict"), [(10, "good"), (-10, "good"), (11, "contested"), (-11, "contested")])
def test_a_claim_may_be_off_by_the_tolerance(by: int, verdict: str) -> None:
    contribution = with_claim(started(ALICE).find(), by)
    assert started(BOB).assess(contribution).verdict == verdict


def test_a_false_claim_is_no_better_candidate() -> None:
    bob = started(BOB)
    answer = bob.assess(with_claim(started(ALICE).find(), 1_000_000))
    assert (answer.is_useful, answer.is_proven_lie, bob.offers[GENESIS].contributions) == (False, True, ())
    assert "claimed_fitness is" in answer.detail


def test_nobody_can_claim_anothers_candidate() -> None:
    contribution = started(ALICE).find()
    stolen = signed(BOB, contribution.base, contribution.payload)
    assert started(BOB).assess(stolen).verdict is Verdict.CONTESTED


def test_a_candidate_that_is_not_the_best_is_not_useful() -> None:
    alice, bob = started(ALICE), started(BOB)
    earlier, later = alice.find(), alice.find()
    assert [bob.assess(item).is_useful for item in (later, earlier, later)] == [True, False, False]


# --- steps that lie -------------------------------------------------------------------------------------------------


def test_a_step_without_change_is_good() -> None:
    step = started(ALICE).lead(GENESIS, 1)
    assert started(BOB).check(step) == StepChecked(step.id, Verdict.GOOD, False, "")


def test_a_step_of_wrong_form_is_invalid() -> None:
    alice, bob = started(ALICE), started(BOB)
    step = step_by(alice)
    (contribution,) = step.contributions
    elsewhere = signed(ALICE, b"x" * 32, contribution.payload)
    wrong = {
        "height is 2, expected 1": replace(step, height=2),
        "contributions: 2, allowed 0..1": replace(step, contributions=(contribution, contribution)),
        f"contribution for base {(b'x' * 32).hex()}, expected {GENESIS.hex()}": replace(step, contributions=(elsewhere,)),
        "claim of 3 bytes, expected 17": replace(step, claim=b"abc"),
        "candidate of 0 bytes, allowed 14 or more": replace(step, contributions=(signed(ALICE, GENESIS, b""),)),
    }
    assert {bob.check(item).detail: item for item in wrong.values()} == wrong
    assert {bob.check(item).verdict for item in wrong.values()} == {Verdict.INVALID}


@pytest.mark.parametrize(
    ("child_by", "parent_by", "verdict", "is_proven_lie"),
    [
        (10, -10, "good", False),
        (11, 0, "contested", False),
        (0, -11, "contested", False),
        (20, 0, "contested", False),
        (21, 0, "refuted", False),
        (0, -21, "refuted", False),
        (1_000, 0, "refuted", False),
        (1_001, 0, "refuted", True),
        (0, -1_001, "refuted", True),
    ],
)
def test_a_leaders_claim_is_measured(child_by: int, parent_by: int, verdict: str, is_proven_lie: bool) -> None:
    step = reclaimed(step_by(started(ALICE)), child_by, parent_by)
    answer = started(BOB).check(step)
    assert (answer.verdict, answer.is_proven_lie) == (verdict, is_proven_lie)


def test_a_step_with_a_falsely_claimed_candidate_is_contested_but_its_leader_has_not_lied() -> None:
    step = step_by(started(ALICE))
    falsely = replace(step, contributions=(with_claim(step.contributions[0], 5_000),))
    answer = started(BOB).check(falsely)
    assert (answer.verdict, answer.is_proven_lie) == (Verdict.CONTESTED, False)
    assert answer.detail.startswith("claimed_fitness is")


def test_a_step_that_says_itself_that_it_is_below_its_parent_is_invalid_where_no_regression_is_allowed() -> None:
    alice = started(ALICE, UNLIMITED)
    worse = next(step for step in worse_steps(alice) if alice.check(step).verdict is Verdict.GOOD)
    answer = started(BOB).check(worse)
    assert (answer.verdict, answer.is_proven_lie) == (Verdict.INVALID, False)
    assert started(BOB, regression_allowed=10**7).check(worse).verdict is Verdict.GOOD


def worse_steps(peer: Peer) -> list[ProposedStep]:
    """Steps to honest children of genesis that are worse than it, claimed truly."""
    parent = decode_claim(peer.offers[GENESIS].claim).parent_fitness
    genesis = genesis_state(NETWORK, peer.task.layout)
    sigma = StepSizeSchedule(RULES.step_size, RULES.step_size_factor, RULES.step_size_floor).at(0)
    batch = peer.task.draw_batch(batch_seed(GENESIS))
    steps: list[ProposedStep] = []
    for index in range(20):
        child = child_of(genesis, noise_key(NETWORK, GENESIS, peer.author), Recipe((index,)), sigma)
        fitness = round(peer.task.fitness(child.parameters, batch) * 1_000_000)
        if fitness < parent - 100:
            contribution = signed(peer.author, GENESIS, encode_candidate(Candidate(Recipe((index,)), fitness)))
            claim = encode_claim(Claim(fitness, parent))
            step = bytes([index]) * 32
            steps.append(ProposedStep(step, GENESIS, 1, peer.author, (contribution,), claim, state_digest(child)))
    return steps


def test_a_contested_step_can_be_built_on_when_most_of_the_work_has() -> None:
    alice, bob = started(ALICE), started(BOB)
    contested = reclaimed(step_by(alice), child_by=15)
    assert bob.check(contested).verdict is Verdict.CONTESTED
    assert bob.adopt(contested.id).state_digest == contested.state_digest


# --- time passes ----------------------------------------------------------------------------------------------------


def test_the_search_from_a_step_that_has_died_ends() -> None:
    alice, (rival,) = Peer(ALICE), grown(Peer(BOB), 1)
    grown(alice, 2)
    alice.check(rival)
    assert alice.learner.is_searching
    alice.finalise(rival.id)
    assert not alice.learner.is_searching
    alice.adopt(rival.id)
    assert alice.learner.is_searching


def test_a_candidate_for_another_branch_is_offered_when_that_is_adopted() -> None:
    alice, bob = Peer(ALICE), Peer(BOB)
    (step,) = grown(bob, 1)
    alice.adopt(GENESIS)
    alice.check(step)
    contribution = bob.find()
    answers = alice.ask(AssessRequest(contribution))
    assert [type(answer) for answer in answers] == [ContributionAssessed]
    alice.adopt(step.id)
    assert alice.offers[step.id].contributions == (contribution.digest,)


def test_finality_forgets_and_keeps_states_now_and_then() -> None:
    alice = Peer(ALICE)
    path = grown(alice, 8)
    answers = [alice.ask(FinaliseRequest(step.id)) for step in path]
    kept = [answer for step in answers for answer in step]
    assert [(type(answer), getattr(answer, "height", None)) for answer in kept] == [
        (StateKept, height) for height in range(1, 9)
    ]
    late = alice.assess(signed(BOB, path[4].id, encode_candidate(Candidate(Recipe((1,)), 0))))
    assert (late.verdict, late.detail) == (Verdict.CONTESTED, "")
    assert len(alice.learner._best) <= 1  # what it remembers shows in its memory alone


def test_large_models_are_kept_more_rarely() -> None:
    layouts = [(ParameterBlock("w", (size,), 1),) for size in (4_810, 16_384, 1_000_000)]
    assert [kept_interval(layout) for layout in layouts] == [1, 2, 32]


def test_a_restart_replays_to_the_same_state_without_measuring() -> None:
    alice = Peer(ALICE)
    path = grown(alice, 8)
    kept = [answer for step in path[:-1] for answer in alice.ask(FinaliseRequest(step.id)) if isinstance(answer, StateKept)]
    again = Peer(ALICE, task=SphereTask(), restored=kept[0])
    assert isinstance(again.task, SphereTask)
    before = again.task.fitness_calls
    for step in path:
        again.ask(ReplayRequest(step))
    for step in path[:-1]:
        again.ask(FinaliseRequest(step.id))
    assert (again.task.fitness_calls, exported(again).height) == (before, path[-2].height)
    assert again.adopt(path[-1].id).state_digest == path[-1].state_digest
    assert again.ask(ExportRequest()) == alice.ask(ExportRequest())


def test_damaged_records_stop_the_replay() -> None:
    alice = Peer(ALICE)
    (step,) = grown(alice, 1)
    with pytest.raises(StoredStateError, match="claim of 0 bytes, expected 17"):
        Peer(ALICE).ask(ReplayRequest(replace(step, claim=b"")))
    damaged = Peer(ALICE)
    damaged.ask(ReplayRequest(replace(step, state_digest=bytes(32))))
    with pytest.raises(StoredStateError, match="leads to another state than stored"):
        damaged.adopt(step.id)


def test_a_task_that_fails_is_named() -> None:
    class NotANumber(SphereTask):
        def fitness(self, parameters: Float32Array, batch: Int64Array) -> float:
            return float("nan")

    with pytest.raises(TaskError, match="task 'sphere': fitness is nan, expected a finite float"):
        EvolutionLearner(NotANumber(), RULES, Participant(NETWORK, ALICE, GENESIS), SETTINGS)


def test_a_peer_that_can_measure_nothing_later_leads_blocks_without_change_and_claims_nothing() -> None:
    class Diverging(SphereTask):
        """Only the first model, tried at the start, has a fitness."""

        def fitness(self, parameters: Float32Array, batch: Int64Array) -> float:
            self.fitness_calls += 1
            return super().fitness(parameters, batch) if self.fitness_calls <= 5 else float("nan")

    peer = Peer(ALICE, task=Diverging())
    assert peer.adopt(GENESIS).fitness > -3
    assert peer.work(200) == []
    assert peer.offers[GENESIS].contributions == ()
    block = peer.lead(GENESIS, 1)
    assert peer.check(block).verdict is Verdict.GOOD
    assert peer.adopt(block.id).fitness == -(2**60) / 1e6
    assert peer.offers[block.id].contributions == ()
