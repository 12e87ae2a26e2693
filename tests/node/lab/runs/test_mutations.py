"""The code broken on purpose: a checker that stays silent about it fails here. Every run passes while nothing is broken."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import count

import numpy as np
import pytest
from msgspec import structs

from consensus.effects import Effect, Record
from consensus.proof_of_work.block_tree import BlockTree
from consensus.proof_of_work.mining import Mining
from consensus.proof_of_work.rules import ChainRules, ProofOfWorkRules
from consensus.rate_limit import Spending, TokenBucket
from consensus.steps import DeliveredContribution, Verdict
from consensus.total_order.block import Block
from consensus.total_order.commit_rule import CommitRule, LeaderStatus
from consensus.total_order.committee import Committee
from consensus.total_order.committer import delivered_contributions
from consensus.total_order.dag import Dag
from consensus.total_order.linearizer import Linearizer
from consensus.total_order.machine import TotalOrder
from consensus.total_order.member import AmnesiaRecovery
from consensus.types import Instant, NetworkId, PeerId, StepId
from learning.evolution.recipe import Recipe, child_of
from learning.evolution.rules import EvolutionRules
from learning.exact import StreamKey
from learning.state import ModelState
from node.lab.checkers.finding import Diverged, NoProgress, Pass
from node.lab.scenarios.events import Crash, Cut, Heal, Partition, Restart
from node.lab.scenarios.scenario import ExpectSection, Faulty, LinksSection, Scenario, TimedEvent
from node.lab.scenarios.toy_tasks import ToyTask
from node.lab.simulation.swarm.run import run_scenario
from node.rules.conversion import proof_of_work_rules
from node.rules.network_rules import Consensus, Learning, NetworkRules, TotalOrderSection
from node.runtime.coupling import Coupling, OuterEffect

SEED, SPLITTING_SEED = 0, 2
"""With the second, measurements of one block differ so that a minority contests what the majority builds on."""

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
    proof_of_work=ChainRules(
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
        TimedEvent("0.050", Cut((0, 2, 4), (1, 3))),
        TimedEvent("0.050", Cut((1, 3), (0, 2, 4))),
        TimedEvent(2, Heal()),
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
    proper = Coupling._outer  # mutations change what is inside

    def outer(self: Coupling, effects: tuple[Effect, ...]) -> tuple[OuterEffect, ...]:
        routed = proper(self, effects)
        records = tuple(effect for effect in routed if isinstance(effect, Record))
        return (*(effect for effect in routed if not isinstance(effect, Record)), *records)

    patch.setattr(Coupling, "_outer", outer)


def records_forgotten(patch: pytest.MonkeyPatch) -> None:
    """Own blocks are sent, and never recorded."""
    proper = Coupling._outer

    def outer(self: Coupling, effects: tuple[Effect, ...]) -> tuple[OuterEffect, ...]:
        routed = proper(self, effects)
        return tuple(effect for effect in routed if not (isinstance(effect, Record) and effect.table in {"vertex", "block"}))

    patch.setattr(Coupling, "_outer", outer)


# --- a commit rule that stops at a skip -------------------------------------------------------------------------------

ONE_IS_GONE = variant(MEMBERS, name="one member is gone for good", events=(TimedEvent(1, Crash((3,))),))


def stop_at_skips(patch: pytest.MonkeyPatch) -> None:
    """The cursor moves over commits alone."""

    def decide(self: CommitRule) -> list[LeaderStatus]:
        decided: list[LeaderStatus] = []
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
    evolution=EvolutionRules(offspring=16, step_size="0.05", step_size_factor="0.99", step_size_floor="0.005"),
    faulty=(Faulty("contested-claim:beyond=0", (4,)),),
    measured_apart=2,
)


def never_forgiven(patch: pytest.MonkeyPatch) -> None:
    """What one has contested is never built on, however much work lies on top of it."""
    proper = BlockTree.judge

    def judge(self: BlockTree, step: StepId, verdict: Verdict) -> tuple[StepId, ...]:
        return proper(self, step, Verdict.INVALID if verdict is Verdict.CONTESTED else verdict)

    patch.setattr(BlockTree, "judge", judge)


# --- what is ordered is forgotten ---------------------------------------------------------------------------------------


def order_forgotten(patch: pytest.MonkeyPatch) -> None:
    """A block that is ordered already comes again with the next commit, at every member alike."""

    def forget(self: Linearizer) -> None:
        self._ordered.clear()

    patch.setattr(Linearizer, "_forget", forget)


def names_mixed_up(patch: pytest.MonkeyPatch) -> None:
    """Each payload bears the name of the next member, at every member alike."""

    def items(network_id: NetworkId, committee: Committee, block: Block) -> Iterator[DeliveredContribution]:
        for item in delivered_contributions(network_id, committee, block):
            yield replace(item, author=committee.members[(block.content.author + 1) % committee.size])

    patch.setattr("consensus.total_order.committer.delivered_contributions", items)


# --- a leader that competes with itself -------------------------------------------------------------------------------

SLOW_JUDGES = variant(
    MINERS,
    name="learners take half a second to answer",
    links=LinksSection(answer_ms=500),
    duration_s=30,
    expect=ExpectSection(calm_s=8, heights_min=1),
)


def leads_twice(patch: pytest.MonkeyPatch) -> None:
    """A leader does not wait for its own learner's answer to its block."""
    patch.setattr(Mining, "on_own_block", lambda *_: None)


