"""The agreed state: every reason to refuse, the bounds of the window, its digest, and forks that share what is equal."""

import sys
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from learning.aggregation.basgd import Buffered
from learning.aggregation.kardam import Kardam
from learning.aggregation.quantised import payload_digest, quantise
from learning.aggregation.rule import GradientOutcome, RuleMemory, WorkerSlot
from learning.aggregation.single_steps import Mean
from learning.gradient.ledger import (
    AggregationState,
    GradientSubmission,
    Judged,
    PayloadMissingError,
    decode_submission,
    first_ledger,
    ledger_digest,
)
from learning.learner import AuthoredPayload
from learning.state import ModelState, state_digest
from tests.learning.gradient.tiny import LAYOUT, Network, gradient_of, group_of, vector_of, with_submission, worker

ALICE, BOB = worker(0), worker(1)
STEP = (1.0, 0.0, -2.0)


def network(staleness_max: int = 20) -> Network:
    return Network(Mean(), group_of(4), staleness_max=staleness_max)


def submission_of(delivered: AuthoredPayload) -> GradientSubmission:
    submission = decode_submission(delivered.payload)
    assert submission is not None
    return submission


def refused(net: Network, delivered: AuthoredPayload) -> Judged:
    """The judgement of something that must leave the ledger as it is."""
    before = net.ledger
    judged = net.advance(delivered)
    assert net.ledger is before
    return judged


# --- every outcome ----------------------------------------------------------------------------------------------------


def test_a_gradient_moves_the_model_against_itself_times_the_learning_rate() -> None:
    net = network()
    assert net.deliver(0, STEP) == Judged(ALICE, GradientOutcome.APPLIED, 0, ((ALICE, 1.0),))
    assert net.ledger.parameters.tolist() == [0.5, -1.0, 1.5]
    assert net.ledger.version == 1
    assert net.ledger.digest == state_digest(ModelState(net.ledger.parameters, 1))
    assert net.ledger.bases == ((ALICE, 0),)
    assert not net.ledger.parameters.flags.writeable


def test_bytes_that_are_no_submission_are_malformed() -> None:
    net = network()
    good = net.delivered(ALICE, STEP)
    for payload in (b"", b"\xc0", good.payload[:-1], good.payload + b"\0"):
        assert refused(net, replace(good, payload=payload)) == Judged(ALICE, GradientOutcome.MALFORMED, None)


def test_an_outsider_is_no_worker_whatever_it_sends() -> None:
    net = network()
    assert refused(net, net.delivered(worker(9), STEP)) == Judged(worker(9), GradientOutcome.NOT_A_WORKER, 0)


def test_a_base_that_is_still_to_come_is_refused() -> None:
    net = network()
    good = net.delivered(ALICE, STEP)
    future = with_submission(good, GradientSubmission(1, b"\1" * 32, submission_of(good).payload, submission_of(good).length))
    assert refused(net, future) == Judged(ALICE, GradientOutcome.FUTURE_BASE, None)


def test_a_base_of_another_history_is_refused() -> None:
    net = network()
    good = net.delivered(ALICE, STEP)
    other = with_submission(good, GradientSubmission(0, b"\1" * 32, submission_of(good).payload, submission_of(good).length))
    assert refused(net, other) == Judged(ALICE, GradientOutcome.UNKNOWN_BASE, None)


def test_a_base_is_known_to_the_last_version_of_the_window_and_then_too_old() -> None:
    net = network(staleness_max=3)
    oldest, late = net.delivered(ALICE, STEP), net.delivered(worker(3), STEP)
    for _ in range(3):
        net.deliver(1, STEP)
    assert net.advance(oldest) == Judged(ALICE, GradientOutcome.APPLIED, 3, ((ALICE, 1.0),))
    assert refused(net, late) == Judged(worker(3), GradientOutcome.STALE, 4)


def test_a_second_gradient_on_a_base_or_an_older_one_is_repeated_once_one_was_accepted() -> None:
    net = network()
    older, first, second = net.delivered(BOB, STEP), net.delivered(ALICE, STEP), net.delivered(ALICE, (2, 2, 2))
    net.advance(first)
    assert refused(net, first) == Judged(ALICE, GradientOutcome.REPEATED, 1)
    assert refused(net, second) == Judged(ALICE, GradientOutcome.REPEATED, 1)
    net.deliver(1, STEP)
    assert refused(net, older) == Judged(BOB, GradientOutcome.REPEATED, 2)


