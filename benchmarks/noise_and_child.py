"""Claim: noise and child of a candidate cost at most 2 ns a parameter, a small part of what normal draws cost."""

import sys
import time
from collections.abc import Callable
from decimal import Decimal

import numpy as np

from learning.exact import fill_children, round_factor, stream_key

SIZES = ((4_810, 64), (85_002, 16), (1_000_000, 2))
"""Parameters, children at once: the two digits models of the benchmarks, and a larger one."""

RUNS = 15
"""The two are timed in turn, and the lowest of each is taken: other work on the machine only adds."""

LIMIT_NS = 2.0


def lowest_seconds(actions: tuple[Callable[[], None], ...]) -> list[float]:
    """The lowest processor time of each action."""
    lowest = [float("inf")] * len(actions)
    for _ in range(RUNS):
        for place, action in enumerate(actions):
            start = time.process_time()
            action()
            lowest[place] = min(lowest[place], time.process_time() - start)
    return lowest


def compare(parameters: int, count: int) -> float:
    """Print one line; nanoseconds a parameter of noise and child."""
    theta = np.zeros(parameters, dtype=np.float32)
    children = np.empty((count, parameters), dtype=np.float32)
    key, sigma = stream_key(b"benchmark"), round_factor(Decimal("0.03"))
    generator = np.random.Generator(np.random.Philox(key=key))

    def exact() -> None:
        fill_children(children, theta, key, 0, sigma)

    def normal() -> None:
        for child in children:
            np.add(theta, sigma * generator.standard_normal(parameters, dtype=np.float32), out=child)

    exact_ns, normal_ns = (seconds * 1e9 / children.size for seconds in lowest_seconds((exact, normal)))
    print(
        f"{parameters:>9,} parameters x {count:>3}: noise + child {exact_ns:.2f} ns a parameter, "
        f"with normal draws {normal_ns:.2f} ns: {normal_ns / exact_ns:.1f} times as much"
    )
    return exact_ns


def main() -> int:
    """Print the comparison for each size, and the worst."""
    worst = max(compare(parameters, count) for parameters, count in SIZES)
    print(f"worst: {worst:.2f} ns a parameter, claimed at most {LIMIT_NS} ns")
    return 0


if __name__ == "__main__":
    sys.exit(main())
