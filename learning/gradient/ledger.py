"""The agreed state of a gradient network: the model, the models before it, and what the rule remembers. It replaces the server.

`advance` is a pure function: equal submissions in equal order give equal ledgers on every peer, bit for bit. A worker submits
the model that it started from, and the name of the gradient that travels beside the order.

Section 7 of docs/protocol.md.
"""

import hashlib
from dataclasses import dataclass, field, replace
from typing import Annotated, Protocol

import msgspec
import numpy as np

from learning.aggregation.quantised import PAYLOAD_DIGEST_BYTES, MalformedGradientError, QuantisedGradient, decode_gradient
from learning.aggregation.rule import AggregationResult, AggregationRule, ArrivedGradient, GradientOutcome, RuleMemory, Workers
from learning.learner import AuthoredPayload
from learning.state import STATE_DIGEST_BYTES, ModelState, state_digest
from learning.task import Float32Array, Layout

VERSION_MAX = 2**62
"""Far beyond any run; still an integer for every decoder."""

GRADIENT_BYTES_MAX = 1 << 30
"""Of one encoded gradient: half a billion parameters."""


class GradientSubmission(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A claim that the gradient `payload` was computed on the model `base`."""

    base: Annotated[int, msgspec.Meta(ge=0, le=VERSION_MAX)]
    """Version of the model."""
    base_digest: Annotated[bytes, msgspec.Meta(min_length=STATE_DIGEST_BYTES, max_length=STATE_DIGEST_BYTES)]
    payload: Annotated[bytes, msgspec.Meta(min_length=PAYLOAD_DIGEST_BYTES, max_length=PAYLOAD_DIGEST_BYTES)]
    length: Annotated[int, msgspec.Meta(ge=1, le=GRADIENT_BYTES_MAX)]
    """Bytes of the payload."""


_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(GradientSubmission)


def encode_submission(submission: GradientSubmission) -> bytes:
    """About 75 bytes."""
    return _ENCODER.encode(submission)


def decode_submission(payload: bytes) -> GradientSubmission | None:
    """The submission, or None for bytes that are none, or not canonical."""
    try:
        submission = _DECODER.decode(payload)
    except (msgspec.DecodeError, msgspec.ValidationError):
        return None
    return submission if _ENCODER.encode(submission) == payload else None


LEDGER_TAG = b"kubrat/ledger/1"

OF_NO_VERSION = frozenset({GradientOutcome.UNKNOWN_BASE, GradientOutcome.FUTURE_BASE})
"""What names no model that there is, or was: its staleness is unknown."""


@dataclass(frozen=True, slots=True)
class LedgerRules:
    """What every peer must hold to, besides the rule itself."""

    learning_rate: np.float32
    """At most 16 significant bits (`learning.exact.round_factor`), above 0."""
    staleness_max: int
    """Gradients on an older model are refused; so many past models are remembered (1..10,000)."""
    bits: int = 16
    """Per value of a gradient, 8 or 16: another width is no gradient of this network."""


@dataclass(frozen=True, slots=True, eq=False)
class PastModel:
    """A version of the model that gradients may still name."""

    version: int
    digest: bytes
    parameters: Float32Array | None
    """None where the rule needs no past models."""


@dataclass(frozen=True, slots=True)
class Judged:
    """What became of one submission. For people, and for what a leader lists."""

    author: bytes
    outcome: GradientOutcome
    staleness: int | None
    """None where the base is unknown."""
    weights: tuple[tuple[bytes, float], ...] = field(default=())
    was_read: bool = field(default=False, compare=False)
    """Whether the bytes of its payload were read, which is what costs."""


class Gradients(Protocol):
    """Where large payloads lie."""

    def payload(self, digest: bytes) -> bytes | None:
        """The bytes of this digest, or None where they are not held."""
        ...


class PayloadMissingError(Exception):
    """The order has delivered a submission whose payload is not held: the shell has broken its promise, or lost its disk."""


@dataclass(frozen=True, slots=True, eq=False)
class AggregationState:
    """`past`: ascending versions, the present one last; at most staleness_max + 1 of them."""

    parameters: Float32Array
    """(parameters,) float32, read-only."""
    past: tuple[PastModel, ...]
    memory: RuleMemory = field(default_factory=RuleMemory)
    bases: tuple[tuple[bytes, int], ...] = ()
    """The newest base of each worker's accepted gradients, within the window; ascending by author.

    Filtered ones do not count: else a filter that refuses one gradient of everybody would stop the network for ever.
    """

    @property
    def version(self) -> int:
        """How often the model has moved."""
        return self.past[-1].version

    @property
    def digest(self) -> bytes:
        """Of the model alone (`learning.state.state_digest` with the version as its height)."""
        return self.past[-1].digest

    def model(self, version: int) -> Float32Array | None:
        """The parameters at a version of the window (a rule's `PastModels`)."""
        known = self.at(version)
        return None if known is None else known.parameters

    def at(self, version: int) -> PastModel | None:
        """A version of the window."""
        place = version - self.past[0].version
        return self.past[place] if 0 <= place < len(self.past) else None


def first_ledger(parameters: Float32Array, rule: AggregationRule) -> AggregationState:
    """The ledger that a network starts from."""
    return AggregationState(parameters, (_past_model(parameters, 0, rule),))


def ledger_digest(ledger: AggregationState) -> bytes:
    """BLAKE2b-256 over everything that later steps depend on: what a block of proof of work commits to."""
    hasher = hashlib.blake2b(digest_size=32)
    memory = ledger.memory
    parts: list[bytes] = [LEDGER_TAG, *(past.digest for past in ledger.past), b"bases"]
    for author, base in ledger.bases:
        parts += [author, _integer(base)]
    parts += [b"slots", _integer(memory.arrivals)]
    for slot in memory.slots:
        coefficient = b"" if slot.coefficient is None else str(slot.coefficient).encode()
        parts += [slot.author, _integer(slot.base), slot.gradient.digest, _integer(slot.arrived), coefficient]
    parts += [b"recent", *memory.recent, b"counts", *(_integer(count) for count in memory.counts), b"vectors"]
    parts += [np.ascontiguousarray(vector, dtype="<f4").tobytes() for vector in memory.vectors]
    for part in parts:
        hasher.update(len(part).to_bytes(8, "little"))
        hasher.update(part)
    return hasher.digest()


class Aggregator:
    """Advances ledgers by the rules of one network. Holds nothing that changes."""

    def __init__(self, layout: Layout, rules: LedgerRules, rule: AggregationRule) -> None:
        self.layout = layout
        self.rule = rule
        self.bits = rules.bits
        self._rules = rules

    def advance(
        self, ledger: AggregationState, item: AuthoredPayload, group: Workers, gradients: Gradients, *, may_read: bool = True
    ) -> tuple[AggregationState, Judged]:
        """The ledger after one delivered submission; without `may_read` nothing comes of it. Raises PayloadMissingError."""
        submission = decode_submission(item.payload)
        if submission is None:
            return ledger, Judged(item.author, GradientOutcome.MALFORMED, None)
        fault = self.fault_of(ledger, item.author, submission, group)
        if fault is None and not may_read:
            fault = GradientOutcome.CROWDED
        staleness = None if fault in OF_NO_VERSION else ledger.version - submission.base
        if fault is not None:
            return ledger, Judged(item.author, fault, staleness)
        gradient = self.gradient(submission, item.attached, gradients)
        if gradient is None:
            return ledger, Judged(item.author, GradientOutcome.MALFORMED, staleness, was_read=True)
        return self._judge(ledger, ArrivedGradient(item.author, submission.base, ledger.version, gradient), group)

    def fault_of(
        self, ledger: AggregationState, author: bytes, submission: GradientSubmission, group: Workers
    ) -> GradientOutcome | None:
        """Why a submission has no part in the model whatever its gradient is, if there is a reason."""
        if author not in group.workers:
            return GradientOutcome.NOT_A_WORKER
        if submission.base > ledger.version:
            return GradientOutcome.FUTURE_BASE
        past = ledger.at(submission.base)
        if past is None:
            return GradientOutcome.STALE
        if past.digest != submission.base_digest:
            return GradientOutcome.UNKNOWN_BASE
        if submission.base <= dict(ledger.bases).get(author, -1):
            return GradientOutcome.REPEATED
        return None

    def gradient(
        self, submission: GradientSubmission, attached: tuple[tuple[bytes, int], ...], gradients: Gradients
    ) -> QuantisedGradient | None:
        """As `delivered_gradient`. Raises PayloadMissingError."""
        return delivered_gradient(submission, attached, gradients, self.layout, self.bits)

    def _judge(self, ledger: AggregationState, arrival: ArrivedGradient, group: Workers) -> tuple[AggregationState, Judged]:
        result = self.rule.judge(ledger.memory, arrival, group, ledger)
        noted = ledger
        if result.outcome.is_accepted:
            bases = dict(ledger.bases) | {arrival.author: arrival.base}
            noted = replace(ledger, bases=tuple(sorted(bases.items())))
        moved = self._move(noted, result)
        outcome = GradientOutcome.OUT_OF_RANGE if moved is None else result.outcome
        judged = Judged(arrival.author, outcome, arrival.staleness, result.weights, was_read=True)
        return (ledger if moved is None else moved), judged

    def _move(self, ledger: AggregationState, result: AggregationResult) -> AggregationState | None:
        """None where the model would no longer be finite: then nothing happens, the rule's memory included."""
        if result.step is None:
            return replace(ledger, memory=result.memory)
        with np.errstate(over="ignore", invalid="ignore"):
            parameters = ledger.parameters - self._rules.learning_rate * result.step
        if not np.isfinite(parameters).all():
            return None
        parameters.setflags(write=False)
        present = _past_model(parameters, ledger.version + 1, self.rule)
        past = (*ledger.past, present)[-(self._rules.staleness_max + 1) :]
        oldest = past[0].version
        bases = tuple((author, base) for author, base in ledger.bases if base >= oldest)
        return AggregationState(parameters, past, result.memory, bases)


def delivered_gradient(
    submission: GradientSubmission, attached: tuple[tuple[bytes, int], ...], gradients: Gradients, layout: Layout, bits: int
) -> QuantisedGradient | None:
    """None where the bytes that all hold are no gradient, or where nobody promised to hold them.

    Raises PayloadMissingError.
    """
    if (submission.payload, submission.length) not in attached:
        return None
    encoded = gradients.payload(submission.payload)
    if encoded is None:
        raise PayloadMissingError(f"the payload {submission.payload.hex()[:16]} was delivered, but is not held")
    if len(encoded) != submission.length:
        return None
    try:
        return decode_gradient(encoded, layout, bits)
    except MalformedGradientError:
        return None


def _past_model(parameters: Float32Array, version: int, rule: AggregationRule) -> PastModel:
    digest = state_digest(ModelState(parameters, version))
    return PastModel(version, digest, parameters if rule.needs_models else None)


def _integer(value: int) -> bytes:
    return value.to_bytes(8, "little")
