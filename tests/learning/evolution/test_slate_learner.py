"""Members of a total order: they hold one model after every commit and improve, whatever f of them do."""

import random
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from learning.evolution.mutation import Mutation
from learning.evolution.mutation_candidates import no_change_digest
from learning.evolution.mutation_submission import decode_submission, encode_submission
from learning.evolution.payload import Candidate, decode_candidate
from learning.evolution.recipe import Recipe, child_of, no_change
from learning.exact import MICRO, noise_key
from learning.learner import (
    AuthoredPayload,
    GenerationWaits,
    Phase,
    SearchProgress,
    SlateEntry,
    faulty_max,
    quorum,
)
from learning.model_consensus.slate import Scores, next_generation
from learning.state import genesis_state, state_digest
from learning.task import Task
from learning.tasks.heterogeneous import NoisyTask, ShardedTask, StochasticTask
from tests.learning.evolution.common_order import (
    Distortion,
    Member,
    claims_perfection,
    favours,
    keeps_scores_back,
    names,
    says_all_twice,
    some,
)
from tests.learning.evolution.exchange import GENESIS, NETWORK, RULES
from tests.learning.following.line_world import Order, commit, signed
from tests.learning.sphere import SAMPLES, SphereTask

GENERATIONS = 30
FOUR = names(4)
SEVEN = names(7)
OBSERVER = b"o" * 32


def members_of(count: int, distortions: dict[int, Distortion] | None = None) -> list[Member]:
    authors = names(count)
    return [Member(author, authors, distortion=(distortions or {}).get(place)) for place, author in enumerate(authors)]


def run(members: list[Member], generations: int = GENERATIONS, seed: int = 1) -> Order:
    order = Order(members, seed, some)
    order.run_to(generations)
    return order


def history(member: Member) -> list[tuple[bytes, int, bytes]]:
    return [(adopted.step, adopted.height, adopted.state_digest) for adopted in member.adopted]


def improvement(member: Member) -> float:
    """The distance to the best point, as a share of the first model's."""
    return member.adopted[-1].metrics["distance"] / member.adopted[0].metrics["distance"]


def winners(member: Member) -> list[bytes | None]:
    return [decided.slate[decided.winner].author for decided in member.decided]


def ignored(member: Member) -> dict[str, int]:
    counts: dict[str, int] = {}
    for decided in member.decided:
        for reason, count in decided.ignored:
            counts[reason] = counts.get(reason, 0) + count
    return counts


def shown(member: Member) -> list[SlateEntry]:
    return [entry for decided in member.decided for entry in decided.slate]


# --- agreement, progress, integrity -----------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 2, 4, 5, 7])
def test_members_and_observers_hold_the_same_models_and_improve(count: int) -> None:
    members = [*members_of(count), Member(OBSERVER, names(count))]
    run(members)
    assert [history(member) for member in members[1:]] == [history(members[0])] * count
    assert [member.model for member in members[1:]] == [members[0].model] * count
    assert improvement(members[0]) < 0.25


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**32), size=st.integers(1, 6))
def test_members_agree_whatever_the_order_and_their_pace(seed: int, size: int) -> None:
    members = members_of(size)
    order = run(members, generations=3, seed=seed)
    late = Member(OBSERVER, names(size))
    for step in order.log:
        late.deliver(step)
    assert {tuple(history(member)[:4]) for member in (*members, late)} == {tuple(history(late)[:4])}


def test_every_model_is_a_real_child_of_the_one_before_it_by_a_named_member() -> None:
    members = members_of(4)
    order = run(members)
    items = {(item.base, item.author): item for step in reversed(order.log) for item in step.items if item.payload[0] == 1}
    model, generation, schedule = genesis_state(NETWORK, members[0].task.layout), GENESIS, RULES.schedule()
    for decided in members[0].decided:
        author = decided.slate[decided.winner].author
        if author is None:
            model, digest = no_change(model), no_change_digest(generation)
        else:
            recipe = decode_candidate(items[generation, author].payload[1:], 1).recipe
            sigma = schedule.at(model.height)
            model = child_of(model, noise_key(NETWORK, generation, author), recipe, sigma)
            digest = items[generation, author].digest
        assert decided.parent == generation
        generation = next_generation(generation, digest, state_digest(model))
        assert (decided.step, decided.height) == (generation, model.height)
    assert members[0].model.state_digest == state_digest(model)
    assert set(winners(members[0])) <= {None, *FOUR}


