"""How much memory arrays take that several states share: each array is counted once, for as long as one of them holds it."""

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.generic]


class HeldBytes:
    """A tally by identity: who adds a state's arrays holds the state until it removes them."""

    def __init__(self) -> None:
        self._holders: dict[int, int] = {}
        self.total = 0

    def add(self, arrays: Iterable[Array]) -> None:
        """One holder more of each."""
        for array in arrays:
            holders = self._holders.get(id(array), 0)
            self._holders[id(array)] = holders + 1
            self.total += 0 if holders else array.nbytes

    def remove(self, arrays: Iterable[Array]) -> None:
        """One holder less of each; a state names the same arrays as when it was added."""
        for array in arrays:
            holders = self._holders.pop(id(array)) - 1
            if holders:
                self._holders[id(array)] = holders
            else:
                self.total -= array.nbytes