def test_a_filtered_gradient_leaves_its_author_free_to_try_again_on_the_same_base() -> None:
    net = Network(Kardam(bootstrap=False), group_of(4))
    assert net.deliver(0, STEP).outcome == GradientOutcome.TOO_STEEP
    assert net.deliver(0, (2, 2, 2)).outcome == GradientOutcome.TOO_STEEP
    assert net.ledger.bases == ()


def test_a_payload_that_nobody_promised_to_hold_is_malformed() -> None:
    net = network()
    good = net.delivered(ALICE, STEP)
    ((digest, length),) = good.attached
    for attached in ((), ((digest, length + 1),), ((bytes(32), length),)):
        assert refused(net, replace(good, attached=attached)) == Judged(ALICE, GradientOutcome.MALFORMED, 0)


def test_bytes_that_are_no_gradient_are_malformed() -> None:
    net = network()
    good = net.delivered(ALICE, STEP)
    for encoded in (b"\x10", net.payloads[submission_of(good).payload] + b"\0"):
        digest = payload_digest(encoded)
        net.payloads[digest] = encoded
        junk = with_submission(good, GradientSubmission(0, net.ledger.digest, digest, len(encoded)))
        assert refused(net, junk) == Judged(ALICE, GradientOutcome.MALFORMED, 0)


def test_a_vector_in_another_width_is_no_gradient_of_this_network() -> None:
    """Else who writes another worker's gradient in eight bits has one of its own."""
    net = network()
    good = net.delivered(ALICE, STEP)
    narrow = quantise(gradient_of(STEP).dense(), LAYOUT, 8)
    assert narrow is not None
    assert narrow.dense().tolist() == gradient_of(STEP).dense().tolist()
    net.payloads[narrow.digest] = narrow.encoded
    other = with_submission(good, GradientSubmission(0, net.ledger.digest, narrow.digest, len(narrow.encoded)))
    assert refused(net, other) == Judged(ALICE, GradientOutcome.MALFORMED, 0)


def test_a_payload_of_another_length_than_announced_is_malformed() -> None:
    net = network()
    good = net.delivered(ALICE, STEP)
    ((digest, length),) = good.attached
    longer = with_submission(good, GradientSubmission(0, net.ledger.digest, digest, length + 1))
    assert refused(net, longer) == Judged(ALICE, GradientOutcome.MALFORMED, 0)


def test_a_promised_payload_that_is_not_held_stops_the_shell_and_not_the_ledger() -> None:
    net = network()
    good = net.delivered(ALICE, STEP)
    net.payloads.clear()
    with pytest.raises(PayloadMissingError, match=submission_of(good).payload.hex()[:16]):
        net.advance(good)


def test_a_step_out_of_range_leaves_the_ledger_as_it_is_its_memory_included() -> None:
    net = Network(Mean(), group_of(4), learning_rate=2.0**99)
    assert refused(net, net.delivered(ALICE, (2.0**77, 0, 0))) == Judged(
        ALICE, GradientOutcome.OUT_OF_RANGE, 0, ((ALICE, 1.0),)
    )
    assert net.deliver(0, (2.0**-99, 0, 0)).outcome == GradientOutcome.APPLIED


def test_a_collected_gradient_waits_for_its_step_and_uses_up_its_base() -> None:
    net = Network(Buffered(), group_of(4))
    first = net.delivered(ALICE, STEP)
    assert net.advance(first) == Judged(ALICE, GradientOutcome.COLLECTED, 0)
    assert (net.ledger.version, net.ledger.bases) == (0, ((ALICE, 0),))
    assert refused(net, first).outcome == GradientOutcome.REPEATED


# --- bounds -----------------------------------------------------------------------------------------------------------


def weight_of(ledger: AggregationState) -> int:
    """Bytes of all that a ledger holds: models, slots and vectors count by their arrays."""
    models = [past.parameters for past in ledger.past if past.parameters is not None]
    arrays = [*models, *ledger.memory.vectors, *(slot.gradient.values for slot in ledger.memory.slots)]
    tuples = (ledger.past, ledger.bases, ledger.memory.slots, ledger.memory.recent, ledger.memory.counts)
    return sum(array.nbytes for array in arrays) + sum(sys.getsizeof(held) for held in tuples)


