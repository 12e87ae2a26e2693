"""The published (1,λ)-search: the best of all λ mutations follows, better than its parent or not, in both orders."""

import numpy as np
import pytest
from msgspec import structs

from learning.evolution.measurement import Measurement
from learning.evolution.mutation_submission import decode_submission
from learning.evolution.payload import Candidate, decode_candidate, decode_claim
from learning.evolution.rules import UNLIMITED, EvolutionRules, Strategy
from learning.exact import fill_children, noise_key
from learning.learner import Verdict
from learning.state import ModelState, genesis_state
from learning.task_check import check_task
from tests.learning.evolution.common_order import Member, names, some
from tests.learning.evolution.exchange import ALICE, BOB, GENESIS, NETWORK, RULES, Peer, grown
from tests.learning.following.line_world import Order
from tests.learning.sphere import SphereTask

COMMA = structs.replace(RULES, strategy=Strategy.COMMA, regression_allowed=UNLIMITED)
LONG_STEPS = structs.replace(COMMA, step_size="2", step_size_factor="1", step_size_floor="2")
"""So long that every child is worse than its parent."""

FOUR = names(4)


def best_of_all(author: bytes, model: ModelState, generation: bytes, rules: EvolutionRules = COMMA) -> int:
    """The first of the author's λ mutations that are best on the whole batch."""
    task = check_task(SphereTask())
    children = np.empty((rules.offspring, len(model.parameters)), dtype=np.float32)
    key, sigma = noise_key(NETWORK, generation, author), rules.schedule().at(model.height)
    fill_children(children, model.parameters, key, 0, sigma)
    return int(np.argmax(task.scores(children, Measurement(task, NETWORK).batch(generation))))


@pytest.mark.parametrize("author", FOUR, ids=range(4))
def test_a_member_submits_the_best_of_all_its_mutations(author: bytes) -> None:
    (item,) = Member(author, FOUR, rules=COMMA).work_until_idle()
    candidate = decode_submission(item.payload, 1, 4)
    assert isinstance(candidate, Candidate)
    first = genesis_state(NETWORK, SphereTask().layout)
    assert candidate.recipe.indices == (best_of_all(author, first, GENESIS),)


def test_members_go_on_to_the_best_candidate_whether_it_is_better_than_its_parent_or_not() -> None:
    members = [Member(author, FOUR, rules=LONG_STEPS) for author in FOUR]
    Order(members, 1, some).run_to(5)
    for decided in members[0].decided:
        assert None not in {entry.author for entry in decided.slate}
        assert decided.slate[decided.winner].agreed_fitness == max(entry.agreed_fitness for entry in decided.slate)
    fitness = [adopted.fitness for adopted in members[0].adopted]
    assert fitness[1] < fitness[0]
    assert {member.adopted[5].state_digest for member in members} == {members[0].adopted[5].state_digest}


def test_members_learn_by_it() -> None:
    members = [Member(author, FOUR, rules=COMMA) for author in FOUR]
    Order(members, 1, some).run_to(30)
    assert members[0].adopted[-1].metrics["distance"] < 0.3 * members[0].adopted[0].metrics["distance"]


def test_under_proof_of_work_a_block_may_lie_below_its_parent_and_the_best_mutation_is_listed() -> None:
    alice, bob = Peer(ALICE, rules=LONG_STEPS), Peer(BOB, rules=LONG_STEPS)
    path = grown(alice, 3)
    bob.adopt(GENESIS)
    for step in path:
        claim = decode_claim(step.claim)
        assert claim.child_fitness < claim.parent_fitness
        assert bob.check(step).verdict is Verdict.GOOD
        bob.adopt(step.id)
    first = decode_candidate(path[0].contributions[0].payload, 1)
    assert first.recipe.indices == (best_of_all(ALICE, genesis_state(NETWORK, SphereTask().layout), GENESIS, LONG_STEPS),)
    assert bob.exported().state_digest == alice.exported().state_digest
