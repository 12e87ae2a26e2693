"""How long each rule takes to judge one gradient, by the size of the model."""

import hashlib
import statistics
import time
from dataclasses import dataclass

import numpy as np

from consensus.total_order.committee import faulty_max
from learning.aggregation.catalogue import rule_named
from learning.aggregation.quantised import QuantisedGradient, quantise
from learning.aggregation.rule import ArrivedGradient, RuleMemory, Workers
from learning.gradient.ledger import AggregationState, PastModel
from learning.task import Float32Array, ParameterBlock

WORKERS = 16
GRADIENTS_TIMED = 8
"""Once every worker has been heard twice."""


@dataclass(frozen=True, slots=True)
class Overhead:
    """`milliseconds`: the median of one verdict."""

    rule: str
    parameters: int
    milliseconds: float


def judge_times(rules: tuple[str, ...], parameters: int) -> list[Overhead]:
    """Of gradients of random noise about a common direction, on one thread."""
    gradients = _gradients(parameters)
    return [Overhead(rule, parameters, _median_time(rule, gradients)) for rule in rules]


def _gradients(parameters: int) -> list[QuantisedGradient]:
    generator = np.random.default_rng(parameters)
    layout = (ParameterBlock("weight", (parameters,), 1),)
    common = generator.standard_normal(parameters, dtype=np.float32)
    found = []
    for _ in range(2 * WORKERS + GRADIENTS_TIMED):
        gradient = quantise(common + generator.standard_normal(parameters, dtype=np.float32), layout, 16)
        assert gradient is not None
        assert gradient.digest  # computed where it is decoded, not by the judge
        found.append(gradient)
    return found


def _median_time(name: str, gradients: list[QuantisedGradient]) -> float:
    """In milliseconds. The models that gradients name are equal but for one parameter: the judge reads all of them."""
    rule, memory = rule_named(name), RuleMemory()
    group = Workers(tuple(sorted(hashlib.blake2b(bytes([place])).digest() for place in range(WORKERS))), faulty_max(WORKERS))
    model: Float32Array = np.zeros(len(gradients[0].values), dtype=np.float32)
    past: list[PastModel] = [PastModel(0, b"", model)]
    times = []
    for version, gradient in enumerate(gradients):
        moved = model.copy()
        moved[version] = 1
        past.append(PastModel(version + 1, b"", moved))
        ledger = AggregationState(moved, tuple(past[-WORKERS - 2 :]), memory)
        arrival = ArrivedGradient(group.workers[version % WORKERS], ledger.version, ledger.version, gradient)
        start = time.perf_counter()
        memory = rule.judge(memory, arrival, group, ledger).memory
        times.append(1_000 * (time.perf_counter() - start))
    return statistics.median(times[-GRADIENTS_TIMED:])
