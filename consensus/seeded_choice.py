"""Choices that nobody can foresee, but that the same seed repeats."""

import hashlib
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")

_LOT_BYTES = 8


def lot_of(seed: bytes, name: bytes) -> int:
    """BLAKE2b of the name, keyed with the seed (up to 64 bytes): below 2**64."""
    return int.from_bytes(hashlib.blake2b(name, key=seed, digest_size=_LOT_BYTES).digest(), "big")


class SeededChoice:
    """Draws the lots of 1, 2, 3 ... `seed`: up to 64 bytes."""

    def __init__(self, seed: bytes) -> None:
        self._seed = seed
        self._count = 0

    def pick(self, options: Sequence[T]) -> T:
        """One of them, all equally likely but for a bias below 2**-56; there is at least one."""
        self._count += 1
        return options[lot_of(self._seed, self._count.to_bytes(8, "big")) % len(options)]

    def shuffled(self, options: Sequence[T]) -> list[T]:
        """All of them, each order equally likely but for the same bias."""
        rest = list(options)
        return [rest.pop(self.pick(range(len(rest)))) for _ in options]
