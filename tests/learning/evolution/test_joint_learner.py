"""Members of a total order that learn jointly: they hold one model after every commit and improve, whatever f of them do."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from learning.evolution.joint_learner import JointGenerations
from learning.evolution.joint_submission import ScoresAndList, decode_joint
from learning.evolution.pace import stands_still
from learning.evolution.ranked_list import RankedList
from learning.exact import MICRO
from learning.learner import CommitAwaited, GenerationWaits, Participant, Phase, SearchProgress, faulty_max, quorum
from learning.state import StoredStateError
from learning.task import Task
from learning.tasks.heterogeneous import NoisyTask, ShardedTask, StochasticTask
from tests.learning.evolution.common_order import names, some
from tests.learning.evolution.exchange import GENESIS, NETWORK
from tests.learning.evolution.joint_order import (
    JOINT_RULES,
    JOINT_SETTINGS,
    Distortion,
    JointMember,
    expects_another_winner,
    keeps_scores_back,
    reverses_lists,
    says_all_twice,
    says_nothing,
    scores_backwards,
)
from tests.learning.following.line_world import Order, commit
from tests.learning.sphere import SAMPLES, SphereTask

GENERATIONS = 20
FOUR = names(4)
OBSERVER = b"o" * 32


def members_of(count: int, distortions: dict[int, Distortion] | None = None) -> list[JointMember]:
    authors = names(count)
    return [JointMember(author, authors, distortion=(distortions or {}).get(place)) for place, author in enumerate(authors)]


def run(members: list[JointMember], generations: int = GENERATIONS, seed: int = 1) -> Order:
    order = Order(members, seed, some)
    order.run_to(generations)
    return order


def history(member: JointMember) -> list[tuple[bytes, int, bytes]]:
    return [(adopted.step, adopted.height, adopted.state_digest) for adopted in member.adopted]


def improvement(member: JointMember) -> float:
    """The distance to the best point, as a share of the first model's."""
    return member.adopted[-1].metrics["distance"] / member.adopted[0].metrics["distance"]


def ignored(member: JointMember) -> set[str]:
    return {reason for decided in member.decided for reason, _ in decided.ignored}


# --- agreement, progress ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 2, 4, 7])
def test_members_and_observers_hold_the_same_models_and_improve(count: int) -> None:
    members = [*members_of(count), JointMember(OBSERVER, names(count))]
    run(members)
    assert [history(member) for member in members[1:]] == [history(members[0])] * count
    assert improvement(members[0]) < 0.2


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**32), size=st.integers(1, 6))
def test_members_agree_whatever_the_order_and_their_pace(seed: int, size: int) -> None:
    members = members_of(size)
    order = run(members, generations=4, seed=seed)
    late = JointMember(OBSERVER, names(size))
    for step in order.log:
        late.deliver(step)
    assert {tuple(history(member)[:5]) for member in (*members, late)} == {tuple(history(late)[:5])}


def in_step(members: list[JointMember], commits: int) -> None:
    """Everybody is done before each commit, and it holds all that was submitted."""
    for height in range(1, commits + 1):
        items = [item for member in members for item in member.work_until_idle()]
        for member in members:
            member.deliver(commit(height, items))


def test_a_generation_costs_one_commit_where_members_keep_step() -> None:
    members = members_of(4)
    in_step(members, commits=10)
    assert [member.adopted[-1].height for member in members] == [9] * 4


def test_a_silent_member_costs_the_first_generation_a_commit() -> None:
    members = members_of(4, {3: says_nothing})
    in_step(members, commits=21)
    assert [member.adopted[-1].height for member in members] == [19] * 4
    awaited = [answer.is_awaited for answer in members[0].answers if isinstance(answer, CommitAwaited)]
    assert awaited == [False, True] + [False] * 20


def test_a_member_says_whether_its_own_part_is_due() -> None:
    members = members_of(4, {3: says_nothing})
    members.append(JointMember(OBSERVER, names(4)))
    in_step(members, commits=5)
    assert members[0].parts_due == members[1].parts_due == [*[True, False] * 4, True]
    assert members[4].parts_due == [False], "who only follows"


