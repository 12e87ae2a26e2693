"""A ledger as bytes: what a restart, or a peer that joins late, goes on from; and how often one is worth keeping.

The encoding is canonical: equal ledgers have equal bytes, so members can vouch for one another's.
"""

from fractions import Fraction
from typing import Annotated

import msgspec

from learning.aggregation.quantised import MalformedGradientError, QuantisedGradient, decode_gradient, payload_bytes
from learning.aggregation.rule import RuleMemory, WorkerSlot
from learning.gradient.ledger import VERSION_MAX, AggregationState, Aggregator, PastModel, first_ledger
from learning.learner import Participant, StateKept
from learning.state import ModelState, StoredStateError, genesis_state, parameter_bytes, state_digest, stored_state
from learning.task import Float32Array, Layout

FRACTION_BYTES_MAX = 1_024
"""Of a coefficient's numerator or denominator: those of two gradients and two models are below 2**1000."""

KEPT_BYTES_PER_STEP = 64 * 2**10
"""States are kept so rarely that keeping them writes about this much per commit or block."""

KEPT_COMMITS = (64, 256)
"""Commits from one kept state to the next, at least and at most: there may be ten a second, and a restart replays them.

Payloads must be held as long: whoever starts from an older one of the few states that are served asks for those after it.
"""

KEPT_BLOCKS = (1, 64)
"""The same for final blocks, of which there is one in some seconds."""

Natural = Annotated[int, msgspec.Meta(ge=0, le=VERSION_MAX)]


