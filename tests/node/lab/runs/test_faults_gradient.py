"""One liar of four: under the rule `robust` the model is learned whatever the gradients say; under the mean it is not."""

from functools import cache

import pytest

from consensus.effects import Broadcast
from consensus.proof_of_work import messages as work
from learning.aggregation.rule import GradientOutcome
from learning.gradient.rules import GradientRules
from learning.learner import ContributionFound, GradientsReport, StepAdopted
from node.lab.faults.catalogue import GRADIENT_FAULTS
from node.lab.scenarios.scenario import ExpectSection, Faulty, Scenario
from node.rules.network_rules import Consensus, Learning
from tests.node.lab.faults.stage import ORDER, WORK, Play, assert_passed, play_scenario

NEAR = 0.2
"""Distance to the goal, where the first model is 1.6 away and honest noise keeps the last one within 0.1."""

OF_CLASSES = frozenset({"label-flip"})
"""A task without classes has no place for them: they are shown on digits (tests/node/lab/faults/gradient/test_on_digits.py)."""

ATTACKS = (
    *(fault.name for fault in GRADIENT_FAULTS if fault.name not in OF_CLASSES),
    "sign-flip:scale=10",
    "sign-flip:scale=10,fresh",
    "alie:fresh",
    "ipm:epsilon=5,fresh",
)

ENDING_THE_MEAN = ("random", "flood", "slow-drift", "sign-flip:scale=10", "ipm:epsilon=5,fresh")


@cache
def learned(fault: str, rule: str = "robust", consensus: Consensus = ORDER) -> Play:
    """Member 3 lies, unless nobody does."""
    seconds = 5 if consensus is ORDER else 40
    return play_scenario(
        Scenario(
            name="gradients",
            consensus=consensus,
            learning=Learning.GRADIENT,
            peers=4,
            duration_s=seconds,
            gradient=GradientRules(
                rule=rule,
                learning_rate="0.3",
                momentum="0.5",
                minibatch_size=4,
                staleness_max=30,
                workers_window=16,
                shards="whole",
            ),
            expect=ExpectSection(calm_s=seconds - 2, heights_min=1, behind_max=20),
            faulty=(Faulty(fault, (3,)),) if fault else (),
        )
    )


def distance(played: Play) -> float:
    """Of an honest peer's last model to the goal."""
    assert_passed(played)
    *_, (_, head) = played.by(played.honest[0], StepAdopted)
    return head.metrics["distance"]


def outcomes_of_the_liar(played: Play) -> list[str]:
    told = played.by(played.honest[0], GradientsReport)
    return [one.outcome for _, judged in told for one in judged.judged if one.author == played.liar.id]


def is_bent(played: Play) -> bool:
    """Whether anything at all went otherwise than among honest peers."""
    assert played.outcome is not None
    honest = learned("").outcome
    assert honest is not None
    return played.outcome.trace_digest != honest.trace_digest


@pytest.mark.parametrize("fault", ATTACKS)
def test_a_liar_does_not_keep_the_others_from_the_goal(fault: str) -> None:
    played = learned(fault)
    assert is_bent(played)
    assert distance(played) < NEAR


@pytest.mark.parametrize("fault", ENDING_THE_MEAN)
def test_the_same_liar_keeps_those_from_it_who_take_the_mean(fault: str) -> None:
    assert distance(learned(fault, "mean")) > 4 * NEAR


def test_what_is_not_finite_is_refused_by_all() -> None:
    assert set(outcomes_of_the_liar(learned("nan"))) == {GradientOutcome.MALFORMED}


def test_of_a_flood_one_gradient_a_model_is_looked_at() -> None:
    outcomes = outcomes_of_the_liar(learned("flood"))
    assert outcomes.count(GradientOutcome.REPEATED) > 8 * (len(outcomes) - outcomes.count(GradientOutcome.REPEATED))


def test_who_submits_with_every_commit_has_one_voice_a_version() -> None:
    played = learned("incessant")
    outcomes = outcomes_of_the_liar(played)
    honest = [told for _, judged in played.by(played.honest[0], GradientsReport) for told in judged.judged]
    assert len(outcomes) > 2 * (len(honest) - len(outcomes)) / 3, "it submits at least twice as often as each of the others"
    assert GradientOutcome.REPEATED in outcomes


def test_silence_is_waited_for_by_nobody() -> None:
    played = learned("silent")
    assert outcomes_of_the_liar(played) == []
    assert distance(played) < NEAR


def test_the_weight_of_what_lies_far_off_is_small() -> None:
    """A third is the share of one of four where the rule drops the farthest; lies ten times as long have less, on average: now
    and then one that is drawn at random lies near enough for half a voice."""
    for fault in ("sign-flip:scale=10", "random", "constant"):
        played = learned(fault)
        weights = [
            weight
            for _, judged in played.by(played.honest[0], GradientsReport)
            for author, weight in judged.weights
            if author == played.liar.id
        ]
        assert weights
        assert sum(weights) / len(weights) < 0.1


@pytest.mark.parametrize("fault", ["sign-flip:scale=10", "flood"])
def test_leaders_of_blocks_come_to_the_goal_too(fault: str) -> None:
    played = learned(fault, consensus=WORK)
    assert outcomes_of_the_liar(played) != []
    assert distance(played) < NEAR


def test_over_proof_of_work_nobody_computes_what_it_cannot_tell() -> None:
    """A worker once ran out of room for its own gradients as soon as eight of them were listed, and computed on in vain."""
    played = learned("", consensus=WORK)
    for peer in played.honest:
        found = len(list(played.by(peer, ContributionFound)))
        messages = (work.MESSAGE_CODEC.decode(effect.message) for _, effect in played.by(peer, Broadcast))
        told = [one for one in messages if isinstance(one, work.ContributionMessage) and one.contribution.author == peer.id]
        assert found - 1 <= len(told) <= found
        assert found > 10


def test_over_proof_of_work_what_is_not_finite_is_evidence_against_its_author() -> None:
    played = learned("nan", consensus=WORK)
    assert played.offences == {"INVALID_STEP"}
    assert played.refusals == [{played.liar.id}] * 3
    assert distance(played) < NEAR
