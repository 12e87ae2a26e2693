"""Choices that nobody can foresee, but that the same seed repeats."""

import hashlib
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


class Dice:
    """Draws from BLAKE2b(seed, counter). `seed`: up to 64 bytes."""

    def __init__(self, seed: bytes) -> None:
        self._seed = seed
        self._count = 0

    def pick(self, options: Sequence[T]) -> T:
        """One of them, all equally likely but for a bias below 2**-56; there is at least one."""
        self._count += 1
        drawn = hashlib.blake2b(self._count.to_bytes(8, "big"), key=self._seed, digest_size=8).digest()
        return options[int.from_bytes(drawn, "big") % len(options)]

    def shuffled(self, options: Sequence[T]) -> list[T]:
        """All of them, each order equally likely but for the same bias."""
        rest = list(options)
        return [rest.pop(self.pick(range(len(rest)))) for _ in options]