class _KeptSlot(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    author: bytes
    base: Natural
    gradient: bytes
    arrived: Natural
    coefficient: tuple[bytes, bytes] | None
    """Numerator and denominator, two's complement, little-endian."""


class _KeptLedger(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """All of a ledger but the parameters of its newest model, and of who led the newest blocks."""

    version: Natural
    """Of the oldest past model."""
    digests: tuple[bytes, ...]
    models: tuple[bytes, ...]
    """Parameters of the past models but the newest, or none at all where the rule needs none."""
    bases: tuple[tuple[bytes, Natural], ...]
    arrivals: Natural
    slots: tuple[_KeptSlot, ...]
    recent: tuple[bytes, ...]
    vectors: tuple[bytes, ...]
    counts: tuple[Natural, ...]
    leaders: tuple[bytes, ...]


_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(_KeptLedger)


def kept_parameters(ledger: AggregationState) -> bytes:
    """The newest model: float32, little-endian."""
    return parameter_bytes(ModelState(ledger.parameters, ledger.version))


def encode_memory(ledger: AggregationState, leaders: tuple[bytes, ...] = ()) -> bytes:
    """The rest of the ledger, in MessagePack; and, under proof of work, who led the newest blocks."""
    memory = ledger.memory
    kept = _KeptLedger(
        version=ledger.past[0].version,
        digests=tuple(past.digest for past in ledger.past),
        models=tuple(_vector_bytes(past.parameters) for past in ledger.past[:-1] if past.parameters is not None),
        bases=ledger.bases,
        arrivals=memory.arrivals,
        slots=tuple(_kept_slot(slot) for slot in memory.slots),
        recent=memory.recent,
        vectors=tuple(_vector_bytes(vector) for vector in memory.vectors),
        counts=memory.counts,
        leaders=leaders,
    )
    return _ENCODER.encode(kept)


def origin_ledger(
    aggregator: Aggregator, participant: Participant, restored: StateKept | None
) -> tuple[AggregationState, tuple[bytes, ...]]:
    """The ledger and the leaders at genesis, or of a kept state. Raises StoredStateError when that does not fit."""
    layout, rule = aggregator.layout, aggregator.rule
    if restored is None:
        return first_ledger(genesis_state(participant.network_id, layout).parameters, rule), ()
    kept = restored.parameters, restored.memory
    return decode_ledger(*kept, layout, needs_models=rule.needs_models, bits=aggregator.bits)


def decode_ledger(
    parameters: bytes, memory: bytes, layout: Layout, *, needs_models: bool, bits: int
) -> tuple[AggregationState, tuple[bytes, ...]]:
    """The ledger and the leaders, for bytes from our own records, or of a digest that enough members vouch for.

    `needs_models`: of the network's rule; `bits`: of its gradients. Raises StoredStateError when they do not fit the layout or
    the rule.
    """
    try:
        kept = _DECODER.decode(memory)
        slots = tuple(_slot(slot, layout, bits) for slot in kept.slots)
    except (msgspec.DecodeError, MalformedGradientError, ValueError) as error:
        raise StoredStateError(f"the stored state's memory does not fit the task's model: {error}") from error
    if not kept.digests or len(kept.models) != (len(kept.digests) - 1 if needs_models else 0):
        held = f"{len(kept.models)} past models of {len(kept.digests)}"
        raise StoredStateError(f"the stored state holds {held}, which is not what the network's rule needs")
    model = _model(parameters, layout)
    past = _past(kept, model, layout, needs_models)
    vectors = tuple(_model(vector, layout) for vector in kept.vectors)
    ledger = AggregationState(model, past, RuleMemory(kept.arrivals, slots, kept.recent, vectors, kept.counts), kept.bases)
    return ledger, kept.leaders


def _past(kept: _KeptLedger, newest: Float32Array, layout: Layout, needs_models: bool) -> tuple[PastModel, ...]:
    """Raises StoredStateError where a model is not the one that its digest names; without models, of the newest."""
    older = [_model(model, layout) for model in kept.models] if needs_models else [None] * (len(kept.digests) - 1)
    past = []
    for version, (digest, model) in enumerate(zip(kept.digests, (*older, newest), strict=True), kept.version):
        if model is not None and state_digest(ModelState(model, version)) != digest:
            raise StoredStateError(f"the stored model of version {version} is not the one that the stored memory names")
        past.append(PastModel(version, digest, model if needs_models else None))
    return tuple(past)


def _model(parameters: bytes, layout: Layout) -> Float32Array:
    return stored_state(parameters, 0, layout).parameters


def _vector_bytes(vector: Float32Array) -> bytes:
    return vector.astype("<f4", copy=False).tobytes()


def _kept_slot(slot: WorkerSlot) -> _KeptSlot:
    coefficient = slot.coefficient
    parts = None if coefficient is None else (_integer_bytes(coefficient.numerator), _integer_bytes(coefficient.denominator))
    return _KeptSlot(slot.author, slot.base, slot.gradient.encoded, slot.arrived, parts)


def _slot(kept: _KeptSlot, layout: Layout, bits: int) -> WorkerSlot:
    """Raises MalformedGradientError, or ValueError for a coefficient that is none."""
    gradient: QuantisedGradient = decode_gradient(kept.gradient, layout, bits)
    if kept.coefficient is None:
        return WorkerSlot(kept.author, kept.base, gradient, kept.arrived)
    if max(len(part) for part in kept.coefficient) > FRACTION_BYTES_MAX:
        raise ValueError(f"a coefficient of more than {FRACTION_BYTES_MAX} bytes")
    numerator, denominator = (int.from_bytes(part, "little", signed=True) for part in kept.coefficient)
    if denominator < 1:
        raise ValueError(f"a coefficient with the denominator {denominator}")
    return WorkerSlot(kept.author, kept.base, gradient, kept.arrived, Fraction(numerator, denominator))


def _integer_bytes(value: int) -> bytes:
    return value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)


# --- how often ------------------------------------------------------------------------------------------------------


def state_bytes_max(layout: Layout, workers: int, staleness_max: int, *, needs_models: bool) -> int:
    """About how large a kept state may become: of the rules alone, so that all peers keep theirs at the same steps."""
    parameters = 4 * sum(block.size for block in layout)
    past = staleness_max * (parameters if needs_models else 0)
    return parameters + past + workers * payload_bytes(layout, 16)


def kept_interval(size: int, bounds: tuple[int, int], bytes_per_step: int = KEPT_BYTES_PER_STEP) -> int:
    """Commits or blocks from one kept state of `size` bytes to the next: a power of two within `bounds`.

    `bytes_per_step`: about what may be written for it each step.
    """
    fewest, most = bounds
    return min(max(fewest, 1 << (size // bytes_per_step).bit_length()), most)


def commit_interval(layout: Layout, members: int, staleness_max: int, *, needs_models: bool) -> int:
    """The same over a total order: as rarely as writing them costs about as much as the gradients that a commit brings.

    Payloads are kept for some intervals, so that those of large models take the less room.
    """
    size = state_bytes_max(layout, members, staleness_max, needs_models=needs_models)
    return kept_interval(size, KEPT_COMMITS, max(KEPT_BYTES_PER_STEP, members * payload_bytes(layout, 16)))