def test_the_winner_is_the_best_of_the_slate_by_the_agreed_fitness() -> None:
    members = members_of(4)
    run(members)
    for decided in members[1].decided:
        best = max(entry.agreed_fitness for entry in decided.slate)
        assert decided.slate[decided.winner].agreed_fitness == best >= decided.slate[0].agreed_fitness
        assert len(decided.slate) > quorum(4)
        assert len(decided.scorers) >= quorum(4)


def test_people_are_told_of_claims_agreed_fitness_and_our_own_measurement() -> None:
    members = [*members_of(4), Member(OBSERVER, FOUR)]
    run(members, generations=10)
    for entry in shown(members[0]):
        assert entry.claimed_fitness in ({None} if entry.author is None else {entry.agreed_fitness})
        assert entry.measured_fitness in {None, entry.agreed_fitness}
    assert any(entry.measured_fitness is not None for entry in shown(members[0]))
    assert {entry.measured_fitness for entry in shown(members[4])} == {None}
    adopted, decided = members[0].adopted[5], members[0].decided[4]
    assert adopted.fitness == decided.slate[decided.winner].agreed_fitness / MICRO


# --- members that do not keep to the rules --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("distortion", "complaints"),
    [
        (claims_perfection, set()),
        (favours(FOUR[3]), set()),
        (keeps_scores_back, set()),
        (says_all_twice, {"second candidate of its author", "second scores of their author"}),
    ],
)
def test_one_faulty_member_of_four_changes_nothing_for_the_others(distortion: Distortion, complaints: set[str]) -> None:
    members = members_of(4, {3: distortion})
    run(members)
    assert [history(member) for member in members[1:]] == [history(members[0])] * 3
    assert improvement(members[0]) < 0.25
    late = {"for another generation", "candidate for a closed slate"}
    assert complaints <= set(ignored(members[0])) <= complaints | late
    honest = {
        entry.agreed_fitness - entry.measured_fitness for entry in shown(members[0]) if entry.measured_fitness is not None
    }
    assert honest == {0}


@pytest.mark.parametrize("distortion", [claims_perfection, favours(FOUR[3])])
def test_neither_claims_nor_own_scores_make_poor_candidates_win(distortion: Distortion) -> None:
    members = members_of(4, {3: distortion})
    run(members)
    on_slates = [entry for entry in shown(members[0]) if entry.author == FOUR[3]]
    assert len(on_slates) > GENERATIONS / 2
    assert winners(members[0]).count(FOUR[3]) <= 2


def test_colluders_up_to_f_cannot_lift_their_candidates() -> None:
    colluders = favours(SEVEN[5], SEVEN[6])
    members = members_of(7, {5: colluders, 6: colluders})
    run(members, generations=15)
    assert faulty_max(7) == 2
    assert [history(member) for member in members[1:]] == [history(members[0])] * 6
    for entry in shown(members[0]):
        assert entry.measured_fitness in {None, entry.agreed_fitness}
    assert {entry.author for entry in shown(members[0])} == {None, *SEVEN}
    assert winners(members[0]).count(SEVEN[5]) + winners(members[0]).count(SEVEN[6]) <= 2
    assert improvement(members[0]) < 0.6


def test_more_than_f_who_keep_back_their_scores_stop_the_generation_and_it_is_told_for_whom_it_waits() -> None:
    members = members_of(4, {2: keeps_scores_back, 3: keeps_scores_back})
    with pytest.raises(AssertionError, match="the model does not move any more"):
        run(members, generations=1)
    waits = [answer for answer in members[0].answers if isinstance(answer, GenerationWaits)][-1]
    assert (waits.generation, waits.height, waits.phase, waits.needed) == (GENESIS, 0, Phase.SCORES, 3)
    assert set(waits.counted) == set(FOUR[:2])


