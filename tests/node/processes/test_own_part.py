"""Whose training samples are whose, where members of a total order learn by evolution."""

import hashlib

import numpy as np
import pytest
from torch import nn

from learning.evolution.rules import EvolutionRules, Strategy
from learning.learner import AdoptRequest, Learner, Participant
from learning.task import Int64Array, Task, TaskError
from learning.tasks.black_box import rosenbrock
from learning.tasks.supervised import Samples, SupervisedTask
from node.lab.faults.faulty_learner import MakeFaultyLearner
from node.processes.learner import LearnerSpec, make_learner, own_part
from node.storage.store import StoredPayloads

MEMBERS = tuple(hashlib.blake2b(bytes([number]), digest_size=32).digest() for number in range(4))
OUTSIDER = bytes(32)
NETWORK = b"n" * 32
INPUTS = np.random.Generator(np.random.Philox(key=3)).uniform(-1, 1, (60, 4)).astype(np.float32)
LABELS = (INPUTS[:, 0] > 0).astype(np.int64)


class NotedTask(SupervisedTask):
    """Notes on which samples it is measured."""

    def __init__(self) -> None:
        model = nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 2))
        train, test = Samples(INPUTS[:48], LABELS[:48]), Samples(INPUTS[48:], LABELS[48:])
        super().__init__("halves", model, "cross_entropy", train, test)
        self.measured_on: set[int] = set()

    def scores(self, candidates: np.ndarray, batch: Int64Array) -> np.ndarray:
        self.measured_on |= set(batch.tolist())
        return super().scores(candidates, batch)

    def fitness(self, parameters: np.ndarray, batch: Int64Array) -> float:
        self.measured_on |= set(batch.tolist())
        return super().fitness(parameters, batch)


def participant(author: bytes) -> Participant:
    return Participant(NETWORK, author, bytes(32), MEMBERS)


def samples_of(task: Task) -> list[int]:
    return sorted(task.draw_batch(bytes(32)).tolist())


def spec_of(author: bytes, rules: EvolutionRules, tmp_path) -> LearnerSpec:
    return LearnerSpec("halves", str(tmp_path), rules, participant(author), None)


def searched(learner: Learner) -> None:
    learner.handle(AdoptRequest(bytes(32)))
    for _ in range(40):
        learner.search()


@pytest.mark.parametrize("shards", ["iid", "dirichlet:0.5"])
def test_members_have_all_samples_among_them_and_nobody_another_s(shards: str) -> None:
    rules = EvolutionRules(strategy=Strategy.JOINT, shards=shards)
    shares = [samples_of(own_part(NotedTask(), participant(member), rules)) for member in MEMBERS]
    assert sorted(row for share in shares for row in share) == list(range(48))
    assert all(len(share) >= 8 for share in shares)


def test_without_shards_and_for_who_is_no_member_there_is_the_whole() -> None:
    task = NotedTask()
    assert own_part(task, participant(MEMBERS[0]), EvolutionRules()) is task
    assert samples_of(own_part(task, participant(OUTSIDER), EvolutionRules(shards="iid"))) == list(range(48))


def test_what_cannot_be_shared_out_is_told() -> None:
    with pytest.raises(TaskError, match="task 'rosenbrock' has no training samples that shards could be cut from"):
        own_part(rosenbrock(), participant(MEMBERS[0]), EvolutionRules(shards="iid"))
    crowd = Participant(NETWORK, MEMBERS[0], bytes(32), tuple(bytes([number]) * 32 for number in range(6)) + MEMBERS)
    with pytest.raises(TaskError, match="for 10 shards of 8 samples or more; the 48 training samples allow 6"):
        own_part(NotedTask(), crowd, EvolutionRules(shards="iid"))


@pytest.mark.parametrize("strategy", list(Strategy))
@pytest.mark.parametrize("fault", ["", "worst-candidate", "free-rider"])
def test_a_member_honest_or_not_searches_and_measures_on_its_own_samples(strategy: Strategy, fault: str, tmp_path) -> None:
    task = NotedTask()
    spec = spec_of(MEMBERS[1], EvolutionRules(strategy=strategy, offspring=8, shards="iid"), tmp_path)
    make = MakeFaultyLearner(fault, ()) if fault else make_learner
    learner = make(task, spec, StoredPayloads(tmp_path / "none"))
    searched(learner)
    assert sorted(task.measured_on) == samples_of(own_part(task, spec.participant, EvolutionRules(shards="iid")))
