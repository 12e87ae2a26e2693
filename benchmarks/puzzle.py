"""Puzzle: the rate of a miner's loop against a bare loop over the hash function, in one run. Goal: at least 0.97.

The miner's loop builds prefix and nonce, searches one nonce at a time and looks at a shared flag in between. The two
loops take turns, so that a busy machine slows both.

    python benchmarks/puzzle.py [--memory-kib 8192] [--hashes 60] [--rounds 5]
"""

import argparse
import hashlib
import multiprocessing
import statistics
import time
from collections.abc import Callable
from multiprocessing.sharedctypes import Synchronized

from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from consensus.proof_of_work.puzzle import search_nonce

GOAL = 0.97
PREFIX = bytes(176)
"""As long as a real one: network id, parent, height, time, leader, target, body."""


def bare_loop(hashes: int, memory_kib: int) -> None:
    """Nothing but the hash function, on one input."""
    salt = hashlib.blake2b(PREFIX).digest()[:16]
    for _ in range(hashes):
        Argon2id(salt=salt, length=32, iterations=1, lanes=1, memory_cost=memory_kib).derive(PREFIX)


def miner_loop(hashes: int, memory_kib: int, should_stop: "Synchronized[int]") -> None:
    """A target of 0 is never met, so that every nonce is tried."""
    nonce = 0
    while nonce < hashes and not should_stop.value:
        search_nonce(PREFIX, 0, memory_kib, nonce, 1)
        nonce += 1


def rate(hashes: int, loop: Callable[[], None]) -> float:
    """Hashes per second."""
    started = time.perf_counter()
    loop()
    return hashes / (time.perf_counter() - started)


def main() -> None:
    """Print both rates and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--memory-kib", type=int, default=8_192)
    parser.add_argument("--hashes", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    should_stop: Synchronized[int] = multiprocessing.Value("b", 0)
    bare, mined = [], []
    for _ in range(options.rounds):
        bare.append(rate(options.hashes, lambda: bare_loop(options.hashes, options.memory_kib)))
        mined.append(rate(options.hashes, lambda: miner_loop(options.hashes, options.memory_kib, should_stop)))
    ratio = statistics.median(mined) / statistics.median(bare)
    print(f"Argon2id, {options.memory_kib} KiB, {options.rounds} rounds of {options.hashes} hashes each")
    print(f"bare loop    {statistics.median(bare):8.1f} hashes/s")
    print(f"miner's loop {statistics.median(mined):8.1f} hashes/s")
    print(f"ratio        {ratio:8.3f} (goal: at least {GOAL})")


if __name__ == "__main__":
    main()