def test_a_candidate_for_an_old_generation_is_ignored_by_all() -> None:
    members = members_of(4)
    order = run(members, generations=3)
    order.pending.append(signed(FOUR[2], GENESIS, encode_submission(Candidate(Recipe((0,)), 0))))
    order.run_to(8)
    assert [history(member) for member in members[1:]] == [history(members[0])] * 3
    assert ignored(members[0])["for another generation"] >= 1


# --- fitness that differs from member to member -----------------------------------------------------------------------


def noisy(place: int) -> Task:
    return NoisyTask(SphereTask(), bytes([place]), 1e-3)


def stochastic(place: int) -> Task:
    return StochasticTask(SphereTask(), bytes([place]), 12)


def sharded(place: int) -> Task:
    return ShardedTask(SphereTask(), np.split(np.arange(SAMPLES), (32, 48, 58))[place])


@pytest.mark.parametrize("task_of", [noisy, stochastic, sharded])
def test_members_agree_and_improve_on_measurements_that_differ(task_of: Callable[[int], Task]) -> None:
    members = [Member(author, FOUR, task=task_of(place)) for place, author in enumerate(FOUR)]
    run(members)
    assert [history(member) for member in members[1:]] == [history(members[0])] * 3
    assert improvement(members[0]) < 0.2
    own = [
        {(decided.step, entry.author): entry.measured_fitness for decided in member.decided for entry in decided.slate}
        for member in members
    ]
    both = [key for key in own[0] if own[0][key] is not None and own[1].get(key) is not None]
    assert sum(own[0][key] != own[1][key] for key in both) > len(both) / 2 > 5


def test_with_noise_and_a_liar_each_agreed_fitness_lies_between_honest_measurements() -> None:
    liar = favours(FOUR[3])
    members = [
        Member(author, FOUR, task=noisy(place), distortion=liar if place == 3 else None) for place, author in enumerate(FOUR)
    ]
    order = run(members)
    said = {
        (item.base, item.author): item.payload for step in reversed(order.log) for item in step.items if item.payload[0] == 2
    }
    for decided in members[0].decided:
        counted = [decode_submission(said[decided.parent, author], 1, 4) for author in decided.scorers if author != FOUR[3]]
        for place, entry in enumerate(decided.slate):
            values = [scores.values[place] for scores in counted if isinstance(scores, Scores)]
            assert min(values) <= entry.agreed_fitness <= max(values)
    assert improvement(members[0]) < 0.2


# --- own work ---------------------------------------------------------------------------------------------------------


def test_a_member_submits_one_candidate_after_lambda_trials_and_is_idle_then() -> None:
    alice = Member(FOUR[0], FOUR)
    assert alice.learner.is_searching
    (item,) = alice.work_until_idle()
    candidate = decode_submission(item.payload, 1, 4)
    assert isinstance(candidate, Candidate)
    assert (item.base, item.author) == (GENESIS, FOUR[0])
    alice.deliver(commit(1, []))
    assert (alice.learner.is_searching, alice.work(50)) == (False, [])
    bobs = Member(FOUR[1], FOUR).work_until_idle()
    alice.deliver(commit(2, [item, *bobs]))
    assert (alice.learner.is_searching, alice.work_until_idle()) == (True, [])


def test_the_claim_is_the_authors_own_measurement() -> None:
    alice, bob = Member(FOUR[0], FOUR), Member(FOUR[1], FOUR)
    (item,) = alice.work_until_idle()
    candidate = decode_submission(item.payload, 1, 4)
    assert isinstance(candidate, Candidate)
    assert bob.mutations.fitness_of(Mutation(FOUR[0], candidate.recipe)) == candidate.claimed_fitness


def candidates_of_four() -> list[AuthoredPayload]:
    return [item for author in FOUR for item in Member(author, FOUR).work_until_idle()]


