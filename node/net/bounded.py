"""Collections that forget their oldest entries rather than grow."""

from collections import OrderedDict
from collections.abc import Iterator
from typing import Generic, TypeVar

Item = TypeVar("Item")


class RecentSet(Generic[Item]):
    """The last `count_max` distinct items added."""

    def __init__(self, count_max: int) -> None:
        self._count_max = count_max
        self._items: OrderedDict[Item, None] = OrderedDict()

    def add(self, item: Item) -> bool:
        """Whether the item is new; the oldest is forgotten when there are too many."""
        if item in self._items:
            return False
        self._items[item] = None
        if len(self._items) > self._count_max:
            self._items.popitem(last=False)
        return True

    def discard(self, item: Item) -> None:
        """As if it had never been added."""
        self._items.pop(item, None)

    def __contains__(self, item: Item) -> bool:
        return item in self._items

    def __len__(self) -> int:
        return len(self._items)


class MessageCache:
    """Recent messages by digest, bounded by count, bytes and age (seconds)."""

    def __init__(self, count_max: int, bytes_max: int, seconds_max: float) -> None:
        self._count_max = count_max
        self._bytes_max = bytes_max
        self._seconds_max = seconds_max
        self._messages: OrderedDict[bytes, tuple[bytes, float]] = OrderedDict()
        self._bytes = 0

    def add(self, digest: bytes, message: bytes, now: float) -> None:
        """Keep a message; the oldest make room."""
        if digest in self._messages:
            return
        self._messages[digest] = (message, now)
        self._bytes += len(message)
        while len(self._messages) > self._count_max or self._bytes > self._bytes_max:
            self._drop_oldest()

    def get(self, digest: bytes) -> bytes | None:
        """The message, while it is kept."""
        entry = self._messages.get(digest)
        return entry[0] if entry is not None else None

    def expire(self, now: float) -> None:
        """Forget what is too old."""
        while self._messages and now - next(iter(self._messages.values()))[1] > self._seconds_max:
            self._drop_oldest()

    def newest(self) -> Iterator[bytes]:
        """Digests, newest first."""
        return reversed(self._messages)

    def __len__(self) -> int:
        return len(self._messages)

    @property
    def size(self) -> int:
        """Bytes held."""
        return self._bytes

    def _drop_oldest(self) -> None:
        _, (message, _) = self._messages.popitem(last=False)
        self._bytes -= len(message)
