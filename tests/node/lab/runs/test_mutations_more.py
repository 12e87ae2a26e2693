"""More code broken on purpose: puzzles, depth, digests and signatures that nobody looks at any more."""

from collections.abc import Callable
from dataclasses import replace

import msgspec
import pytest
from msgspec import structs

from consensus.effects import Broadcast, Effect, Guard, Record
from consensus.encoding import encode
from consensus.proof_of_work.block_tree import BlockIndex, BlockTree, Rank
from consensus.proof_of_work.header import Block, Body, Draft, body_digest, header_id, sign_header
from consensus.proof_of_work.machine import ProofOfWork
from consensus.proof_of_work.messages import ContributionMessage
from consensus.proof_of_work.records import block_key
from consensus.proof_of_work.rules import ChainRules, ProofOfWorkRules
from consensus.proof_of_work.validation import Validation
from consensus.protocol import PuzzleVerified
from consensus.steps import Contribution, genesis_step
from consensus.total_order.block import BLOCK_CODEC as DAG_BLOCK_CODEC
from consensus.total_order.block import Block as DagBlock
from consensus.total_order.block import Reference, block_digest
from consensus.total_order.machine import TotalOrder
from consensus.total_order.messages import BlockMessage
from consensus.total_order.records import COMMIT_TABLE, record_of_block
from consensus.types import Digest, Height, PeerId
from learning.aggregation.rule import GradientOutcome, Workers
from learning.gradient.ledger import AggregationState, Aggregator, GradientSubmission, encode_submission
from learning.learner import (
    AdoptRequest,
    AuthoredPayload,
    DeliveredStep,
    DeliverRequest,
    FinaliseRequest,
    GradientReport,
    GradientsReport,
    LearnerRequest,
)
from learning.state import ModelState, state_digest
from node.lab.checkers.attribution import AcceptedOnce
from node.lab.checkers.finding import Diverged, NoProgress, Pass, Seen, Started
from node.lab.checkers.one_signature import RecordedBeforeSent
from node.lab.checkers.recorded import ProvenBlocks, SignedByMembers
from node.lab.checkers.work import FinalIsDeep
from node.lab.scenarios.events import Heal, Partition, Restart, Wipe
from node.lab.scenarios.scenario import ExpectSection, Faulty, Scenario, TimedEvent
from node.lab.scenarios.toy_tasks import ToyTask
from node.lab.simulation.swarm.run import run_scenario
from node.rules.network_rules import Consensus, Learning, TotalOrderSection
from node.runtime.coupling import AskLearner, Coupling, Forget, OuterEffect
from node.storage.tables import PAYLOAD_TABLE
from tests.node.lab.runs.streams import (
    ALICE,
    BOB,
    CAROL,
    KEYS,
    MEMBERS,
    NETWORK,
    NO_SIGNATURE,
    dag_block,
    details,
    large,
    name_of,
    seen,
)

SEED = 0

Mutate = Callable[[pytest.MonkeyPatch], None]

MEMBERS_SCENE = Scenario(
    name="members",
    consensus=Consensus.TOTAL_ORDER,
    learning=Learning.EVOLUTION,
    peers=4,
    duration_s=7,
    task=ToyTask.SPHERE,
    total_order=TotalOrderSection(round_interval_ms=50, delta_ms_max=500, gc_depth=5),
    expect=ExpectSection(calm_s=4),
)

WORK = ChainRules(block_interval_ms=1_000, start_attempts=100, puzzle_memory_kib=8, finality_depth=6, contest_depth=2)


def miners(name: str, *, faulty: tuple[Faulty, ...] = (), events: tuple[TimedEvent, ...] = ()) -> Scenario:
    return Scenario(
        name=name,
        consensus=Consensus.PROOF_OF_WORK,
        learning=Learning.EVOLUTION,
        peers=5,
        duration_s=20,
        task=ToyTask.SPHERE,
        proof_of_work=WORK,
        faulty=faulty,
        events=events,
        expect=ExpectSection(calm_s=10),
    )


