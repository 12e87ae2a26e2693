"""The code broken on purpose: a checker that stays silent about it fails here. Every run passes while nothing is broken."""

import os
import subprocess
import sys
from collections.abc import Callable
from itertools import count

import pytest

from consensus.proof_of_work.block_tree import BlockTree
from consensus.protocol import Effect, Record, Verdict
from consensus.total_order.commit_rule import CommitRule, Decision
from consensus.total_order.committee import Committee
from consensus.types import PeerId, StepId
from learning.task import Float32Array, Float64Array, Int64Array
from node.network_file import Consensus, EvolutionSection, Learning, ProofOfWorkSection, TotalOrderSection
from node.replica import OuterEffect, Replica
from node.simulation.checkers.finding import Diverged, NoProgress, Pass
from node.simulation.scenario import Event, EventKind, ExpectSection, Faulty, LinksSection, Scenario
from node.simulation.swarm.run import run_scenario
from node.simulation.toy_tasks import SphereTask, ToyTask

SEED = 0

Mutate = Callable[[pytest.MonkeyPatch], None]

MEMBERS = Scenario(
    name="members",
    consensus=Consensus.TOTAL_ORDER,
    learning=Learning.EVOLUTION,
    peers=4,
    duration_s=8,
    task=ToyTask.SPHERE,
    total_order=TotalOrderSection(round_interval_ms=50, delta_ms_max=500),
    expect=ExpectSection(calm_s=6),
)

MINERS = Scenario(
    name="miners",
    consensus=Consensus.PROOF_OF_WORK,
    learning=Learning.EVOLUTION,
    peers=4,
    duration_s=12,
    task=ToyTask.SPHERE,
    proof_of_work=ProofOfWorkSection(
        block_interval_ms=1_000, start_attempts=100, puzzle_memory_kib=8, finality_depth=12, contest_depth=2
    ),
    expect=ExpectSection(calm_s=8),
)


def variant(scenario: Scenario, **changes: object) -> Scenario:
    fields = {name: getattr(scenario, name) for name in scenario.__struct_fields__}
    return Scenario(**(fields | changes))


# --- a quorum that is too small ---------------------------------------------------------------------------------------

TWINS = variant(
    MEMBERS,
    name="two members sign for both sides of a cut",
    peers=7,
    events=(
        Event("0.050", EventKind.CUT, senders=(0, 2, 4), receivers=(1, 3)),
        Event("0.050", EventKind.CUT, senders=(1, 3), receivers=(0, 2, 4)),
        Event(2, EventKind.HEAL),
    ),
    links=LinksSection(silence_ms=0),
    faulty=(Faulty("equivocate", (5, 6)),),
)
"""Each side has its own twins. With a quorum of five of seven at most one side goes on, with four both do."""


def quorum_of_half(patch: pytest.MonkeyPatch) -> None:
    """n // 2 + 1: two of them may share nobody but a liar."""
    proper = Committee.__init__

    def init(self: Committee, members: tuple[PeerId, ...]) -> None:
        proper(self, members)
        self.quorum = self.size // 2 + 1

    patch.setattr(Committee, "__init__", init)


# --- records that come after what needs them, or never ----------------------------------------------------------------


def records_last(patch: pytest.MonkeyPatch) -> None:
    """Whatever is to be durable comes after all else."""
    proper = Replica._outer

    def outer(self: Replica, effects: tuple[Effect, ...]) -> tuple[OuterEffect, ...]:
        routed = proper(self, effects)
        records = tuple(effect for effect in routed if isinstance(effect, Record))
        return (*(effect for effect in routed if not isinstance(effect, Record)), *records)

    patch.setattr(Replica, "_outer", outer)


def records_forgotten(patch: pytest.MonkeyPatch) -> None:
    """Own blocks are sent, and never recorded."""
    proper = Replica._outer

    def outer(self: Replica, effects: tuple[Effect, ...]) -> tuple[OuterEffect, ...]:
        routed = proper(self, effects)
        return tuple(effect for effect in routed if not (isinstance(effect, Record) and effect.table in {"vertex", "block"}))

    patch.setattr(Replica, "_outer", outer)


# --- a commit rule that stops at a skip -------------------------------------------------------------------------------

ONE_IS_GONE = variant(MEMBERS, name="one member is gone for good", events=(Event(1, EventKind.CRASH, peers=(3,)),))


def stop_at_skips(patch: pytest.MonkeyPatch) -> None:
    """The cursor moves over commits alone."""

    def decide(self: CommitRule) -> list[Decision]:
        decided: list[Decision] = []
        if self._has_news and self.contradiction is None:
            statuses = self._statuses()
            while (decision := statuses.get(self.cursor)) is not None and decision.leader is not None:
                decided.append(decision)
                self.move_to(self.cursor + 1)
            self._has_news = False
        return decided

    patch.setattr(CommitRule, "decide", decide)