# --- a difficulty that all agree on, and that is wrong --------------------------------------------------------------------


def difficulty_that_stays(patch: pytest.MonkeyPatch) -> None:
    """Every block is as hard as the first."""
    patch.setattr("consensus.proof_of_work.block_tree.scaled_target", lambda start, _drift_ms, _half_life_ms: start)


# --- a restart that knows nothing -------------------------------------------------------------------------------------

RESTARTED = variant(
    MEMBERS,
    name="one member is started again",
    events=(TimedEvent(1, Crash((3,))), TimedEvent("1.2", Restart((3,)))),
)


def records_not_read(patch: pytest.MonkeyPatch) -> None:
    """A member begins anew, asks nobody for its newest block, and has no guard."""
    proper = TotalOrder.__init__

    def init(self: TotalOrder, **options: object) -> None:
        proper(self, **(options | {"records": [], "guard_round": 0, "replay_from": None}))

    patch.setattr(TotalOrder, "__init__", init)
    patch.setattr(AmnesiaRecovery, "is_done", True)


# --- a final step that is not -----------------------------------------------------------------------------------------

CUT_MINERS = variant(
    MINERS,
    name="miners are cut in two for a while, once something is final",
    duration_s=30,
    events=(TimedEvent(12, Partition(((0, 1), (2, 3)))), TimedEvent(20, Heal())),
)


def final_at_once(patch: pytest.MonkeyPatch) -> None:
    """A block is final as soon as another lies on it: the network itself asks for no more."""

    def shallow(rules: NetworkRules) -> ProofOfWorkRules:
        bent = structs.replace(proof_of_work_rules(rules), finality_depth=2, contest_depth=1)
        structs.force_setattr(bent, "finality_depth", 1)
        return bent

    patch.setattr("node.runtime.composition.proof_of_work_rules", shallow)
    patch.setattr("node.lab.simulation.run.proof_of_work_rules", shallow)


# --- a model that depends on the machine ------------------------------------------------------------------------------


def inexact_child(patch: pytest.MonkeyPatch) -> None:
    """Every second child that is made differs in its last bits, as where a processor fuses operations."""
    made = count()

    def child(parent: ModelState, key: StreamKey, recipe: Recipe, sigma: np.float32) -> ModelState:
        exact = child_of(parent, key, recipe, sigma)
        return replace(exact, parameters=exact.parameters + np.float32(1e-6 * (next(made) % 2)))

    patch.setattr("learning.evolution.mutation.child_of", child)


# --- limits -----------------------------------------------------------------------------------------------------------


