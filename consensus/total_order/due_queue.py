"""What to look at next: names in the order of the times at which they are due, without a look at all the others."""

import heapq

from consensus.types import Instant

STALE_MAX = 64
"""Entries that no longer hold, besides as many as hold, before they are cleared away."""


class DueQueue:
    """Each name is due once; of equal times the one put first comes first."""

    def __init__(self) -> None:
        self._heap: list[tuple[Instant, int, bytes]] = []
        self._turns: dict[bytes, int] = {}
        """By name: the number of the one entry that holds."""
        self._count = 0

    def __len__(self) -> int:
        return len(self._turns)

    @property
    def first(self) -> Instant | None:
        """When the next one is due."""
        while self._heap and not self._holds(self._heap[0]):
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def put(self, name: bytes, due_at: Instant) -> None:
        """It is due then, and not when it was before."""
        self._count += 1
        self._turns[name] = self._count
        heapq.heappush(self._heap, (due_at, self._count, name))
        if len(self._heap) > 2 * len(self._turns) + STALE_MAX:
            self._heap = [entry for entry in self._heap if self._holds(entry)]
            heapq.heapify(self._heap)

    def drop(self, name: bytes) -> None:
        """Forget when it is due."""
        self._turns.pop(name, None)

    def take(self, now: Instant, count_max: int) -> list[bytes]:
        """Those that are due by now, as many as are allowed; they are due no more."""
        taken: list[bytes] = []
        while len(taken) < count_max and self.first is not None and self._heap[0][0] <= now:
            _, _, name = heapq.heappop(self._heap)
            del self._turns[name]
            taken.append(name)
        return taken

    def _holds(self, entry: tuple[Instant, int, bytes]) -> bool:
        _, turn, name = entry
        return self._turns.get(name) == turn
