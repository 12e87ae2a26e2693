"""Kardam in exact arithmetic: its Lipschitz filter, frequency filter and dampening as published, and a bootstrap of our own.

Damaskinos, El Mhamdi, Guerraoui, Patra, Taziki, "Asynchronous Byzantine Machine Learning (the case of SGD)", ICML 2018,
arXiv 1802.07928, section 3. A baseline: it sees how fast a gradient grows, and never where it points.

- Lipschitz filter: K_p (exact, squared) is at most the (n-f)-th smallest of a table with one entry per worker, p's
  new one included; ties pass, an infinite K_p never does. p's previous gradient is the last *delivered* one, filtered or not:
  over accepted ones alone, nobody who is filtered once could ever be measured again on equal terms, and a worker whose first
  gradient is not accepted would never have a coefficient at all.
- Frequency filter: p is not among the authors of the last 2f gradients that were accepted by themselves. So any 2f+1
  consecutive ones have distinct authors, f+1 of them honest.
- Dampening: theta <- theta - lr * Lambda(tau) * g (`learning.aggregation.single_steps`).
- Bootstrap, where the paper is silent. While fewer than n-f workers have a finite coefficient, gradients are collected; as soon
  as 2f+1 distinct workers were heard since the model last moved, it moves against the coordinate-wise median of the newest
  gradient of each of the 2f+1 heard last, undampened. The same step is taken when n-f distinct workers were heard since the
  model last moved and all were refused: f liars cannot bring that about, and honest workers never wait for ever. No slot is
  cleared; what was heard before the step has no part in the next one. Such a step leaves the frequency filter as it was.

Section 7 of docs/protocol.md.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np

from learning.aggregation.coordinatewise import median
from learning.aggregation.quantised import squared_distance
from learning.aggregation.rule import (
    AggregationResult,
    ArrivedGradient,
    GradientOutcome,
    PastModels,
    RuleMemory,
    Workers,
    WorkerSlot,
)
from learning.aggregation.single_steps import ALPHA_DEFAULT, Dampening, dampening_weight
from learning.exact import tree_sum
from learning.task import Float32Array

TURN_CHUNK = 1 << 15
"""Parameters at once: 256 KiB in float64, which stays in cache. Part of the rule: it sets the order of the sum."""


def squared_coefficient(previous: WorkerSlot | None, arrival: ArrivedGradient, past: PastModels) -> Fraction | None:
    """K_p**2 = |g - g_previous|**2 / |theta_base - theta_previous_base|**2, over p's own consecutive delivered gradients.

    Infinite without a previous one, or when its model is no longer in the window. On equal models: infinite when the vectors
    differ, and what it was before when they are the same, so that nobody passes by sending the same thing twice.
    """
    if previous is None:
        return None
    turn = _squared_turn(previous.base, arrival.base, past)
    if turn is None:
        return None
    growth = squared_distance(arrival.gradient, previous.gradient)
    if turn == 0:
        return previous.coefficient if growth == 0 else None
    return growth / turn


def _squared_turn(first: int, second: int, past: PastModels) -> Fraction | None:
    if first == second:
        return Fraction(0)
    start, end = past.model(first), past.model(second)
    return None if start is None or end is None else squared_model_distance(start, end)


def squared_model_distance(first: Float32Array, second: Float32Array) -> Fraction:
    """|first - second|**2 of two float32 models, as float64 gives it in one fixed order; 0 only where they are equal.

    Differences and squares in float64, `tree_sum` over each chunk and over the chunks. The square of the smallest difference
    of two float32 values, 2**-149, is a normal float64, and the sum of the largest stays finite.
    """
    sums = []
    for start in range(0, len(first), TURN_CHUNK):
        difference = first[start : start + TURN_CHUNK].astype(np.float64) - second[start : start + TURN_CHUNK]
        sums.append(tree_sum(difference * difference))
    return Fraction(tree_sum(np.array(sums, dtype=np.float64)))


def order_statistic(finite: Iterable[Fraction], rank: int) -> Fraction | None:
    """The rank-th smallest (from 1) of a table whose other entries are infinite; exact, never interpolated."""
    ascending = sorted(finite)
    return ascending[rank - 1] if rank <= len(ascending) else None


@dataclass(frozen=True, slots=True)
class Kardam:
    """Implements `AggregationRule`. Each part can be switched off, to show its effect; without `bootstrap` no model ever moves.

    Remembers the newest gradient of each worker (2 bytes a parameter each), the last 2f authors, and when the model moved.
    """

    lipschitz: bool = True
    frequency: bool = True
    dampening: Dampening = Dampening.EXPONENTIAL
    alpha: str = ALPHA_DEFAULT
    """A canonical decimal, above 0; for `exponential`."""
    bootstrap: bool = True

    @property
    def name(self) -> str:
        """As the network file calls it."""
        return "kardam"

    @property
    def needs_models(self) -> bool:
        """For the distance between the models that a worker's gradients were computed on."""
        return self.lipschitz

    def judge(self, memory: RuleMemory, arrival: ArrivedGradient, group: Workers, past: PastModels) -> AggregationResult:
        """Accept, collect or refuse one gradient."""
        group = group.one_voice_each
        memory = self._remember(memory, arrival, group, past)
        is_measurable = len(_finite_coefficients(memory)) >= group.honest_min
        if self.lipschitz and self.bootstrap and not is_measurable:
            return _collection(memory, group)
        refusal = self._refusal(memory, arrival, group)
        if refusal is None:
            return self._apply(memory, arrival, group)
        if self.bootstrap and len(_heard_since_move(memory)) >= group.honest_min:
            return _median_step(memory, group)
        return AggregationResult(memory, refusal)

    def _remember(self, memory: RuleMemory, arrival: ArrivedGradient, group: Workers, past: PastModels) -> RuleMemory:
        arrived = memory.arrivals + 1
        if not self.lipschitz:
            return replace(memory, arrivals=arrived)
        coefficient = squared_coefficient(memory.slot_of(arrival.author), arrival, past)
        slots = memory.with_slot(WorkerSlot(arrival.author, arrival.base, arrival.gradient, arrived, coefficient))
        return replace(memory, arrivals=arrived, slots=tuple(slot for slot in slots if slot.author in group.workers))

    def _refusal(self, memory: RuleMemory, arrival: ArrivedGradient, group: Workers) -> GradientOutcome | None:
        if self.lipschitz and _is_too_steep(memory, arrival.author, group):
            return GradientOutcome.TOO_STEEP
        if self.frequency and arrival.author in _newest(memory.recent, 2 * group.faulty_max):
            return GradientOutcome.TOO_FREQUENT
        return None

    def _apply(self, memory: RuleMemory, arrival: ArrivedGradient, group: Workers) -> AggregationResult:
        weight = dampening_weight(self.dampening, self.alpha, arrival.staleness)
        recent = _newest((*memory.recent, arrival.author), 2 * group.faulty_max)
        memory = replace(memory, recent=recent, counts=(memory.arrivals,))
        return AggregationResult(
            memory, GradientOutcome.APPLIED, weight * arrival.gradient.dense(), ((arrival.author, float(weight)),)
        )


