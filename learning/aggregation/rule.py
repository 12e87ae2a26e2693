"""The contract of a rule: what it is handed, what it remembers, what it answers.

A rule is pure. Its memory is a frozen value, so that a fork of a chain costs nothing: both branches share what is equal.

Section 7 of docs/protocol.md.
"""

from dataclasses import dataclass, field
from enum import StrEnum
from fractions import Fraction
from typing import Protocol

from learning.aggregation.quantised import QuantisedGradient
from learning.learner import faulty_max
from learning.task import Float32Array


class GradientOutcome(StrEnum):
    """What became of a gradient; the text is for people."""

    APPLIED = "applied"
    """The model moved when it came."""
    COLLECTED = "collected"
    """Kept for a step that is still to come."""
    TOO_STEEP = "grew faster than the models differ"
    """Kardam's Lipschitz filter."""
    TOO_FREQUENT = "too many of the last accepted ones are its author's"
    """Kardam's frequency filter."""
    COPY = "the same vector as another worker's"
    NOT_A_WORKER = "its author is no worker"
    MALFORMED = "it does not decode"
    UNKNOWN_BASE = "no such model"
    FUTURE_BASE = "its model is still to come"
    STALE = "its model is too old"
    REPEATED = "one of its author's on this model, or a later one, was accepted before, or is in the same block"
    CROWDED = "another one of its author's was read in the same commit"
    LATE = "it came after the slate of its model was closed"
    OUT_OF_RANGE = "the model would no longer be finite"

    @property
    def is_accepted(self) -> bool:
        """Whether it had, or may still have, a part in the model."""
        return self in {GradientOutcome.APPLIED, GradientOutcome.COLLECTED}


@dataclass(frozen=True, slots=True)
class Workers:
    """Whose gradients count: `workers`, at most `faulty_max` of their voices Byzantine."""

    workers: tuple[bytes, ...]
    """Ascending; n = len(workers)."""
    faulty_max: int
    """f, in voices."""
    voices: tuple[int, ...] = ()
    """Of each worker, at least 1; none given: one each. Where keys are free, voices are paid for by something that is not."""

    @property
    def size(self) -> int:
        """n."""
        return len(self.workers)

    @property
    def honest_min(self) -> int:
        """All voices but f; n - f where each worker has one."""
        return (sum(self.voices) or len(self.workers)) - self.faulty_max

    @property
    def one_voice_each(self) -> "Workers":
        """For rules that count workers, whatever their voices: who has many keys has as many voices."""
        return Workers(self.workers, faulty_max(self.size)) if self.voices else self

    def share_of(self, author: bytes) -> Fraction:
        """The part of all voices that a worker has, at least 1 / n: so keys that only have voices slow nobody down."""
        return max(Fraction(self.voices_of(author), sum(self.voices) or self.size), Fraction(1, self.size))

    def voices_of(self, author: bytes) -> int:
        """How many a worker has; 0 for who is none."""
        if author not in self.workers:
            return 0
        return self.voices[self.workers.index(author)] if self.voices else 1


@dataclass(frozen=True, slots=True)
class ArrivedGradient:
    """A well-formed gradient of a worker, on a known model, as the order delivers it."""

    author: bytes
    base: int
    """The version of the model it was computed on."""
    version: int
    """The version of the model now."""
    gradient: QuantisedGradient

    @property
    def staleness(self) -> int:
        """tau: versions between the two, from the order and never self-declared."""
        return self.version - self.base


@dataclass(frozen=True, slots=True)
class WorkerSlot:
    """What is remembered of one worker."""

    author: bytes
    base: int
    gradient: QuantisedGradient
    """Its newest one that the rule has kept."""
    arrived: int = 0
    """Its number among all arrivals."""
    coefficient: Fraction | None = None
    """Kardam: the squared empirical Lipschitz coefficient; None is infinite."""


@dataclass(frozen=True, slots=True)
class RuleMemory:
    """All that a rule remembers between gradients; each rule uses what it needs, and leaves the rest empty."""

    arrivals: int = 0
    """Gradients judged so far."""
    slots: tuple[WorkerSlot, ...] = ()
    """At most one per worker, ascending by author."""
    recent: tuple[bytes, ...] = ()
    """Authors of the newest accepted gradients, the newest last."""
    vectors: tuple[Float32Array, ...] = ()
    """E.g. buffers, momentum; read-only, shape (parameters,) each."""
    counts: tuple[int, ...] = ()

    def slot_of(self, author: bytes) -> WorkerSlot | None:
        """What is remembered of this worker."""
        return next((slot for slot in self.slots if slot.author == author), None)

    def with_slot(self, slot: WorkerSlot) -> tuple[WorkerSlot, ...]:
        """The slots with this one in its author's place."""
        others = tuple(known for known in self.slots if known.author != slot.author)
        return tuple(sorted((*others, slot), key=lambda known: known.author))


@dataclass(frozen=True, slots=True)
class AggregationResult:
    """The answer to one gradient."""

    memory: RuleMemory
    outcome: GradientOutcome
    step: Float32Array | None = None
    """What the model moves against, times the learning rate: (parameters,) float32; None: it stays."""
    weights: tuple[tuple[bytes, float], ...] = field(default=())
    """For people: whose gradients have a part in the step, and how large; ascending by author."""


class PastModels(Protocol):
    """The models of the staleness window, for a rule that says `needs_models`."""

    def model(self, version: int) -> Float32Array | None:
        """The parameters at this version, or None when it is no longer held."""
        ...


class AggregationRule(Protocol):
    """Turns arrivals into steps. Equal arrivals in equal order give equal steps, bit for bit, on any processor."""

    @property
    def name(self) -> str:
        """As the network file calls it."""
        ...

    @property
    def needs_models(self) -> bool:
        """Whether `judge` asks for past models."""
        ...

    def judge(self, memory: RuleMemory, arrival: ArrivedGradient, group: Workers, past: PastModels) -> AggregationResult:
        """What this gradient does to the model. The first memory of all is `Memory()`.

        The group may change between calls (open membership): slots of who is no worker any more have no part.
        """
        ...
