"""BASGD: workers share buffers, and the model moves against a robust mean of the buffers once none is empty.

Yang, Li, "BASGD: Buffered Asynchronous SGD for Byzantine Learning", ICLR 2021 submission, arXiv 2003.00937, algorithm 2. The
worker at position i of the group writes to buffer i mod B, each buffer is the mean of what came in since the last step, and the
buffers are emptied after it. B = 2f+1 is the least that f liars cannot outvote.

A silent worker would leave a buffer empty for ever, so buffers are dealt anew (the paper's appendix does it by a clock, we by
the order): when n-f workers have handed in a gradient on the present model, and can hand in no other, the newest gradient of
each worker heard since the last step goes to buffer (rank of the worker among those heard) mod B.

Section 7 of docs/protocol.md.
"""

from dataclasses import dataclass, replace
from decimal import Decimal
from enum import StrEnum

import numpy as np

from learning.aggregation.coordinatewise import median, trimmed_mean
from learning.aggregation.rule import (
    AggregationResult,
    ArrivedGradient,
    GradientOutcome,
    PastModels,
    RuleMemory,
    Workers,
    WorkerSlot,
)
from learning.exact import round_factor
from learning.task import Float32Array

BUFFERS_MAX = 1_024
"""More than a network has members."""


class Aggregate(StrEnum):
    """How the buffers become one step."""

    MEDIAN = "median"
    TRIMMED = "trimmed"
    """Mean without the f lowest and highest of each coordinate."""


@dataclass(frozen=True, slots=True)
class Buffered:
    """Implements `AggregationRule`.

    Remembers B sums of gradients (4 bytes a parameter), one gradient per worker (2 bytes), and momentum.

    In `RuleMemory`: `vectors` the sums, then the momentum; `counts` the gradients in each buffer.
    """

    buffers: int = 0
    """B; 0: 2f+1. At most n."""
    aggregate: Aggregate = Aggregate.MEDIAN
    momentum: str = "0"
    """mu in m <- mu m + step, theta <- theta - lr m: a canonical decimal, 0 <= mu < 1."""

    @property
    def name(self) -> str:
        """As the network file calls it."""
        return "buffered"

    @property
    def needs_models(self) -> bool:
        """No."""
        return False

    def judge(self, memory: RuleMemory, arrival: ArrivedGradient, group: Workers, past: PastModels) -> AggregationResult:  # noqa: ARG002  AggregationRule
        """Collect one gradient; step when no buffer is empty, or none can fill any more."""
        group = group.one_voice_each
        memory = self._collect(memory, arrival, group)
        if all(memory.counts):
            buffers = [_mean_of(total, count) for total, count in zip(memory.vectors, memory.counts, strict=False)]
            return self._step(memory, buffers, group)
        if sum(slot.base == arrival.version for slot in memory.slots) >= group.honest_min:
            return self._step(memory, _deal_anew(memory, group), group)
        return AggregationResult(memory, GradientOutcome.COLLECTED)

    def _collect(self, memory: RuleMemory, arrival: ArrivedGradient, group: Workers) -> RuleMemory:
        count = min(self.buffers or 2 * group.faulty_max + 1, group.size)
        if len(memory.counts) != count:
            memory = _regroup(memory, count, len(arrival.gradient.values), group)
        buffer = group.workers.index(arrival.author) % count
        total = memory.vectors[buffer] + arrival.gradient.dense()
        total.setflags(write=False)
        slots = memory.with_slot(WorkerSlot(arrival.author, arrival.base, arrival.gradient, memory.arrivals + 1))
        return replace(
            memory,
            arrivals=memory.arrivals + 1,
            slots=tuple(slot for slot in slots if slot.author in group.workers),
            vectors=(*memory.vectors[:buffer], total, *memory.vectors[buffer + 1 :]),
            counts=(*memory.counts[:buffer], memory.counts[buffer] + 1, *memory.counts[buffer + 1 :]),
        )

    def _step(self, memory: RuleMemory, buffers: list[Float32Array], group: Workers) -> AggregationResult:
        weights = tuple((slot.author, 1 / len(memory.slots)) for slot in memory.slots)
        step = self._aggregate(buffers, group)
        momentum = round_factor(Decimal(self.momentum))
        memory = _empty(memory, len(memory.counts), len(step))
        if momentum > 0:
            sums, before = memory.vectors[: len(memory.counts)], memory.vectors[len(memory.counts) :]
            step = momentum * before[0] + step if before else step
            step.setflags(write=False)
            memory = replace(memory, vectors=(*sums, step))
        return AggregationResult(memory, GradientOutcome.APPLIED, step, weights)

    def _aggregate(self, buffers: list[Float32Array], group: Workers) -> Float32Array:
        match self.aggregate:
            case Aggregate.MEDIAN:
                return median(buffers)
            case Aggregate.TRIMMED:
                return trimmed_mean(buffers, min(group.faulty_max, (len(buffers) - 1) // 2))


def _empty(memory: RuleMemory, count: int, parameters: int) -> RuleMemory:
    """`count` empty buffers; the momentum stays."""
    empty = np.zeros(parameters, dtype=np.float32)
    empty.setflags(write=False)
    momentum = memory.vectors[len(memory.counts) :]
    return replace(memory, slots=(), vectors=(*((empty,) * count), *momentum), counts=(0,) * count)


def _regroup(memory: RuleMemory, count: int, parameters: int, group: Workers) -> RuleMemory:
    """Another number of buffers, over which the newest gradient of each worker heard since the last step is dealt.

    None is lost: its author could not send another one on the same model.
    """
    heard = tuple(slot for slot in memory.slots if slot.author in group.workers)
    memory = _empty(memory, count, parameters)
    totals, counts = list(memory.vectors), list(memory.counts)
    for slot in heard:
        buffer = group.workers.index(slot.author) % count
        totals[buffer] = totals[buffer] + slot.gradient.dense()
        totals[buffer].setflags(write=False)
        counts[buffer] += 1
    return replace(memory, slots=heard, vectors=tuple(totals), counts=tuple(counts))


def _deal_anew(memory: RuleMemory, group: Workers) -> list[Float32Array]:
    """The means of the newest gradients, dealt out by rank; as many buffers as the honest can surely fill."""
    dense = [slot.gradient.dense() for slot in memory.slots]
    count = min(len(memory.counts), group.honest_min)
    return [_mean_of(_sum_of(dense[buffer::count]), len(dense[buffer::count])) for buffer in range(count)]


def _sum_of(vectors: list[Float32Array]) -> Float32Array:
    total = vectors[0]
    for vector in vectors[1:]:
        total = total + vector
    return total


def _mean_of(total: Float32Array, count: int) -> Float32Array:
    return total / np.float32(count)