MINERS = miners("miners")

FLOODED = miners("one floods the others with headers", faulty=(Faulty("header-flood", (4,)),))

SPLIT = miners(
    "miners are cut in two for a while",
    events=(TimedEvent(1, Partition(((0, 1), (2, 3, 4)))), TimedEvent(5, Heal())),
)

# --- proof of work ----------------------------------------------------------------------------------------------------


def puzzle_always_right(patch: pytest.MonkeyPatch) -> None:
    """Whatever the computed puzzle says, it counts as solved."""
    proper = Validation.on_puzzle_verified

    def verified(self: Validation, answer: PuzzleVerified) -> tuple[Effect, ...]:
        return proper(self, replace(answer, is_solved=True))

    patch.setattr(Validation, "on_puzzle_verified", verified)


def final_earlier(depth: Callable[[int], int]) -> Mutate:
    """The machine alone calls blocks final at another depth than the network's file says."""

    def mutate(patch: pytest.MonkeyPatch) -> None:
        proper = ProofOfWork.__init__

        def init(self: ProofOfWork, *, rules: ProofOfWorkRules, **options: object) -> None:
            proper(self, rules=rules, **options)
            self._rules = structs.replace(rules, finality_depth=depth(rules.finality_depth))

        patch.setattr(ProofOfWork, "__init__", init)

    return mutate


def late_blocks_win(patch: pytest.MonkeyPatch) -> None:
    """A head goes over to whatever was checked last, if it is lower by two blocks or more."""
    proper = BlockTree._rank

    def rank(self: BlockTree, link: BlockIndex) -> Rank:
        return (2**300, True, 0) if link.height + 2 <= self.head.height else proper(self, link)

    patch.setattr(BlockTree, "_rank", rank)


def never_final(patch: pytest.MonkeyPatch) -> None:
    """However deep a block lies, it may still change."""
    patch.setattr(ProofOfWork, "_finalise", lambda _, now: ())


# --- total order ------------------------------------------------------------------------------------------------------

WORKERS = msgspec.structs.replace(
    MEMBERS_SCENE,
    name="one floods the order with gradients",
    learning=Learning.GRADIENT,
    task=ToyTask.QUADRATIC,
    faulty=(Faulty("flood", (3,)),),
    expect=ExpectSection(calm_s=4, heights_min=1, behind_max=20),
)

WIPED = msgspec.structs.replace(
    MEMBERS_SCENE,
    name="one loses its disk",
    events=(TimedEvent(1, Wipe((1,))), TimedEvent("1.5", Restart((1,)))),
)


def repeated_gradients_count(patch: pytest.MonkeyPatch) -> None:
    """Nobody asks whether the author has sent one on this model before."""
    proper = Aggregator.fault_of

    def fault_of(
        self: Aggregator, ledger: AggregationState, author: bytes, submission: GradientSubmission, group: Workers
    ) -> GradientOutcome | None:
        fault = proper(self, ledger, author, submission, group)
        return None if fault is GradientOutcome.REPEATED else fault

    patch.setattr(Aggregator, "fault_of", fault_of)


def commits_recorded_once(patch: pytest.MonkeyPatch) -> None:
    """What an earlier incarnation has recorded counts as durable, though the disk was lost since."""
    proper = Coupling._outer
    recorded: set[tuple[int, bytes]] = set()

    def outer(self: Coupling, effects: tuple[Effect, ...]) -> tuple[OuterEffect, ...]:
        kept: list[OuterEffect] = []
        for effect in proper(self, effects):
            if isinstance(effect, Record) and effect.table == COMMIT_TABLE:
                place = (self.ordering._state.me, effect.key)
                if place in recorded:
                    continue
                recorded.add(place)
            kept.append(effect)
        return tuple(kept)

    patch.setattr(Coupling, "_outer", outer)


