"""A network of gradients at tiny size: the real aggregator over one ledger that tests deliver to."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from learning.aggregation.quantised import QuantisedGradient, quantise
from learning.aggregation.rule import AggregationRule, Workers
from learning.gradient.ledger import (
    AggregationState,
    Aggregator,
    GradientSubmission,
    Judged,
    LedgerRules,
    encode_submission,
    first_ledger,
)
from learning.learner import AuthoredPayload
from learning.task import Float32Array, Layout, ParameterBlock

LAYOUT = (ParameterBlock("weight", (2,), 2), ParameterBlock("bias", (1,), 0))
PARAMETERS = 3


def worker(place: int) -> bytes:
    """The key of a worker."""
    return place.to_bytes(2, "big") * 16


def group_of(size: int, faulty_max: int | None = None) -> Workers:
    """n workers; f as large as they can stand."""
    return Workers(tuple(worker(place) for place in range(size)), (size - 1) // 3 if faulty_max is None else faulty_max)


def vector_of(values: Sequence[float]) -> Float32Array:
    """In float32, read-only."""
    vector = np.array(values, dtype=np.float32)
    vector.setflags(write=False)
    return vector


def gradient_of(values: Sequence[float], layout: Layout = LAYOUT) -> QuantisedGradient:
    """The quantised gradient nearest to `values`."""
    gradient = quantise(vector_of(values), layout, 16)
    assert gradient is not None
    return gradient


class Network:
    """One rule, one group, one ledger that every delivery advances; payloads are held by digest."""

    def __init__(self, rule: AggregationRule, group: Workers, *, staleness_max: int = 20, learning_rate: float = 0.5) -> None:
        self.group = group
        self.aggregator = Aggregator(LAYOUT, LedgerRules(np.float32(learning_rate), staleness_max), rule)
        self.ledger = first_ledger(vector_of([1.0, -1.0, 0.5]), rule)
        self.payloads: dict[bytes, bytes] = {}

    def payload(self, digest: bytes) -> bytes | None:
        """Implements `Gradients`."""
        return self.payloads.get(digest)

    def delivered(
        self, author: bytes, values: Sequence[float], base: int | None = None, ledger: AggregationState | None = None
    ) -> AuthoredPayload:
        """What the order hands over for a gradient on the model of a version (the present one: None) that is still known."""
        ledger = ledger or self.ledger
        past = ledger.at(ledger.version if base is None else base)
        assert past is not None
        gradient = gradient_of(values)
        encoded = gradient.encoded
        self.payloads[gradient.digest] = encoded
        submission = GradientSubmission(past.version, past.digest, gradient.digest, len(encoded))
        named = ((gradient.digest, len(encoded)),)
        return AuthoredPayload(gradient.digest, author, past.digest, encode_submission(submission), named)

    def advance(self, delivered: AuthoredPayload) -> Judged:
        """The ledger takes one step."""
        self.ledger, judged = self.aggregator.advance(self.ledger, delivered, self.group, self)
        return judged

    def deliver(self, place: int, values: Sequence[float], base: int | None = None) -> Judged:
        """A gradient of the worker at `place`."""
        return self.advance(self.delivered(worker(place), values, base))


def with_submission(delivered: AuthoredPayload, submission: GradientSubmission) -> AuthoredPayload:
    """The same delivery with other bytes in it, and what it names attached."""
    return replace(delivered, payload=encode_submission(submission), attached=((submission.payload, submission.length),))
