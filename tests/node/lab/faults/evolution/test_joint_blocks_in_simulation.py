"""The faults of evolution where blocks of proof of work join ranked lists: they bite, and keep nobody honest from learning."""

import pytest

from consensus.effects import Broadcast
from consensus.proof_of_work import messages as work
from learning.evolution.joint_blocks import decode_claimed_list
from learning.evolution.rules import Strategy
from learning.learner import StepAdopted
from tests.node.lab.faults.stage import WORK, Play, withstood

JOINT = Strategy.JOINT
LENGTH = 16


def told(played: Play, kind: type):
    messages = (work.MESSAGE_CODEC.decode(effect.message) for _, effect in played.by(played.liar, Broadcast))
    return [message for message in messages if isinstance(message, kind)]


def own_lists(played: Play):
    contributions = [message.contribution for message in told(played, work.ContributionMessage)]
    return [decode_claimed_list(item.payload, LENGTH) for item in contributions if item.author == played.liar.id]


def blocks_of_liar(played: Play):
    blocks = [message.block for message in told(played, work.BlockMessage)]
    return [block for block in blocks if block.header.leader == played.liar.id]


def assert_better_and_better(played: Play) -> None:
    fitness = [head.fitness for _, head in played.by(played.honest[0], StepAdopted)]
    assert fitness[-1] > fitness[0]


@pytest.mark.parametrize("fault", ["inflated-claim", "stolen-candidate", "unverifiable-index"])
def test_a_false_claim_for_a_list_is_evidence_against_its_author(fault: str) -> None:
    played = withstood(fault, WORK, strategy=JOINT)
    assert played.offences == {"FALSE_CLAIM"}
    assert played.refusals == [{played.liar.id}] * 3
    assert_better_and_better(played)


def test_a_claim_beyond_the_tolerance_is_contested_and_blamed_on_nobody() -> None:
    played = withstood("contested-claim", WORK, strategy=JOINT)
    assert all(peer.replica.ordering.status.blocks_contested > 0 for peer in played.honest)
    assert played.accusations == []
    assert_better_and_better(played)


def test_the_worst_lists_are_told_with_true_claims_and_are_joined_by_nobody() -> None:
    played = withstood("worst-candidate", WORK, strategy=JOINT)
    assert played.accusations == []
    joined = [item.author for block in blocks_of_liar(played) for item in block.body.contributions]
    assert played.liar.id not in joined
    assert_better_and_better(played)


def test_a_free_rider_lists_nothing_and_joins_the_lists_of_others() -> None:
    played = withstood("free-rider", WORK, strategy=JOINT, seconds=30)
    assert own_lists(played) == []
    led = blocks_of_liar(played)
    assert led
    assert all(item.author != played.liar.id for block in led for item in block.body.contributions)
    assert any(block.body.contributions for block in led)
    assert_better_and_better(played)
