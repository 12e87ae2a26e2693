"""A ledger and its bytes are one and the same; bytes that are no ledger of the task's model are refused."""

from fractions import Fraction

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from learning.aggregation.quantised import decode_gradient
from learning.aggregation.rule import RuleMemory, WorkerSlot
from learning.gradient.checkpoint_codec import (
    KEPT_BLOCKS,
    KEPT_COMMITS,
    decode_ledger,
    encode_memory,
    kept_interval,
    kept_parameters,
)
from learning.gradient.ledger import AggregationState, PastModel, ledger_digest
from learning.state import ModelState, StoredStateError, state_digest
from learning.task import Float32Array
from tests.learning.gradient.quadratic import LAYOUT, encoded_gradient

AUTHORS = st.binary(min_size=32, max_size=32)
COUNTS = st.integers(0, 2**40)
VECTORS = st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=15, max_size=15).map(
    lambda values: np.array(values, dtype=np.float32)
)
COEFFICIENTS = st.none() | st.fractions(min_value=0) | st.just(Fraction(2**500 + 1, 3**300))
SLOTS = st.builds(
    lambda author, base, value, arrived, coefficient: WorkerSlot(
        author, base, decode_gradient(encoded_gradient(value), LAYOUT, 16), arrived, coefficient
    ),
    AUTHORS,
    COUNTS,
    st.floats(-4, 4, width=32),
    COUNTS,
    COEFFICIENTS,
)
MEMORIES = st.builds(
    RuleMemory,
    COUNTS,
    st.lists(SLOTS, max_size=3).map(tuple),
    st.lists(AUTHORS, max_size=3).map(tuple),
    st.lists(VECTORS, max_size=2).map(tuple),
    st.lists(COUNTS, max_size=3).map(tuple),
)


def ledger_of(
    models: list[Float32Array], first: int, memory: RuleMemory, bases: dict[bytes, int], *, needs_models: bool
) -> AggregationState:
    versions = enumerate(models, first)
    past = tuple(
        PastModel(version, state_digest(ModelState(model, version)), model if needs_models else None)
        for version, model in versions
    )
    return AggregationState(models[-1], past, memory, tuple(sorted(bases.items())))


LEDGERS = st.booleans().flatmap(
    lambda needs_models: st.tuples(
        st.builds(
            ledger_of,
            st.lists(VECTORS, min_size=1, max_size=3),
            COUNTS,
            MEMORIES,
            st.dictionaries(AUTHORS, COUNTS, max_size=3),
            needs_models=st.just(needs_models),
        ),
        st.just(needs_models),
    )
)


@pytest.mark.slow
@given(LEDGERS, st.lists(AUTHORS, max_size=4).map(tuple))
def test_a_decoded_ledger_is_the_one_that_was_encoded(known: tuple[AggregationState, bool], leaders: tuple[bytes, ...]) -> None:
    ledger, needs_models = known
    parameters, memory = kept_parameters(ledger), encode_memory(ledger, leaders)
    decoded, decoded_leaders = decode_ledger(parameters, memory, LAYOUT, needs_models=needs_models, bits=16)
    assert ledger_digest(decoded) == ledger_digest(ledger)
    assert (decoded_leaders, kept_parameters(decoded), decoded.version) == (leaders, parameters, ledger.version)
    assert encode_memory(decoded, leaders) == memory
    for version in range(ledger.past[0].version, ledger.version + 1):
        model, same = ledger.model(version), decoded.model(version)
        assert (model is None and same is None) or np.array_equal(model, same)


def a_ledger(*, needs_models: bool = False, slots: tuple[WorkerSlot, ...] = ()) -> AggregationState:
    models = [np.full(15, value, dtype=np.float32) for value in (0.5, 0.25)]
    return ledger_of(models, 7, RuleMemory(slots=slots), {}, needs_models=needs_models)


def test_a_decoded_model_cannot_be_changed() -> None:
    ledger = a_ledger()
    decoded, _ = decode_ledger(kept_parameters(ledger), encode_memory(ledger), LAYOUT, needs_models=False, bits=16)
    with pytest.raises(ValueError, match="read-only"):
        decoded.parameters[0] = 1


