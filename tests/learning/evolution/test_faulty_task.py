"""A task that fails for some models, in every way, at every peer or at one alone: all go on, and nobody is called a liar."""

import zlib
from collections.abc import Iterable

import numpy as np
import pytest
from msgspec import structs

from learning.evolution.claim_check import verdict_on_claims
from learning.evolution.rules import EvolutionRules, Strategy
from learning.exact import FITNESS_LOWEST
from learning.learner import ProposedStep, StepChecked, Verdict
from learning.task import Float32Array, Float64Array, Int64Array, TaskError
from tests.learning.evolution.common_order import Member, names, some
from tests.learning.evolution.exchange import GENESIS, RULES, Peer, grown
from tests.learning.evolution.joint_order import JointMember
from tests.learning.evolution.test_joint_block_learner import Peer as JointPeer
from tests.learning.evolution.test_joint_block_learner import grown as jointly_grown
from tests.learning.following.line_world import Order
from tests.learning.sphere import SphereTask

FOUR = names(4)
COMMA, PLUS = (
    structs.replace(RULES, strategy=strategy, regression_allowed=regression)
    for strategy, regression in ((Strategy.COMMA, -1), (Strategy.PLUS, 0))
)
RECOMBINATION = structs.replace(RULES, strategy=Strategy.RECOMBINATION, recipe_length_max=4)


class Capricious(SphereTask):
    """Of eight models one raises, one is not a number, one is too good to be true, one has a score of a wrong shape."""

    def __init__(self, salt: int = 0) -> None:
        super().__init__()
        self.salt = salt
        self.failed = 0

    def mood(self, parameters: Float32Array) -> int:
        """The model that all start from is sound."""
        return zlib.crc32(parameters.tobytes(), self.salt) % 8 if np.linalg.norm(parameters - 0.25) < 1.6 else 7

    def scores(self, candidates: Float32Array, batch: Int64Array) -> Float64Array:
        moods = [self.mood(candidate) for candidate in candidates]
        self.failed += sum(mood < 4 for mood in moods)
        if 0 in moods:
            raise ZeroDivisionError("by zero")
        scores = super().scores(candidates, batch)
        scores[[mood == 1 for mood in moods]] = np.nan
        scores[[mood == 2 for mood in moods]] = np.inf
        return scores[:, None] if 3 in moods else scores


def failures(tasks: Iterable[Capricious]) -> int:
    return sum(task.failed for task in tasks)


@pytest.mark.parametrize("rules", [COMMA, PLUS, RECOMBINATION], ids=lambda rules: rules.strategy)
def test_members_agree_and_improve(rules: EvolutionRules) -> None:
    tasks = [Capricious() for _ in FOUR]
    members = [Member(author, FOUR, task=task, rules=rules) for author, task in zip(FOUR, tasks, strict=True)]
    Order(members, 1, some).run_to(40)
    assert len({member.adopted[-1].state_digest for member in members}) == 1
    assert members[0].adopted[-1].metrics["distance"] < 0.9 * members[0].adopted[0].metrics["distance"]
    assert failures(tasks) > 100


def test_joint_members_agree_and_improve() -> None:
    tasks = [Capricious() for _ in FOUR]
    members = [JointMember(author, FOUR, task=task) for author, task in zip(FOUR, tasks, strict=True)]
    Order(members, 1, some).run_to(20)
    assert len({member.adopted[-1].state_digest for member in members}) == 1
    assert members[0].adopted[-1].metrics["distance"] < 0.5 * members[0].adopted[0].metrics["distance"]
    assert failures(tasks) > 100


def test_members_whose_tasks_fail_for_different_models_agree_as_well() -> None:
    tasks = [Capricious(salt) for salt in range(4)]
    members = [JointMember(author, FOUR, task=task) for author, task in zip(FOUR, tasks, strict=True)]
    Order(members, 1, some).run_to(20)
    assert len({member.adopted[-1].state_digest for member in members}) == 1
    assert members[0].adopted[-1].metrics["distance"] < 0.7 * members[0].adopted[0].metrics["distance"]


@pytest.mark.parametrize("rules", [COMMA, PLUS, RECOMBINATION], ids=lambda rules: rules.strategy)
def test_blocks_of_one_peer_are_good_for_another(rules: EvolutionRules) -> None:
    task = Capricious()
    path = grown(Peer(FOUR[0], rules, task=task), 20)
    follower = Peer(FOUR[1], rules, task=Capricious())
    follower.adopt(GENESIS)
    follower.follow(*path)
    assert task.failed > 50