def test_more_members_come_further_in_the_same_generations() -> None:
    reached = {}
    for count in (1, 4, 7):
        authors = names(count)
        members = [JointMember(author, authors, task=SphereTask(400)) for author in authors]
        in_step(members, commits=6)
        reached[count] = improvement(members[0])
    assert reached[1] > reached[4] > reached[7]


def test_all_of_the_slate_is_told_and_the_fitness_is_the_agreed_one() -> None:
    members = [*members_of(4), JointMember(OBSERVER, FOUR)]
    run(members, generations=6)
    decided = members[0].decided[3]
    assert [entry.label for entry in decided.slate[:3]] == ["", "its direction", "its best"]
    assert decided.slate[-1].label.startswith("joint, ")
    joins = [entry.agreed_fitness for entry in decided.slate if entry.label.startswith("joint, ")]
    assert decided.slate[decided.winner].agreed_fitness == max(joins) > decided.slate[0].agreed_fitness
    assert members[0].adopted[4].fitness == decided.slate[decided.winner].agreed_fitness / MICRO
    assert len(decided.scorers) >= quorum(4)
    assert {entry.measured_fitness for entry in members[4].decided[3].slate} == {None}


# --- members that do not keep to the rules ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "distortion",
    [reverses_lists, scores_backwards, expects_another_winner, keeps_scores_back, says_all_twice, says_nothing],
)
@pytest.mark.parametrize("count", [4, 7])
def test_up_to_f_of_them_change_nothing_for_the_others(distortion: Distortion, count: int) -> None:
    liars = range(count - faulty_max(count), count)
    members = members_of(count, dict.fromkeys(liars, distortion))
    run(members)
    assert [history(member) for member in members[1:]] == [history(members[0])] * (count - 1)
    assert improvement(members[0]) < 0.25


def test_who_reverses_lists_is_in_few_joins() -> None:
    members = members_of(7, {5: reverses_lists, 6: reverses_lists})
    in_step(members, commits=16)
    lies = [
        entry.agreed_fitness - decided.slate[0].agreed_fitness
        for decided in members[0].decided
        for entry in decided.slate
        if entry.author in names(7)[5:] and entry.label == "its direction"
    ]
    assert sum(lead <= 0 for lead in lies) > len(lies) / 2
    probation = members[0].generations.probation
    assert set(probation[:5]) == {0}
    assert min(probation[5:]) > 0


def test_more_than_f_who_keep_back_their_scores_stop_the_generation() -> None:
    members = members_of(4, {2: keeps_scores_back, 3: keeps_scores_back})
    with pytest.raises(AssertionError, match="the model does not move any more"):
        run(members, generations=1)
    waits = [answer for answer in members[0].answers if isinstance(answer, GenerationWaits)][-1]
    assert (waits.generation, waits.phase, waits.needed) == (GENESIS, Phase.SCORES, 3)
    assert set(waits.counted) == set(FOUR[:2])


# --- fitness that differs from member to member -------------------------------------------------------------------------


def noisy(place: int) -> Task:
    return NoisyTask(SphereTask(), bytes([place]), 1e-3)


def stochastic(place: int) -> Task:
    return StochasticTask(SphereTask(), bytes([place]), 12)


def sharded(place: int) -> Task:
    return ShardedTask(SphereTask(), np.split(np.arange(SAMPLES), (32, 48, 58))[place])


@pytest.mark.parametrize("task_of", [noisy, stochastic, sharded])
def test_members_agree_and_improve_on_measurements_that_differ(task_of: Callable[[int], Task]) -> None:
    members = [JointMember(author, FOUR, task=task_of(place)) for place, author in enumerate(FOUR)]
    run(members)
    assert [history(member) for member in members[1:]] == [history(members[0])] * 3
    assert improvement(members[0]) < 0.2


# --- own work ---------------------------------------------------------------------------------------------------------


def test_scores_and_the_list_that_follows_travel_together() -> None:
    members = members_of(4)
    first = [item for member in members for item in member.work_until_idle()]
    assert [type(decode_joint(item.payload, 12)) for item in first] == [RankedList] * 4
    for member in members:
        assert not member.learner.is_searching
        member.deliver(commit(1, first))
    (second,) = members[0].work_until_idle()
    submission = decode_joint(second.payload, 12)
    assert isinstance(submission, ScoresAndList)
    assert second.base == GENESIS
    assert submission.winner == max(range(len(submission.scores.values)), key=lambda place: submission.scores.values[place])