# --- a tolerance without the rule for contested blocks ----------------------------------------------------------------

AT_THE_TOLERANCE = variant(
    MINERS,
    name="claims at the edge of what peers measure",
    peers=5,
    duration_s=30,
    expect=ExpectSection(calm_s=15),
    evolution=EvolutionSection(offspring=16, step_size="0.05", step_size_factor="0.99", step_size_floor="0.005"),
    faulty=(Faulty("contested-claim:beyond=0", (4,)),),
)


class Inexact(SphereTask):
    """Every second peer measures a micro-unit more, as other processors do."""

    machines = count()

    def __init__(self) -> None:
        super().__init__()
        self._more = 1e-6 * (next(Inexact.machines) % 2)

    def scores(self, candidates: Float32Array, batch: Int64Array) -> Float64Array:
        return super().scores(candidates, batch) + self._more


@pytest.fixture(autouse=True)
def _inexact_machines(monkeypatch: pytest.MonkeyPatch) -> None:
    """Task by task, in the order in which peers are made."""
    monkeypatch.setattr(Inexact, "machines", count())
    monkeypatch.setattr("node.simulation.population.toy_task", lambda _: Inexact())


def never_forgiven(patch: pytest.MonkeyPatch) -> None:
    """What one has contested is never built on, however much work lies on top of it."""
    proper = BlockTree.judge

    def judge(self: BlockTree, step: StepId, verdict: Verdict) -> tuple[StepId, ...]:
        return proper(self, step, Verdict.INVALID if verdict is Verdict.CONTESTED else verdict)

    patch.setattr(BlockTree, "judge", judge)


# --- the table --------------------------------------------------------------------------------------------------------

MUTATIONS: tuple[tuple[Mutate, Scenario, type, str], ...] = (
    (quorum_of_half, TWINS, Diverged, "there is one history of deliveries"),
    (records_last, MEMBERS, Diverged, "what is signed is recorded before it is sent"),
    (records_last, MINERS, Diverged, "what is signed is recorded before it is sent"),
    (records_forgotten, MEMBERS, Diverged, "what is signed is recorded before it is sent"),
    (records_forgotten, MINERS, Diverged, "what is signed is recorded before it is sent"),
    (stop_at_skips, ONE_IS_GONE, NoProgress, "gained 0 heights"),
    (never_forgiven, AT_THE_TOLERANCE, NoProgress, "behind the highest"),
)
"""(what is broken, where it shows, the verdict, what it says)."""


@pytest.mark.parametrize(
    "scenario", [MEMBERS, MINERS, TWINS, ONE_IS_GONE, AT_THE_TOLERANCE], ids=lambda scenario: scenario.name
)
def test_nothing_is_found_while_nothing_is_broken(scenario: Scenario) -> None:
    assert isinstance(run_scenario(scenario, SEED).verdict, Pass)


@pytest.mark.parametrize(
    ("mutate", "scenario", "verdict", "says"), MUTATIONS, ids=[f"{entry[0].__name__}, {entry[1].name}" for entry in MUTATIONS]
)
def test_what_is_broken_is_found(
    mutate: Mutate, scenario: Scenario, verdict: type, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    mutate(monkeypatch)
    found = run_scenario(scenario, SEED).verdict
    assert isinstance(found, verdict)
    assert says in (found.finding.checker if isinstance(found, Diverged) else found.detail)
    assert found.excerpt.lines


# --- a set in the way of an effect ------------------------------------------------------------------------------------

UNORDERED = "Peers.all = lambda self: tuple((peer, self._records[peer]) for peer in set(self._records))"
"""The order of a set of bytes changes with PYTHONHASHSEED, and so does the order of what is sent."""


RUN = """
from consensus.proof_of_work.peers import Peers
from node.simulation.scenario import parse_scenario
from node.simulation.swarm.run import run_scenario
{mutation}
text = '''
name = "miners"
consensus = "proof-of-work"
learning = "evolution"
peers = 4
duration_s = 6
task = "sphere"
expect.calm_s = 1
expect.heights_min = 0
'''
print(run_scenario(parse_scenario(text), 0).trace_digest)
"""


def started(mutation: str, hash_seed: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
    command = [sys.executable, "-c", RUN.format(mutation=mutation)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)


def test_a_set_that_is_iterated_into_an_effect_changes_the_trace() -> None:
    processes = [started(mutation, hash_seed) for mutation in ("", UNORDERED) for hash_seed in ("1", "2")]
    plain, same, one, other = (process.communicate()[0] for process in processes)
    assert [process.returncode for process in processes] == [0] * 4
    assert plain == same
    assert one != other