def test_joint_peers_join_what_can_be_measured() -> None:
    tasks = [Capricious() for _ in FOUR]
    peers = [JointPeer(author, task=task) for author, task in zip(FOUR, tasks, strict=True)]
    path = jointly_grown(peers, 5)
    assert {peer.exported().state_digest for peer in peers} == {path[-1].state_digest}
    assert failures(tasks) > 50


# --- a machine that cannot measure what others can ---------------------------------------------------------------------


class BlindTo(SphereTask):
    """Raises for one model."""

    def __init__(self, blind_to: bytes = b"") -> None:
        super().__init__()
        self.blind_to = blind_to

    def fitness(self, parameters: Float32Array, batch: Int64Array) -> float:
        if parameters.tobytes() == self.blind_to:
            raise RuntimeError("out of memory")
        return super().fitness(parameters, batch)


class Blind(SphereTask):
    """To all."""

    def fitness(self, parameters: Float32Array, batch: Int64Array) -> float:
        raise RuntimeError("out of memory")


def check_by_blind(path: list[ProposedStep], blind_to: bytes) -> list[StepChecked]:
    peer = Peer(FOUR[1], task=BlindTo(blind_to))
    peer.adopt(GENESIS)
    return [peer.check(step) for step in path]


def test_what_cannot_be_measured_here_is_contested_and_is_no_proof_of_a_lie() -> None:
    honest = Peer(FOUR[0])
    path = grown(honest, 1)
    blind_to = honest.exported().parameters
    path += grown(Peer(FOUR[0]), 3)[1:]
    first, second, third = check_by_blind(path, blind_to)
    claimed = "and could not be measured here"
    assert (first.verdict, first.is_proven_lie) == (Verdict.CONTESTED, False)
    assert first.detail.startswith("child_fitness is ")
    assert first.detail.endswith(claimed)
    assert (second.verdict, second.is_proven_lie) == (Verdict.CONTESTED, False)  # its parent cannot be measured
    assert second.detail.startswith("parent_fitness is ")
    assert third.verdict is Verdict.GOOD


def test_who_is_blind_to_a_model_claims_the_lowest_and_is_refuted_but_no_liar() -> None:
    honest = Peer(FOUR[0])
    path = grown(honest, 1)
    blind = Peer(FOUR[1], task=BlindTo(honest.exported().parameters))
    blind.adopt(GENESIS)
    assert blind.check(path[0]).verdict is Verdict.CONTESTED
    blind.adopt(path[0].id)
    checked = honest.check(blind.lead(path[0].id, 2))
    assert (checked.verdict, checked.is_proven_lie) == (Verdict.REFUTED, False)


def test_claims_of_what_nobody_can_measure() -> None:
    lowest = FITNESS_LOWEST
    assert verdict_on_claims((("child_fitness", lowest, None),), 10).verdict is Verdict.GOOD
    worst = verdict_on_claims((("child_fitness", 5_000, 0), ("parent_fitness", lowest, 0)), 10)
    assert (worst.verdict, worst.is_proven_lie, worst.detail[:13]) == (Verdict.REFUTED, True, "child_fitness")
    mixed = verdict_on_claims((("child_fitness", 50, 0), ("parent_fitness", -5, None)), 10)
    assert (mixed.verdict, mixed.detail[:13]) == (Verdict.REFUTED, "child_fitness")


def test_a_batch_that_the_task_will_not_draw_costs_a_generation_and_no_more() -> None:
    class Undrawn(SphereTask):
        """Fails for a fourth of all steps, but for the first."""

        drawn = 0

        def draw_batch(self, seed: bytes) -> Int64Array:
            self.drawn += 1
            if self.drawn > 2 and seed[0] < 64:
                raise LookupError("no such samples")
            return super().draw_batch(seed)

    tasks = [Undrawn() for _ in FOUR]
    members = [JointMember(author, FOUR, task=task) for author, task in zip(FOUR, tasks, strict=True)]
    Order(members, 1, some).run_to(20)
    assert len({member.adopted[-1].state_digest for member in members}) == 1
    assert members[0].adopted[-1].metrics["distance"] < 0.5 * members[0].adopted[0].metrics["distance"]


def test_a_restored_model_that_cannot_be_measured_is_the_worst_and_a_task_that_can_measure_none_is_refused() -> None:
    before = Peer(FOUR[0])
    path = grown(before, 30)
    for step in path:
        before.finalise(step.id)
    kept = before.kept[-1]
    again = Peer(FOUR[0], task=BlindTo(kept.parameters), restored=kept)
    assert again.adopt(kept.step).fitness == FITNESS_LOWEST / 1e6
    with pytest.raises(TaskError, match="fitness raised RuntimeError: out of memory"):
        Peer(FOUR[0], task=Blind(), restored=kept)
