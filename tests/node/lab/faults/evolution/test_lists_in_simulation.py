"""Each fault in a network of the joint rule bites, and f liars keep the others neither from agreeing nor from learning."""

from collections.abc import Iterator

import pytest

from consensus.effects import Broadcast
from consensus.total_order.messages import MESSAGE_CODEC, BlockMessage
from learning.evolution.joint_learner import JointGenerations
from learning.evolution.joint_submission import JointSubmission, ScoresAndList, decode_joint
from learning.evolution.ranked_list import LIST_INDEX_MAX, RankedList
from learning.evolution.rules import Strategy
from learning.exact import FITNESS_LOWEST, FITNESS_MAX
from learning.following.line import LineLearner
from learning.learner import GenerationDecided, StepAdopted
from learning.model_consensus.slate import Scores
from node.lab.faults.evolution.lists import mixed
from node.lab.simulation.peer import SimulatedPeer
from tests.node.lab.faults.stage import ORDER, Play, play, withstood

OFFSPRING = 16
TOLERANCE = 10
SECONDS = 12


def joint(fault: str, **others: int) -> Play:
    """A network that has withstood it, and got better."""
    played = withstood(fault, ORDER, strategy=Strategy.JOINT, seconds=SECONDS, **others)
    assert_better_and_better(played)
    return played


def assert_better_and_better(played: Play) -> None:
    distances = [head.metrics["distance"] for _, head in played.by(played.honest[0], StepAdopted)]
    assert distances[-1] < distances[0] / 2


def decided(played: Play) -> list[GenerationDecided]:
    """The generations that the first honest member has seen the end of."""
    generations = [generation for _, generation in played.by(played.honest[0], GenerationDecided)]
    assert len(generations) >= 5
    return generations


def submissions(played: Play, peer: SimulatedPeer | None = None) -> Iterator[tuple[bytes, JointSubmission]]:
    """What a member, the liar unless told otherwise, has submitted to the order, and for which generation."""
    members, author = played.simulation.population.members, peer or played.liar
    for _, effect in played.by(author, Broadcast):
        message = MESSAGE_CODEC.decode(effect.message)
        if isinstance(message, BlockMessage) and members[message.block.content.author] == author.id:
            for item in message.block.content.items:
                yield item.base, decode_joint(item.payload, OFFSPRING)


def lists(played: Play, peer: SimulatedPeer | None = None) -> list[RankedList]:
    """Alone, and with scores."""
    said = [one for _, one in submissions(played, peer) if not isinstance(one, Scores)]
    found = [one.ranked if isinstance(one, ScoresAndList) else one for one in said]
    assert len(found) >= 3
    return found


def directions(played: Play) -> list[tuple[int, int]]:
    """The agreed lead of the liar's direction, and the least of the others', by generation that has it."""
    found = []
    for generation in decided(played):
        leads = {
            entry.author: entry.agreed_fitness - generation.slate[0].agreed_fitness
            for entry in generation.slate
            if entry.label == "its direction"
        }
        own = leads.pop(played.liar.id, None)
        if own is not None:
            found.append((own, min(leads.values())))
    return found


@pytest.mark.parametrize("fault", ["worst-candidate", "reversed-lists:effort=1"])
def test_a_reversed_list_leads_away_and_puts_its_author_on_probation(fault: str) -> None:
    played = joint(fault)
    found = directions(played)
    assert len(found) >= 5
    assert [(own, least) for own, least in found if least > 0 <= own] == []
    assert {entry.author for one in decided(played) if (entry := one.slate[one.winner])}.isdisjoint({played.liar.id})
    place = played.simulation.population.members.index(played.liar.id)
    assert [generations_of(peer).probation[place] > 0 for peer in played.honest] == [True] * 3


def generations_of(peer: SimulatedPeer) -> JointGenerations:
    assert isinstance(peer.learner, LineLearner)
    generations: JointGenerations = peer.learner.follower
    return generations


def test_lists_are_found_with_as_much_more_search_as_is_asked_for() -> None:
    once, eightfold = (
        played.liar.learner._honest.follower._settings.effort_max
        for played in (joint("worst-candidate"), joint("reversed-lists"))
    )
    assert eightfold == 8 * once


def test_lists_found_with_more_cores_are_in_time_and_lead_away() -> None:
    played = joint("reversed-lists")
    found = directions(played)
    assert len(found) >= 0.8 * len(decided(played))
    assert [(own, least) for own, least in found if least > 0 <= own] == []


def test_a_poor_list_gains_hardly_anything_and_is_found_out_by_nobody() -> None:
    played = joint("poor-lists")
    found = [(own, least) for own, least in directions(played) if least > 0]
    assert sum(own for own, _ in found) < sum(least for _, least in found) / 2
    assert len([own for own, _ in found if own > 0]) > len(found) / 2