# --- what is committed to, and signed ---------------------------------------------------------------------------------


def digest_without_model(patch: pytest.MonkeyPatch) -> None:
    """A digest of the height alone. Importers hold the function itself, so it is its code that is replaced."""

    def digest(state: ModelState) -> bytes:
        return state.height.to_bytes(32, "little")

    patch.setattr(state_digest, "__code__", digest.__code__)


def nobody_signs(patch: pytest.MonkeyPatch) -> None:
    """No block bears a signature, and nobody minds."""
    proper = TotalOrder.__init__

    def init(self: TotalOrder, **options: object) -> None:
        proper(self, **(options | {"sign": lambda _: NO_SIGNATURE, "verify": lambda *_: True}))

    patch.setattr(TotalOrder, "__init__", init)


def no_leader_signs(patch: pytest.MonkeyPatch) -> None:
    """As above, for headers."""
    proper = ProofOfWork.__init__

    def init(self: ProofOfWork, **options: object) -> None:
        proper(self, **(options | {"sign": lambda _: NO_SIGNATURE}))

    patch.setattr(ProofOfWork, "__init__", init)
    patch.setattr("consensus.proof_of_work.validation.is_signed_by_leader", lambda *_: True)
    patch.setattr("consensus.proof_of_work.header.is_authentic", lambda *_: True)
    patch.setattr("consensus.proof_of_work.contribution_relay.is_authentic", lambda *_: True)


# --- the table --------------------------------------------------------------------------------------------------------

DEEP = "what is final lies deep below a head that gains work"
PROVEN = "every recorded block is signed, proven, and holds what its header names"

ONCE = "one gradient of an author on one model is accepted"
DURABLE = "what is signed is recorded before it is sent"

