"""Each fault of an evolutionary learner bites, and f of them keep the honest neither from agreeing nor from getting better."""

import pytest

from consensus.effects import Broadcast
from consensus.proof_of_work import messages as work
from consensus.total_order.messages import MESSAGE_CODEC, BlockMessage
from learning.evolution.mutation_submission import decode_submission
from learning.evolution.payload import Candidate, decode_candidate, decode_claim
from learning.evolution.recipe import INDEX_MAX
from learning.exact import FITNESS_LOWEST, FITNESS_MAX
from learning.learner import GenerationDecided, StepAdopted
from learning.model_consensus.slate import Scores
from tests.node.lab.faults.stage import ORDER, WORK, Play, play, withstood

TOLERANCE = 10


def decided(played: Play) -> list[GenerationDecided]:
    """The generations that the first honest member has seen the end of."""
    generations = [generation for _, generation in played.by(played.honest[0], GenerationDecided)]
    assert len(generations) >= 6
    return generations


def entries(played: Play, author: bytes):
    """What this author has put on slates, with the whole slate."""
    return [(entry, generation) for generation in decided(played) for entry in generation.slate if entry.author == author]


def submissions(played: Play, peer=None):
    """What a member, the liar unless told otherwise, has submitted to the order."""
    members, author = played.simulation.population.members, peer or played.liar
    for _, effect in played.by(author, Broadcast):
        message = MESSAGE_CODEC.decode(effect.message)
        if isinstance(message, BlockMessage) and members[message.block.content.author] == author.id:
            for item in message.block.content.items:
                yield decode_submission(item.payload, 32, len(members))


def assert_better_and_better(played: Play) -> None:
    fitness = [head.fitness for _, head in played.by(played.honest[0], StepAdopted)]
    assert fitness[-1] > fitness[0]


def test_a_claim_beyond_the_tolerance_is_contested_and_blamed_on_nobody() -> None:
    played = withstood("contested-claim", WORK)
    assert all(peer.replica.ordering.status.blocks_contested > 0 for peer in played.honest)
    assert (played.accusations, played.refusals) == ([], [set()] * 3)
    assert_better_and_better(played)


def test_a_claim_at_the_tolerance_is_taken_by_those_who_measure_the_same() -> None:
    played = withstood("contested-claim:beyond=0", WORK)
    assert set(overclaims(played)) == {TOLERANCE}
    assert [peer.replica.ordering.status.blocks_contested for peer in played.honest] == [0] * 3
    assert played.liar.id in {step.leader for step in played.honest[0].replica.ordering.status.steps}


def overclaims(played: Play):
    """By how much the liar's blocks claim more for a child than its finder did."""
    for message in told_over_work(played, played.liar):
        if isinstance(message, work.BlockMessage) and message.block.header.leader == played.liar.id:
            for contribution in message.block.body.contributions:
                candidate = decode_candidate(contribution.payload, 32)
                yield decode_claim(message.block.body.claim).child_fitness - candidate.claimed_fitness


def told_over_work(played: Play, peer):
    """What a peer has told everybody."""
    return (work.MESSAGE_CODEC.decode(effect.message) for _, effect in played.by(peer, Broadcast))


@pytest.mark.parametrize("fault", ["inflated-claim", "stolen-candidate", "unverifiable-index"])
def test_a_false_claim_over_proof_of_work_is_evidence_against_its_author(fault: str) -> None:
    played = withstood(fault, WORK)
    assert played.offences == {"FALSE_CLAIM"}
    assert played.refusals == [{played.liar.id}] * 3
    assert_better_and_better(played)


def test_an_inflated_claim_changes_no_score() -> None:
    played = withstood("inflated-claim", ORDER)
    for entry, _ in entries(played, played.liar.id):
        assert abs(entry.claimed_fitness - 1_000_000 - entry.agreed_fitness) <= TOLERANCE
    assert_better_and_better(played)


def test_a_candidate_stolen_off_the_order_comes_too_late_for_the_slate() -> None:
    played = withstood("stolen-candidate", ORDER)
    assert [submission for submission in submissions(played) if isinstance(submission, Candidate)] != []
    assert entries(played, played.liar.id) == []
    assert_better_and_better(played)