def test_pairs_change_places_from_the_middle_outwards() -> None:
    ranked = RankedList((5, 4, 3, 2, 1))
    assert [mixed(ranked, pairs).indices for pairs in range(3)] == [(5, 4, 3, 2, 1), (5, 2, 3, 4, 1), (1, 2, 3, 4, 5)]
    assert mixed(RankedList((4, 3, 2, 1)), 1).indices == (4, 2, 3, 1)
    assert mixed(RankedList((4,)), 0).indices == (4,)


def test_lists_for_an_entry_that_does_not_win_stand_on_no_slate() -> None:
    played = joint("wrong-winner")
    decisions = {one.parent: one for one in decided(played)}
    both = [(decisions[base], one) for base, one in submissions(played) if isinstance(one, ScoresAndList) and base in decisions]
    assert len(both) >= 3
    assert [one.winner for decision, one in both if one.winner == decision.winner] == []
    authors = [{entry.author for entry in one.slate} for one in decided(played)[1:]]
    assert [played.liar.id in of_slate for of_slate in authors] == [False] * len(authors)


def test_a_stolen_list_is_another_direction_under_another_name() -> None:
    played = joint("stolen-candidate")
    theirs = {one.indices for peer in played.honest for one in lists(played, peer)}
    assert {one.indices for one in lists(played)} <= theirs
    assert {entry.author for one in decided(played) if (entry := one.slate[one.winner])}.isdisjoint({played.liar.id})


def test_indices_that_were_never_ranked_are_a_direction_like_another() -> None:
    played = joint("unverifiable-index")
    assert {one.indices for one in lists(played)} == {tuple(range(LIST_INDEX_MAX - OFFSPRING, LIST_INDEX_MAX))}


@pytest.mark.parametrize("fault", ["scores-inverted", "colluding-scorers"])
def test_one_liar_s_scores_move_no_agreed_fitness_beyond_what_the_honest_measure(fault: str) -> None:
    played = joint(fault)
    for generation in decided(played):
        for entry in generation.slate:
            assert entry.measured_fitness is None or abs(entry.agreed_fitness - entry.measured_fitness) <= TOLERANCE


def scores(played: Play, peer: SimulatedPeer | None = None) -> dict[bytes, tuple[int, ...]]:
    """By slate, those that came with a list."""
    found = [one.scores for _, one in submissions(played, peer) if isinstance(one, ScoresAndList)]
    assert len(found) >= 3
    return {one.slate: one.values for one in found}


def test_inverted_scores_are_the_honest_ones_upside_down() -> None:
    played = joint("scores-inverted")
    honest = scores(played, played.honest[0])
    common = {slate: values for slate, values in scores(played).items() if slate in honest}
    assert len(common) >= 3
    for slate, values in common.items():
        lowest, highest = min(honest[slate]), max(honest[slate])
        assert values == pytest.approx([lowest + highest - value for value in honest[slate]], abs=TOLERANCE)


def test_colluders_praise_the_direction_and_the_head_of_each_other_alone() -> None:
    played = joint("colluding-scorers", peers=7, faulty=2)
    colluders = {liar.id for liar in played.liars}
    decisions = {one.parent: one for one in decided(played)}
    said = [
        (decisions[base], one.scores.values)
        for base, one in submissions(played, played.liars[0])
        if isinstance(one, ScoresAndList) and base in decisions
    ]
    assert len(said) >= 3
    for decision, values in said:
        praised = [entry.author in colluders for entry in decision.slate]
        assert values == tuple(FITNESS_MAX if is_praised else FITNESS_LOWEST for is_praised in praised)
        assert sum(praised) in {0, 2, 4}


def test_more_than_f_colluders_choose_the_model() -> None:
    """What is beyond the guarantee."""
    played = play("worst-candidate+colluding-scorers", ORDER, faulty=2, seconds=SECONDS, strategy=Strategy.JOINT)
    liars = {liar.id for liar in played.liars}
    winners = [generation.slate[generation.winner].author for generation in decided(played)]
    assert sum(winner in liars for winner in winners) >= 2


def test_a_free_rider_scores_and_has_no_lists() -> None:
    played = joint("free-rider")
    kinds = {type(one) for _, one in submissions(played)}
    assert kinds == {Scores}
    assert {entry.author for one in decided(played) for entry in one.slate}.isdisjoint({played.liar.id})


def test_nobody_idles_while_a_slate_is_to_be_closed_with_the_next_commit() -> None:
    """A second for each generation, otherwise."""
    assert len(decided(joint("free-rider"))) >= 0.8 * len(decided(joint("worst-candidate")))