@pytest.mark.parametrize(("kept", "asked"), [(True, False), (False, True)])
def test_past_models_are_held_as_the_rule_needs_them(kept: bool, asked: bool) -> None:
    ledger = a_ledger(needs_models=kept)
    with pytest.raises(StoredStateError, match=f"{int(kept)} past models of 2, which is not what the network's rule needs"):
        decode_ledger(kept_parameters(ledger), encode_memory(ledger), LAYOUT, needs_models=asked, bits=16)


@pytest.mark.parametrize("needs_models", [False, True])
def test_other_parameters_than_the_newest_are_refused(needs_models: bool) -> None:
    ledger = a_ledger(needs_models=needs_models)
    with pytest.raises(StoredStateError, match="model of version 8 is not the one that the stored memory names"):
        decode_ledger(bytes(60), encode_memory(ledger), LAYOUT, needs_models=needs_models, bits=16)


def test_another_past_model_than_its_digest_names_is_refused() -> None:
    ledger = a_ledger(needs_models=True)
    fields: list[object] = msgspec.msgpack.decode(encode_memory(ledger))
    fields[2] = [bytes(60)]
    with pytest.raises(StoredStateError, match="model of version 7 is not the one that the stored memory names"):
        decode_ledger(kept_parameters(ledger), msgspec.msgpack.encode(fields), LAYOUT, needs_models=True, bits=16)


def test_parameters_of_another_layout_are_refused() -> None:
    ledger = a_ledger()
    with pytest.raises(StoredStateError, match="holds 56 bytes of parameters, the task's model 60"):
        decode_ledger(kept_parameters(ledger)[4:], encode_memory(ledger), LAYOUT, needs_models=False, bits=16)


def test_a_slot_of_another_layout_is_refused() -> None:
    gradient = decode_gradient(encoded_gradient(0.5), LAYOUT, 16)
    ledger = a_ledger(slots=(WorkerSlot(bytes(32), 7, gradient),))
    with pytest.raises(StoredStateError, match="gradient of 33 bytes, expected"):
        decode_ledger(kept_parameters(ledger), encode_memory(ledger), LAYOUT[:1], needs_models=False, bits=16)


def with_coefficient(numerator: bytes, denominator: bytes) -> bytes:
    gradient = decode_gradient(encoded_gradient(0.5), LAYOUT, 16)
    memory = encode_memory(a_ledger(slots=(WorkerSlot(bytes(32), 7, gradient, 0, Fraction(1, 3)),)))
    fields: list[object] = msgspec.msgpack.decode(memory)
    slots = fields[5]
    assert isinstance(slots, list)
    slots[0][4] = [numerator, denominator]
    return msgspec.msgpack.encode(fields)


@pytest.mark.parametrize("denominator", [b"", b"\x00", b"\xff", b"\x01" * 1_025])
def test_a_coefficient_that_is_none_is_refused(denominator: bytes) -> None:
    with pytest.raises(StoredStateError, match="a coefficient"):
        decode_ledger(kept_parameters(a_ledger()), with_coefficient(b"\x01", denominator), LAYOUT, needs_models=False, bits=16)


@given(st.binary(max_size=200))
def test_other_bytes_are_refused(memory: bytes) -> None:
    with pytest.raises(StoredStateError):
        decode_ledger(kept_parameters(a_ledger()), memory, LAYOUT, needs_models=False, bits=16)


@pytest.mark.parametrize(
    ("size", "commits", "blocks"),
    [(0, 64, 1), (300_000, 64, 8), (4_000_000, 64, 64), (10_000_000, 256, 64), (10**10, 256, 64)],
)
def test_larger_states_are_kept_more_rarely(size: int, commits: int, blocks: int) -> None:
    assert (kept_interval(size, KEPT_COMMITS), kept_interval(size, KEPT_BLOCKS)) == (commits, blocks)