def test_the_worst_candidate_is_true_to_its_claim_and_never_wins() -> None:
    played = withstood("worst-candidate", ORDER)
    worst = entries(played, played.liar.id)
    assert len(worst) >= 5
    for entry, generation in worst:
        assert abs(entry.claimed_fitness - entry.agreed_fitness) <= TOLERANCE
        assert entry.agreed_fitness == min(other.agreed_fitness for other in generation.slate)
    assert_better_and_better(played)


def test_the_worst_candidate_is_passed_on_by_nobody() -> None:
    played = withstood("worst-candidate", WORK)
    tellers = [any(offers(message, played.liar.id) for message in told_over_work(played, peer)) for peer in played.honest]
    assert any(offers(message, played.liar.id) for message in told_over_work(played, played.liar))
    assert tellers == [False] * 3
    assert (played.accusations, played.refusals) == ([], [set()] * 3)
    assert_better_and_better(played)


def test_the_last_index_costs_no_more_to_check_than_another() -> None:
    played = withstood("unverifiable-index", ORDER)
    candidates = [submission for submission in submissions(played) if isinstance(submission, Candidate)]
    assert {candidate.recipe.indices for candidate in candidates} == {(INDEX_MAX - 1,)}
    assert_better_and_better(played)


def offers(message: work.Message, author: bytes) -> bool:
    return isinstance(message, work.ContributionMessage) and message.contribution.author == author


@pytest.mark.parametrize("fault", ["scores-inverted", "colluding-scorers"])
def test_one_liar_s_scores_move_no_agreed_fitness_beyond_what_the_honest_measure(fault: str) -> None:
    played = withstood(fault, ORDER)
    for generation in decided(played):
        for entry in generation.slate:
            assert entry.measured_fitness is None or abs(entry.agreed_fitness - entry.measured_fitness) <= TOLERANCE
    assert_better_and_better(played)


def test_inverted_scores_are_the_honest_ones_upside_down() -> None:
    played = withstood("scores-inverted", ORDER)
    honest = {one.slate: one.values for one in submissions(played, played.honest[0]) if isinstance(one, Scores)}
    inverted = [one for one in submissions(played) if isinstance(one, Scores) and one.slate in honest]
    assert len(inverted) >= 3
    for one in inverted:
        lowest, highest = min(honest[one.slate]), max(honest[one.slate])
        assert one.values == pytest.approx([lowest + highest - value for value in honest[one.slate]], abs=TOLERANCE)


def test_a_colluder_praises_the_liars_alone() -> None:
    played = withstood("colluding-scorers", ORDER)
    scores = [submission.values for submission in submissions(played) if isinstance(submission, Scores)]
    assert {value for values in scores for value in values} == {FITNESS_LOWEST, FITNESS_MAX}
    assert {values.count(FITNESS_MAX) for values in scores} <= {0, 1}


def test_more_than_f_colluders_choose_the_model() -> None:
    """What is beyond the guarantee: two of four praise each other's worst, and among three scores theirs are the median."""
    played = play("worst-candidate+colluding-scorers", ORDER, faulty=2)
    liars = {liar.id for liar in played.liars}
    winners = [generation.slate[generation.winner].author for generation in decided(played)]
    distances = [head.metrics["distance"] for _, head in played.by(played.honest[0], StepAdopted)]
    assert sum(winner in liars for winner in winners) > len(winners) // 2
    assert distances[-1] > distances[0]


def test_a_free_rider_puts_up_nothing() -> None:
    played = withstood("free-rider", ORDER)
    assert [submission for submission in submissions(played) if isinstance(submission, Candidate)] == []
    assert [submission for submission in submissions(played) if isinstance(submission, Scores)] != []


def test_a_free_rider_leads_blocks_with_what_others_have_found() -> None:
    played = withstood("free-rider", WORK)
    assert played.liar.learner.is_searching is False
    assert played.liar.replica.ordering.status.blocks_led > 0