MUTATIONS: tuple[tuple[str, Mutate, Scenario, str, str], ...] = (
    ("a puzzle is always right", puzzle_always_right, FLOODED, PROVEN, "has no solved puzzle"),
    ("final one block early", final_earlier(lambda depth: depth - 1), MINERS, DEEP, "5 below the head"),
    ("final at half the depth", final_earlier(lambda depth: depth // 2), MINERS, DEEP, "3 below the head"),
    ("late blocks win", late_blocks_win, SPLIT, DEEP, "the head moves from work"),
    ("a digest without the model", digest_without_model, MEMBERS_SCENE, "a kept state's digest follows", "counted"),
    ("nobody signs", nobody_signs, MEMBERS_SCENE, "every recorded block is signed by its author", "is not signed"),
    ("no leader signs", no_leader_signs, MINERS, PROVEN, "is not signed by its leader"),
    ("repeated gradients count", repeated_gradients_count, WORKERS, ONCE, "are accepted"),
    ("commits are recorded once in all incarnations", commits_recorded_once, WIPED, DURABLE, "delivered commit"),
)
"""(what is broken, how, where it shows, who finds it, what that says)."""


@pytest.mark.parametrize(
    "scenario", [MEMBERS_SCENE, MINERS, FLOODED, SPLIT, WORKERS, WIPED], ids=lambda scenario: scenario.name
)
def test_nothing_is_found_while_nothing_is_broken(scenario: Scenario) -> None:
    assert isinstance(run_scenario(scenario, SEED).outcome, Pass)


@pytest.mark.parametrize(
    ("mutate", "scenario", "checker", "says"),
    [entry[1:] for entry in MUTATIONS],
    ids=[f"{entry[0]}, {entry[2].name}" for entry in MUTATIONS],
)
def test_what_is_broken_is_found(
    mutate: Mutate, scenario: Scenario, checker: str, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    mutate(monkeypatch)
    found = run_scenario(scenario, SEED).outcome
    assert isinstance(found, Diverged)
    assert found.finding.checker.startswith(checker)
    assert says in found.finding.detail


def test_a_network_in_which_nothing_is_ever_final_makes_no_progress(monkeypatch: pytest.MonkeyPatch) -> None:
    never_final(monkeypatch)
    found = run_scenario(MINERS, SEED).outcome
    assert isinstance(found, NoProgress)
    assert "has nothing final above height 0, expected 12 below it" in found.detail


# --- forged records ---------------------------------------------------------------------------------------------------


def signed_dag_block(author: int, signer: int) -> Record:
    reference, block = dag_block(author, 5, "x")
    signature = KEYS[signer].sign(block_digest(NETWORK, block.content))
    return record_of_block(reference, DagBlock(block.content, signature))


def test_a_recorded_block_is_signed_by_its_author_and_by_nobody_else() -> None:
    checker = SignedByMembers(NETWORK, MEMBERS)
    own, forged = signed_dag_block(0, signer=0), signed_dag_block(0, signer=1)
    assert details(checker, seen(ALICE, own), seen(BOB, own)) == []
    (detail,) = details(checker, seen(BOB, forged))
    assert detail.endswith("(round 5, member 0) is not signed by him")


def test_a_recorded_block_lies_under_its_own_key() -> None:
    record = signed_dag_block(0, signer=0)
    reference, _ = dag_block(0, 5, "y")
    elsewhere = record_of_block(Reference(reference.round, reference.author, reference.digest), dag_block(0, 5, "x")[1])
    moved = Record(record.table, elsewhere.key, record.value)
    (detail,) = details(SignedByMembers(NETWORK, MEMBERS), seen(BOB, moved))
    assert detail.endswith("lies under the key of another")


GENESIS = genesis_step(NETWORK)
EASY = 2**256 - 1


def led_block(parent: bytes = GENESIS, height: int = 1, *, signer: int = 0, body: Body | None = None) -> Record:
    """Led in Alice's name; `body`: another than its header names."""
    named = Body((), b"", name_of("state"))
    draft = Draft(Digest(parent), Height(height), height * 1_000, ALICE, EASY, body_digest(NETWORK, named))
    header = sign_header(NETWORK, draft, 7, KEYS[signer].sign)
    step = header_id(NETWORK, header)
    return Record("block", block_key(Height(height), step), encode(Block(header, body or named)))


@pytest.mark.parametrize(
    ("record", "is_solved", "says"),
    [
        (led_block(), True, None),
        (led_block(), False, "has no solved puzzle"),
        (led_block(signer=1), True, "is not signed by its leader"),
        (led_block(body=Body((), b"", name_of("other"))), True, "has another body than its header names"),
    ],
)
def test_a_recorded_block_is_all_that_it_says(record: Record, is_solved: bool, says: str | None) -> None:
    found = details(ProvenBlocks(NETWORK, lambda *_: is_solved), seen(BOB, record))
    assert [detail.split(") ")[1] for detail in found] == ([] if says is None else [says])


# --- depth ------------------------------------------------------------------------------------------------------------


def chain(length: int) -> list[Record]:
    records: list[Record] = []
    parent: bytes = GENESIS
    for height in range(1, length + 1):
        records.append(led_block(parent, height))
        parent = records[-1].key[8:]
    return records


def asked(peer: PeerId, request: LearnerRequest, incarnation: int = 0) -> Seen:
    return seen(peer, AskLearner(request), incarnation=incarnation)


def test_a_step_is_final_at_its_depth_and_not_before() -> None:
    records = chain(4)
    steps = [record.key[8:] for record in records]
    recorded = [seen(ALICE, record) for record in records]
    head, deep, flat = AdoptRequest(steps[3]), FinaliseRequest(steps[1]), FinaliseRequest(steps[2])
    assert details(FinalIsDeep(NETWORK, 2, GENESIS), *recorded, asked(BOB, head), asked(BOB, deep)) == []
    assert details(FinalIsDeep(NETWORK, 2, GENESIS), *recorded, asked(BOB, head), asked(BOB, flat)) == [
        f"step {steps[2].hex()[:8]} is final 1 below the head, allowed: 2 or more"
    ]


def test_only_a_restart_may_lower_the_head() -> None:
    records = chain(2)
    recorded = [seen(ALICE, record) for record in records]
    low, high = (AdoptRequest(record.key[8:]) for record in records)
    assert details(FinalIsDeep(NETWORK, 2, GENESIS), *recorded, asked(BOB, high), asked(BOB, low, incarnation=1)) == []
    assert details(FinalIsDeep(NETWORK, 2, GENESIS), *recorded, asked(BOB, high), asked(BOB, low)) == [
        "the head moves from work 2 at height 2 to work 1 at height 1"
    ]


# --- gradients --------------------------------------------------------------------------------------------------------


def accepted(step: str, *bases: int, peer: PeerId = ALICE) -> tuple[Seen, Seen]:
    """A delivery of Bob's gradients on these versions, and all of them accepted."""
    submissions = (GradientSubmission(base, name_of("model"), name_of(f"{step} {base}"), 100) for base in bases)
    items = tuple(AuthoredPayload(name_of(step), BOB, GENESIS, encode_submission(one)) for one in submissions)
    judged = tuple(GradientReport(BOB, GradientOutcome.APPLIED, is_accepted=True, staleness=0) for _ in bases)
    delivered = DeliverRequest(DeliveredStep(name_of(step), GENESIS, 1, items))
    return asked(peer, delivered), seen(peer, GradientsReport(name_of(step), 1, judged, ()))


def test_a_gradient_on_one_model_is_accepted_once_however_often_a_delivery_is_seen() -> None:
    repeated = [f"two gradients of {BOB.hex()[:8]} on version 1 are accepted"]
    assert details(AcceptedOnce(), *accepted("a", 1), *accepted("a", 1, peer=CAROL), *accepted("b", 2)) == []
    assert details(AcceptedOnce(), *accepted("a", 1), *accepted("b", 1)) == repeated
    assert details(AcceptedOnce(), *accepted("a", 1, 1)) == repeated


# --- rows that a disk has lost ----------------------------------------------------------------------------------------


def test_rows_that_the_disk_has_lost_are_durable_no_more() -> None:
    record = signed_dag_block(0, signer=0)
    block = DAG_BLOCK_CODEC.decode(record.value)
    written, sent = (seen(ALICE, event) for event in (record, Broadcast(encode(BlockMessage(block)))))
    guarded = seen(ALICE, Guard(5))
    empty, whole = (seen(ALICE, Started(rows)) for rows in (frozenset(), frozenset({(record.table, record.key)})))
    lost = ["sent its block of round 5 before it was durable"]
    assert details(RecordedBeforeSent(NETWORK, MEMBERS), written, guarded, whole, sent) == []
    assert details(RecordedBeforeSent(NETWORK, MEMBERS), written, guarded, empty, sent) == lost
    assert details(RecordedBeforeSent(NETWORK, MEMBERS), written, guarded, empty, written, sent) == []


def test_a_payload_that_was_forgotten_in_good_order_counts_as_durable_for_ever() -> None:
    attached = large("gradient")
    contribution = Contribution(ALICE, GENESIS, b"p", (attached,), NO_SIGNATURE)
    sent = seen(ALICE, Broadcast(encode(ContributionMessage(contribution))))
    written = seen(ALICE, Record(PAYLOAD_TABLE, attached.digest, b""))
    forgotten, again = seen(ALICE, Forget(PAYLOAD_TABLE, attached.digest)), seen(ALICE, Started(frozenset()))
    assert details(RecordedBeforeSent(NETWORK, ()), written, forgotten, again, sent) == []
    assert len(details(RecordedBeforeSent(NETWORK, ()), written, again, sent)) == 1
