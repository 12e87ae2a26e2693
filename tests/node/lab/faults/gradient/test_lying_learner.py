"""A lying learner is an honest one whose worker alone is another; its conduct hears what honest members submit."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest

from learning.evolution.generations import Generations
from learning.following.line import Follower, LineLearner
from learning.gradient.ledger import Gradients
from learning.gradient.step_candidates import StepCandidates
from learning.gradient.stream import GradientStream
from learning.gradient.worker import MakeWorker, Worker, WorkerSettings
from learning.learner import AssessRequest, AuthoredPayload, DeliverRequest, Learner, Participant
from learning.task import Float32Array
from learning.tasks.shards import OwnSamples
from node.lab.faults.gradient.conduct import HonestConduct, Submitted
from node.lab.faults.gradient.lying_learner import Liar, LyingWorker
from tests.learning.evolution.exchange import GENESIS, NETWORK
from tests.learning.following.line_world import LineMember, commit, signed
from tests.learning.gradient.chain import ALICE, BOB, CAROL, Forge, Peer, world_of
from tests.learning.gradient.quadratic import LAYOUT, QuadraticTask
from tests.learning.gradient.scored_order import ScoredMember, scored_world
from tests.learning.gradient.stream import FOUR, Member, World, quadratic_world

BITS = 16


class Listening(HonestConduct):
    """Notes whose gradients it hears."""

    def __init__(self) -> None:
        self.heard_of: list[bytes] = []

    def on_gradient(self, author: bytes, gradient: Float32Array) -> None:
        assert (gradient.dtype, gradient.shape) == (np.float32, (15,))
        self.heard_of.append(author)


MakeFollower = Callable[[World, Participant, Gradients, OwnSamples], Follower]


def stream(world: World, participant: Participant, gradients: Gradients, rows: OwnSamples) -> Follower:
    return GradientStream(world.task, world.rules, participant, gradients, rows)


def generations(world: World, participant: Participant, gradients: Gradients, rows: OwnSamples) -> Follower:
    return Generations(StepCandidates(world.task, world.rules, participant, gradients, rows), participant)


def listener(world: World, follower: MakeFollower, conduct: Listening) -> Learner:
    rows = OwnSamples(world.task, np.arange(64, dtype=np.int64), FOUR[0])
    participant = Participant(NETWORK, FOUR[0], GENESIS, world.members)

    def make(gradients: Gradients, _: MakeWorker) -> Learner:
        return LineLearner(follower(world, participant, gradients, rows), None)

    return Liar(FOUR[0], conduct, LAYOUT, BITS).learner(world.shelf, make)


def spoiled(items: Sequence[AuthoredPayload]) -> list[AuthoredPayload]:
    """What no honest learner reads, or reads in vain."""
    junk = signed(FOUR[2], GENESIS, b"junk")
    return [junk, *(replace(item, author=b"o" * 32) for item in items), *(replace(item, attached=()) for item in items)]


@pytest.mark.parametrize(
    ("follower", "world", "member"),
    [(stream, quadratic_world(), Member), (generations, scored_world(), ScoredMember)],
)
def test_a_member_of_an_order_hears_what_counts_of_the_others(
    follower: MakeFollower, world: World, member: Callable[..., LineMember]
) -> None:
    conduct = Listening()
    liar = listener(world, follower, conduct)
    own, other, third = (member(world, author).work() for author in FOUR[:3])
    liar.handle(DeliverRequest(commit(1, [*spoiled(third), *own, *other])))
    assert conduct.heard_of == [FOUR[1]]


def test_a_peer_under_proof_of_work_hears_what_it_assesses_of_other_workers() -> None:
    world, conduct = world_of(), Listening()
    forge = Forge(world)
    path = forge.path(GENESIS, ALICE, BOB)
    liar = Liar(ALICE, conduct, LAYOUT, BITS).learner(
        world.shelf, lambda gradients, _: Peer(world, ALICE, gradients=gradients).follow(*path).learner
    )
    for author in (ALICE, BOB, CAROL):
        liar.handle(AssessRequest(forge.contribution(author, path[-1].id)))
    assert conduct.heard_of == [BOB]


class Negated(HonestConduct):
    """Submits both ways, and junk."""

    def submissions(self, own: Float32Array) -> tuple[Submitted, ...]:
        return own, -own, b"junk", own * np.float32(np.inf)


def test_a_lying_worker_submits_what_its_conduct_makes_of_an_honest_gradient() -> None:
    task, model = QuadraticTask(), np.zeros(15, dtype=np.float32)
    rows = OwnSamples(task, np.arange(64, dtype=np.int64), ALICE)
    honest = Worker(task, rows, WorkerSettings()).compute(model)
    same = LyingWorker(task, rows, WorkerSettings(), HonestConduct()).compute(model)
    both = LyingWorker(task, rows, WorkerSettings(), Negated()).compute(model)
    assert (same, both[0], both[2:]) == (honest, honest[0], (b"junk",))
    assert both[1] != both[0]
