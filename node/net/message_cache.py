"""The messages that a peer keeps for who asks for them."""

from collections.abc import Iterator

from node.common.bounded import BoundedMap


class MessageCache:
    """Recent messages by digest, bounded by count, bytes and age (seconds)."""

    def __init__(self, count_max: int, bytes_max: int, seconds_max: float) -> None:
        self._count_max = count_max
        self._bytes_max = bytes_max
        self._seconds_max = seconds_max
        self._messages: BoundedMap[bytes, tuple[bytes, float]] = BoundedMap(count_max)
        self._bytes = 0

    def add(self, digest: bytes, message: bytes, now: float) -> None:
        """Keep a message; the oldest make room."""
        if digest in self._messages:
            return
        if len(self._messages) == self._count_max:
            self._drop_oldest()
        self._messages[digest] = (message, now)
        self._bytes += len(message)
        while self._bytes > self._bytes_max:
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
        message, _ = self._messages.drop_oldest()
        self._bytes -= len(message)