@pytest.mark.parametrize("seed", range(4))
def test_scores_do_not_depend_on_when_and_in_which_order_they_were_measured(seed: int) -> None:
    items, chance = candidates_of_four(), random.Random(seed)
    chance.shuffle(items)
    at_once, step_by_step = Member(FOUR[0], FOUR), Member(FOUR[0], FOUR)
    submitted = []
    for height, item in enumerate(items[:2], start=1):
        at_once.deliver(commit(height, [item]))
        step_by_step.deliver(commit(height, [item]))
        submitted += step_by_step.work(chance.randrange(30))
    for member in (at_once, step_by_step):
        member.deliver(commit(3, items[2:]))
    found = at_once.work_until_idle()
    assert len(found) == 1
    assert step_by_step.work_until_idle() == found


def test_a_slate_that_closes_without_us_is_scored_at_once() -> None:
    alice = Member(FOUR[0], FOUR)
    alice.work(1)
    alice.deliver(commit(1, candidates_of_four()[1:]))
    (item,) = alice.work(5)
    scores = decode_submission(item.payload, 1, 4)
    assert isinstance(scores, Scores)
    assert len(scores.values) == 4


def test_an_observer_neither_searches_nor_measures_what_is_delivered() -> None:
    observers = [Member(OBSERVER, FOUR), Member(FOUR[3], FOUR, is_searching=False)]
    run([*members_of(4), *observers], generations=5)
    for observer in observers:
        assert isinstance(observer.task, SphereTask)
        assert (observer.learner.is_searching, observer.learner.search(), observer.height >= 5) == (False, (), True)
        assert observer.task.fitness_calls == 1  # of the first model


def test_progress_counts_candidates_over_all_generations() -> None:
    alice = Member(FOUR[0], FOUR[:1])
    run([alice], generations=4)
    assert [answer.candidates for answer in alice.answers if isinstance(answer, SearchProgress)][:4] == [32, 64, 96, 128]


# --- restart ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kept_at", [0, 3])
def test_a_restart_from_a_kept_state_and_the_deliveries_after_it_gives_the_same_state(kept_at: int) -> None:
    members = members_of(4)
    order = run(members, generations=8)
    kept = members[1].kept[kept_at]
    again = Member(FOUR[1], FOUR, restored=kept)
    assert again.adopted[-1].state_digest == history(members[1])[kept_at + 1][2]
    for step in order.log:  # what the state already holds is passed over
        again.deliver(step)
    assert history(again) == history(members[1])[kept_at + 1 :]
    assert again.model == members[1].model
    assert again.generations.consensus.entries == members[1].generations.consensus.entries
    order.replace(1, again)
    order.run_to(12)
    assert [history(member)[-1] for member in members[2:]] == [history(again)[-1]] * 2


def test_a_restart_in_the_middle_of_a_generation_does_not_submit_again_what_was_delivered() -> None:
    alice, log = Member(FOUR[0], FOUR), [commit(1, candidates_of_four()[:2])]
    alice.deliver(log[0])
    assert alice.work_until_idle() == []
    log.append(commit(2, candidates_of_four()[2:]))
    alice.deliver(log[1])
    scores = alice.work_until_idle()
    log.append(commit(3, scores))
    again = Member(FOUR[0], FOUR)
    submitted = []
    for step in log:
        again.deliver(step)
        submitted.append(again.work_until_idle())
    assert submitted == [[], scores, []]


def test_a_kept_state_names_the_commit_that_decided_it() -> None:
    alice = Member(FOUR[0], FOUR[:1])
    for height in (1, 2, 3, 4):
        alice.deliver(commit(height, alice.work_until_idle()))
    assert [(state.height, state.commit, state.step) for state in alice.kept] == [
        (height, 2 * height, alice.adopted[height].step) for height in (1, 2)
    ]


@pytest.mark.slow
def test_states_are_kept_at_the_same_heights_by_all() -> None:
    members = [Member(author, FOUR, task=SphereTask(33_000)) for author in FOUR]
    run(members, generations=9)
    kept = [(state.step, state.height, state.commit) for state in members[0].kept]
    assert [height for _, height, _ in kept][:2] == [4, 8]
    assert [[(state.step, state.height, state.commit) for state in member.kept] for member in members] == [kept] * 4