@pytest.mark.slow
@pytest.mark.parametrize("rule", [Mean(), Kardam(), Buffered(momentum="0.9")], ids=lambda rule: rule.name)
def test_ten_thousand_deliveries_hold_no_more_than_a_few_hundred(rule: Mean | Kardam | Buffered) -> None:
    net = Network(rule, group_of(4), staleness_max=5, learning_rate=2.0**-10)
    noise = np.random.Generator(np.random.Philox(key=1)).standard_normal((64, 3))
    heaviest = []
    for turn in range(10_000):
        net.deliver(turn % 4, noise[turn % 64], max(net.ledger.past[0].version, net.ledger.version - turn % 3))
        net.payloads.clear()
        if turn in {500, 9_999}:
            heaviest.append((weight_of(net.ledger), len(net.ledger.past), len(net.ledger.bases)))
    assert net.ledger.version > 1_000
    assert [past.version for past in net.ledger.past] == list(range(net.ledger.version - 5, net.ledger.version + 1))
    assert heaviest[1][0] <= heaviest[0][0] + 500
    assert all(base >= net.ledger.past[0].version for _, base in net.ledger.bases)


def test_past_models_are_kept_only_for_a_rule_that_asks_for_them() -> None:
    kept = []
    for rule in (Kardam(), Kardam(lipschitz=False), Mean()):
        net = Network(rule, group_of(1))
        for _ in range(3):
            net.deliver(0, STEP)
        kept.append(sum(past.parameters is not None for past in net.ledger.past))
    assert kept == [4, 0, 0]


def test_a_ledger_knows_the_models_of_its_window_alone() -> None:
    net = Network(Kardam(), group_of(1), staleness_max=2)
    models = {0: net.ledger.parameters.tolist()}
    for version in range(1, 5):
        net.deliver(0, STEP)
        models[version] = net.ledger.parameters.tolist()
    known = {version: net.ledger.model(version) for version in range(-2, 7)}
    assert {version: model.tolist() for version, model in known.items() if model is not None} == {
        version: models[version] for version in (2, 3, 4)
    }


# --- digest, forks ----------------------------------------------------------------------------------------------------


def full_ledger() -> AggregationState:
    """A ledger with something in every place."""
    slot = WorkerSlot(ALICE, 3, gradient_of(STEP), 7, Fraction(2, 3))
    memory = RuleMemory(9, (slot,), (BOB,), (vector_of([1, 2, 3]),), (4, 5))
    return replace(first_ledger(vector_of([1, 2, 3]), Mean()), memory=memory, bases=((ALICE, 3),))


def test_the_digest_changes_with_every_part_of_the_ledger() -> None:
    ledger = full_ledger()
    memory = ledger.memory
    slot = memory.slots[0]
    slots = [
        replace(slot, author=BOB),
        replace(slot, base=4),
        replace(slot, gradient=gradient_of((1, 0, -3))),
        replace(slot, arrived=8),
        replace(slot, coefficient=None),
        replace(slot, coefficient=Fraction(0)),
        replace(slot, coefficient=Fraction(2, 5)),
    ]
    memories = [
        replace(memory, arrivals=10),
        replace(memory, slots=()),
        *(replace(memory, slots=(other,)) for other in slots),
        replace(memory, recent=()),
        replace(memory, recent=(ALICE,)),
        replace(memory, recent=(BOB, BOB)),
        replace(memory, vectors=()),
        replace(memory, vectors=(vector_of([1, 2, 4]),)),
        replace(memory, vectors=(*memory.vectors, vector_of([0, 0, 0]))),
        replace(memory, counts=()),
        replace(memory, counts=(5, 4)),
    ]
    ledgers = [
        ledger,
        *(replace(ledger, memory=other) for other in memories),
        replace(ledger, bases=()),
        replace(ledger, bases=((ALICE, 2),)),
        replace(ledger, bases=((BOB, 3),)),
        replace(ledger, past=(replace(ledger.past[0], digest=bytes(32)),)),
        replace(ledger, past=(*ledger.past, replace(ledger.past[0], version=1, digest=bytes(32)))),
    ]
    assert len({ledger_digest(one) for one in ledgers}) == len(ledgers)
    assert ledger_digest(full_ledger()) == ledger_digest(ledger)


def test_two_branches_from_one_ledger_do_not_touch_each_other() -> None:
    net = Network(Kardam(), group_of(4))
    for turn in range(12):
        net.deliver(turn % 4, (turn % 5, 1.0, -turn))
    trunk, before = net.ledger, ledger_digest(net.ledger)

    def branch(sign: int) -> list[bytes]:
        net.ledger = trunk
        digests = []
        for turn in range(12):
            net.deliver(turn % 4, (sign * turn, 1.0, turn % 3))
            digests.append(ledger_digest(net.ledger))
        return digests

    left, right = branch(1), branch(-1)
    assert (branch(1), branch(-1)) == (left, right)
    assert left[-1] != right[-1]
    assert ledger_digest(trunk) == before
