"""Claim: to judge a gradient of 1 M parameters at n = 16 takes kardam at most 40 ms, and robust 60 ms per update."""

import sys
import time
from collections.abc import Callable
from statistics import median

import numpy as np

from learning.aggregation.catalogue import RULES, rule_named
from learning.aggregation.quantised import decode_gradient, inner_products, payload_digest, quantise
from learning.aggregation.rule import ArrivedGradient, GradientOutcome, Workers
from learning.exact import stream_key
from learning.gradient.ledger import Aggregator, GradientSubmission, LedgerRules, encode_submission, first_ledger
from learning.learner import AuthoredPayload
from learning.task import Float32Array, ParameterBlock

PARAMETERS = 1_000_000
WORKERS = 16
TURNS = 4
"""Each worker's gradients per rule; the first turn is not counted: it fills the slots."""

STALENESS_MAX = 20
LAYOUT = (ParameterBlock("weight", (999, 1_000), 999), ParameterBlock("bias", (1_000,), 0))
GROUP = Workers(tuple(bytes([place]) * 32 for place in range(WORKERS)), (WORKERS - 1) // 3)
LIMITS_MS = {"kardam": 40.0, "robust": 60.0}
"""Processor time of the rule, in the median of its slowest outcome, one thread."""


def milliseconds(action: Callable[[], object], runs: int = 7) -> float:
    """The lowest processor time: other work on the machine only adds."""
    lowest = float("inf")
    for _ in range(runs):
        start = time.process_time()
        action()
        lowest = min(lowest, time.process_time() - start)
    return lowest * 1e3


class Held:
    """Payloads by digest: implements `Gradients`."""

    def __init__(self) -> None:
        self.payloads: dict[bytes, bytes] = {}

    def payload(self, digest: bytes) -> bytes | None:
        """Of the benchmark's own making."""
        return self.payloads.get(digest)


def encoded_gradients() -> list[bytes]:
    """As many honest-looking gradients as one rule is shown."""
    generator = np.random.Generator(np.random.Philox(key=stream_key(b"benchmark")))
    common = generator.standard_normal(PARAMETERS, dtype=np.float32)
    gradients = []
    for _ in range(WORKERS * TURNS):
        noisy: Float32Array = common + generator.standard_normal(PARAMETERS, dtype=np.float32)
        quantised = quantise(noisy, LAYOUT, 16)
        assert quantised is not None
        gradients.append(quantised.encoded)
    return gradients


def basics(encoded: list[bytes]) -> float:
    """Print what a gradient costs before any rule; milliseconds of one axpy."""
    theta = np.zeros(PARAMETERS, dtype=np.float32)
    gradients = [decode_gradient(one, LAYOUT, 16) for one in encoded[:WORKERS]]
    dense = gradients[0].dense()
    axpy = milliseconds(lambda: theta - np.float32(0.1) * dense)
    for name, action in (
        ("axpy, theta - lr * g", lambda: theta - np.float32(0.1) * dense),
        ("decode", lambda: decode_gradient(encoded[0], LAYOUT, 16)),
        ("digest", lambda: payload_digest(encoded[0])),
        ("one inner product", lambda: inner_products(gradients[0], gradients[1:2])),
        (f"inner products with {WORKERS}", lambda: inner_products(gradients[0], gradients)),
    ):
        print(f"{name:>28}: {milliseconds(action):6.2f} ms")
    return axpy


def judged(name: str, encoded: list[bytes], axpy: float) -> float:
    """Print one rule's costs; milliseconds of its slowest outcome."""
    rule, held = rule_named(name), Held()
    aggregator = Aggregator(LAYOUT, LedgerRules(np.float32(0.125), STALENESS_MAX), rule)
    ledger = first_ledger(np.zeros(PARAMETERS, dtype=np.float32), rule)
    rule_ms: dict[GradientOutcome, list[float]] = {}
    whole_ms: list[float] = []
    for turn, one in enumerate(encoded):
        author, past = GROUP.workers[turn % WORKERS], ledger.past[max(-1 - turn % 3, -len(ledger.past))]
        if past.version <= dict(ledger.bases).get(author, -1):
            past = ledger.past[-1]
        digest = payload_digest(one)
        held.payloads = {digest: one}
        submission = encode_submission(GradientSubmission(past.version, past.digest, digest, len(one)))
        delivered = AuthoredPayload(digest, author, past.digest, submission, ((digest, len(one)),))
        arrival = ArrivedGradient(author, past.version, ledger.version, decode_gradient(one, LAYOUT, 16))
        start = time.process_time()
        outcome = rule.judge(ledger.memory, arrival, GROUP, ledger).outcome
        middle = time.process_time()
        ledger, _ = aggregator.advance(ledger, delivered, GROUP, held)
        if turn >= WORKERS:
            rule_ms.setdefault(outcome, []).append((middle - start) * 1e3)
            whole_ms.append((time.process_time() - middle) * 1e3)
    typical = {outcome: median(times) for outcome, times in rule_ms.items()}
    figures = ", ".join(f"{outcome.name} {figure:.1f} ms ({len(rule_ms[outcome])})" for outcome, figure in typical.items())
    slowest = max(typical.values())
    print(f"{name:>28}: {figures}; {slowest / axpy:.0f} axpy; with decode, digest, state digest {median(whole_ms):.1f} ms")
    return slowest


def main() -> int:
    """Print all costs; how many rules are slower than claimed."""
    encoded = encoded_gradients()
    axpy = basics(encoded)
    missed = 0
    for name in RULES:
        slowest = judged(name, encoded, axpy)
        missed += slowest > LIMITS_MS.get(name, float("inf"))
    print(f"claimed: {', '.join(f'{name} at most {limit:.0f} ms' for name, limit in LIMITS_MS.items())}; missed: {missed}")
    return missed


if __name__ == "__main__":
    sys.exit(main())