def no_debt_allowed(patch: pytest.MonkeyPatch) -> None:
    """Who asks for a little more than its share counts as one that floods."""
    proper = TokenBucket.spend

    def spend(self: TokenBucket, now: Instant) -> Spending:
        self._burst = min(self._burst, 1_000)
        return Spending.FLOODING if proper(self, now) is not Spending.COVERED else Spending.COVERED

    patch.setattr(TokenBucket, "spend", spend)


GOES_ON = variant(
    MEMBERS,
    name="members that go on for a while",
    duration_s=14,
    links=LinksSection(ms_min=5, ms_max=5),
    total_order=TotalOrderSection(round_interval_ms=50, delta_ms_max=500, gc_depth=5),
)


def nothing_forgotten(patch: pytest.MonkeyPatch) -> None:
    """Blocks below the horizon stay."""
    patch.setattr(Dag, "prune", lambda *_: ([], []))


# --- the table --------------------------------------------------------------------------------------------------------

MUTATIONS: tuple[tuple[Mutate, Scenario, type, str], ...] = (
    (quorum_of_half, TWINS, Diverged, "there is one history of deliveries"),
    (records_last, MEMBERS, Diverged, "what is signed is recorded before it is sent"),
    (records_last, MINERS, Diverged, "what is signed is recorded before it is sent"),
    (records_forgotten, MEMBERS, Diverged, "what is signed is recorded before it is sent"),
    (records_forgotten, MINERS, Diverged, "what is signed is recorded before it is sent"),
    (stop_at_skips, ONE_IS_GONE, NoProgress, "gained 0 heights"),
    (never_forgiven, AT_THE_TOLERANCE, NoProgress, "behind the highest"),
    (order_forgotten, MEMBERS, Diverged, "a contribution is delivered once"),
    (names_mixed_up, MEMBERS, Diverged, "what an honest peer has signed it has found"),
    (leads_twice, SLOW_JUDGES, Diverged, "no honest peer leads two blocks on one parent in one incarnation"),
    (difficulty_that_stays, MINERS, Diverged, "targets, times and work follow from the ancestors"),
    (records_not_read, RESTARTED, Diverged, "no honest member signs two blocks for one round"),
    (final_at_once, CUT_MINERS, Diverged, "there is one chain of final steps"),
    (inexact_child, MEMBERS, Diverged, "one step has one state"),
    (no_debt_allowed, MEMBERS, Diverged, "no honest peer is accused, refused, contested or stopped"),
    (nothing_forgotten, GOES_ON, Diverged, "every queue, table and store lies within its bound"),
)
"""(what is broken, where it shows, the outcome, what it says)."""


def seed_of(scenario: Scenario) -> int:
    return SPLITTING_SEED if scenario is AT_THE_TOLERANCE else SEED


@pytest.mark.parametrize(
    "scenario",
    [MEMBERS, MINERS, TWINS, ONE_IS_GONE, AT_THE_TOLERANCE, SLOW_JUDGES, RESTARTED, CUT_MINERS, GOES_ON],
    ids=lambda scenario: scenario.name,
)
def test_nothing_is_found_while_nothing_is_broken(scenario: Scenario) -> None:
    assert isinstance(run_scenario(scenario, seed_of(scenario)).outcome, Pass)


@pytest.mark.parametrize(
    ("mutate", "scenario", "outcome", "says"), MUTATIONS, ids=[f"{entry[0].__name__}, {entry[1].name}" for entry in MUTATIONS]
)
def test_what_is_broken_is_found(
    mutate: Mutate, scenario: Scenario, outcome: type, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    mutate(monkeypatch)
    found = run_scenario(scenario, seed_of(scenario)).outcome
    assert isinstance(found, outcome)
    assert says in (found.finding.checker if isinstance(found, Diverged) else found.detail)
    assert found.excerpt.lines or says.startswith("every queue")


# --- a set in the way of an effect ------------------------------------------------------------------------------------

UNORDERED = "Peers.all = lambda self: tuple((peer, self._records[peer]) for peer in set(self._records))"
"""The order of a set of bytes changes with PYTHONHASHSEED, and so does the order of what is sent."""


RUN = """
from consensus.proof_of_work.peers import Peers
from node.lab.scenarios.scenario import parse_scenario
from node.lab.simulation.swarm.run import run_scenario
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