def _finite_coefficients(memory: RuleMemory) -> tuple[Fraction, ...]:
    return tuple(slot.coefficient for slot in memory.slots if slot.coefficient is not None)


def _is_too_steep(memory: RuleMemory, author: bytes, group: Workers) -> bool:
    slot = memory.slot_of(author)
    if slot is None or slot.coefficient is None:
        return True
    limit = order_statistic(_finite_coefficients(memory), group.honest_min)
    return limit is not None and slot.coefficient > limit


def _heard_since_move(memory: RuleMemory) -> tuple[WorkerSlot, ...]:
    """The newest last. `counts` holds the number of the arrival that the model last moved at."""
    moved = memory.counts[0] if memory.counts else 0
    return tuple(sorted((slot for slot in memory.slots if slot.arrived > moved), key=lambda slot: slot.arrived))


def _collection(memory: RuleMemory, group: Workers) -> AggregationResult:
    if len(_heard_since_move(memory)) < _median_size(group):
        return AggregationResult(memory, GradientOutcome.COLLECTED)
    return _median_step(memory, group)


def _median_step(memory: RuleMemory, group: Workers) -> AggregationResult:
    heard = _heard_since_move(memory)[-_median_size(group) :]
    step = median([slot.gradient.dense() for slot in heard])
    weights = tuple(sorted((slot.author, 1 / len(heard)) for slot in heard))
    return AggregationResult(replace(memory, counts=(memory.arrivals,)), GradientOutcome.APPLIED, step, weights)


def _median_size(group: Workers) -> int:
    """2f+1; fewer where the group is too small for its f, so that it never waits for more than the honest."""
    return min(2 * group.faulty_max + 1, group.honest_min)


def _newest(authors: tuple[bytes, ...], count: int) -> tuple[bytes, ...]:
    return authors[len(authors) - count :] if count < len(authors) else authors