def test_who_was_too_slow_goes_on_with_the_list_it_had_begun() -> None:
    members = members_of(4)
    first = [item for member in members for item in member.work_until_idle()]
    for member in members:
        member.deliver(commit(1, first))
    slow = members[3]
    assert slow.work(3) == []  # the slate is measured, and a slice is ranked
    second = [item for member in members[:3] for item in member.work_until_idle()]
    for member in members:
        member.deliver(commit(2, second))
    (item,) = slow.work_until_idle()
    assert isinstance(decode_joint(item.payload, 12), RankedList)
    assert item.base == slow.adopted[-1].step
    for member in members:
        member.deliver(commit(3, [item]))
        assert member.generations.consensus.phase is Phase.SCORES
        assert member.generations.consensus.lists.keys() == set(FOUR)


def test_an_observer_neither_ranks_nor_measures() -> None:
    observers = [JointMember(OBSERVER, FOUR), JointMember(FOUR[3], FOUR, is_searching=False)]
    run([*members_of(4)[:3], *observers], generations=5)
    for observer in observers:
        assert (observer.learner.is_searching, observer.learner.search()) == (False, ())
        assert observer.adopted[-1].height >= 5


def test_progress_counts_candidates_over_all_generations() -> None:
    alice = JointMember(FOUR[0], FOUR[:1])
    run([alice], generations=3)
    assert [answer.candidates for answer in alice.answers if isinstance(answer, SearchProgress)][:3] == [48, 72, 96]


# --- restart ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kept_at", [0, 3, 6])
def test_a_restart_from_a_kept_state_and_the_deliveries_after_it_gives_the_same_state(kept_at: int) -> None:
    members = members_of(4)
    order = run(members, generations=9)
    kept = members[1].kept[kept_at]
    again = JointMember(FOUR[1], FOUR, restored=kept)
    assert again.adopted[-1].state_digest == history(members[1])[kept_at + 1][2]
    for step in order.log:  # what the state already holds is passed over
        again.deliver(step)
    assert history(again) == history(members[1])[kept_at + 1 :]
    assert again.generations.consensus.lists == members[1].generations.consensus.lists
    order.replace(1, again)
    order.run_to(13)
    assert [history(member)[-1] for member in members[2:]] == [history(again)[-1]] * 2


def test_all_members_keep_the_same_states_in_the_same_commits() -> None:
    members = [*members_of(4), JointMember(OBSERVER, FOUR)]
    run(members, generations=8)
    kept = [replace(state, digest=b"") for state in members[0].kept]
    assert len(kept) >= 8
    assert [[replace(state, digest=b"") for state in member.kept] for member in members] == [kept] * 5


def test_a_state_without_its_memory_is_refused() -> None:
    members = members_of(4)
    run(members, generations=3)
    with pytest.raises(StoredStateError, match="ends after 0 bytes"):
        JointMember(FOUR[0], FOUR, restored=replace(members[0].kept[1], memory=b""))


def test_the_same_settings_name_the_same_first_model() -> None:
    participant = Participant(NETWORK, FOUR[0], GENESIS, FOUR)
    generations = JointGenerations(SphereTask(), JOINT_RULES, participant, JOINT_SETTINGS, stands_still)
    generations.start_from(None)
    assert generations.head.digest == members_of(4)[2].generations.head.digest


def test_a_list_that_was_sent_beside_other_scores_than_those_that_count_is_sent_again() -> None:
    """A member that measures otherwise after a restart has said two things; the second one, and its list, is ignored."""
    members = members_of(4)
    first = [item for member in members for item in member.work_until_idle()]
    for member in members:
        member.deliver(commit(1, first))
    before = JointMember(FOUR[0], FOUR)  # what member 0 said before its restart, with another expectation
    before.distortion = expects_another_winner
    before.deliver(commit(1, first))
    lost = before.work_until_idle()
    (after,) = members[0].work_until_idle()
    second = [*lost, after, *(item for member in members[1:3] for item in member.work_until_idle())]
    for member in members:
        member.deliver(commit(2, second))
    assert FOUR[0] not in members[1].generations.consensus.lists
    (again,) = members[0].work_until_idle()
    for member in members:
        member.deliver(commit(3, [again]))
        assert FOUR[0] in member.generations.consensus.lists
