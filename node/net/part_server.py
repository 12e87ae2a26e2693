"""Serves large bytes in parts, by their digest: an unknown one costs a look-up, and what is read is charged to who asks."""

from collections.abc import Callable
from typing import Protocol

from consensus.types import DIGEST_BYTES, PeerId
from node.common.bounded import BoundedMap
from node.net.rates import TokenBucket
from node.net.wire import PART_BYTES_MAX, GetPart, Part
from node.rules.retention import CHECKPOINTS_KEPT
from node.storage.tables import CHECKPOINT_DIGEST_TABLE, PAYLOAD_TABLE, STATE_TABLE, checkpoint_key

SERVED_MAX = 8
"""Large bytes at hand for those who ask part by part, several at a time and each for something else."""

SERVED_BYTES_MAX = 256 * 2**20
"""In all, but for the newest."""

QUESTION_BYTES = 4_096
"""What a question for something unknown counts as: a look-up in the store takes as long as reading so much."""

LOOK_SECONDS = 1.0
"""A new checkpoint is served after so long: their digests are not read for each question."""

PEER_BYTES_PER_SECOND = 32 * 2**20
"""What one peer may have read for it: a fourth of a core at most, and faster than any link that parts travel over."""

OUTSIDERS_BYTES_PER_SECOND = 64 * 2**20
"""The same for all together who are no members of a total order."""

BURST_SECONDS = 8
"""So much of it may be taken at once."""

PEERS_MAX = 1_024
"""Remembered with what they have used; an older one has long paid its debt."""


class LargeRows(Protocol):
    """Where large bytes lie once they are durable."""

    def get(self, table: str, key: bytes) -> bytes | None:
        """The value under this key."""
        ...

    def has(self, table: str, key: bytes) -> bool:
        """Whether there is one."""
        ...


GivePart = Callable[[Part], None]
"""Sends it to whoever asked."""


class PartPort(Protocol):
    """Who answers what peers ask for."""

    def answer(self, peer: PeerId, question: GetPart, give: GivePart) -> None:
        """Give the part that this peer asks for, or an empty one."""
        ...


class PartServer:
    """Answers who asks: a `PartPort`. `members`: of a total order; others share one allowance. `clock`: monotonic seconds."""

    def __init__(self, store: LargeRows, members: frozenset[PeerId], clock: Callable[[], float]) -> None:
        self._store = store
        self._members = members
        self._clock = clock
        self._served: BoundedMap[bytes, bytes] = BoundedMap(SERVED_MAX)
        self._checkpoints: dict[bytes, bytes] = {}
        """By digest: where each lies."""
        self._looked_at: float | None = None
        self._allowances: BoundedMap[PeerId, TokenBucket] = BoundedMap(PEERS_MAX)
        self._of_outsiders = _allowance(OUTSIDERS_BYTES_PER_SECOND, clock())
        self.questions_refused = 0
        """Over the allowance of who asked; answered like what we do not hold, so that an honest peer asks another."""

    def answer(self, peer: PeerId, question: GetPart, give: GivePart) -> None:
        """At once."""
        total, content = self.part(peer, question.digest, question.offset, PART_BYTES_MAX)
        give(Part(question.digest, question.offset, total, content))

    def part(self, peer: PeerId, digest: bytes, offset: int, length_max: int) -> tuple[int, bytes]:
        """What we hold under the digest: its length (0: nothing, or nothing for this peer now), and a part of it."""
        allowances = self._allowances_of(peer)
        now = self._clock()
        if not all(allowance.remaining(now) > 0 for allowance in allowances):
            self.questions_refused += 1
            return 0, b""
        content = self._served.get(digest) or b""
        cost = QUESTION_BYTES
        if not content:
            content = self._find(digest)
            cost += len(content)
        if content:
            self._served.renew(digest, content)
            self._bound_served()
        part = content[offset : offset + length_max]
        for allowance in allowances:
            allowance.charge(cost + len(part))
        return len(content), part

    def _allowances_of(self, peer: PeerId) -> tuple[TokenBucket, ...]:
        own = self._allowances.get(peer) or _allowance(PEER_BYTES_PER_SECOND, self._clock())
        self._allowances.renew(peer, own)
        return (own,) if not self._members or peer in self._members else (own, self._of_outsiders)

    def _bound_served(self) -> None:
        while len(self._served) > 1 and sum(len(content) for content in self._served.values()) > SERVED_BYTES_MAX:
            self._served.drop_oldest()

    def _find(self, digest: bytes) -> bytes:
        """A payload, or a checkpoint whose digest lies beside it."""
        if len(digest) != DIGEST_BYTES:
            return b""
        payload = self._store.get(PAYLOAD_TABLE, digest)
        if payload is not None:
            return payload
        self._look_for_checkpoints()
        key = self._checkpoints.get(digest)
        return b"" if key is None else self._store.get(STATE_TABLE, key) or b""

    def _look_for_checkpoints(self) -> None:
        now = self._clock()
        if self._looked_at is not None and now < self._looked_at + LOOK_SECONDS:
            return
        self._looked_at = now
        found = {key: self._store.get(CHECKPOINT_DIGEST_TABLE, key) for key in map(checkpoint_key, range(CHECKPOINTS_KEPT))}
        self._checkpoints = {digest: key for key, digest in found.items() if digest is not None}


def _allowance(per_second: int, now: float) -> TokenBucket:
    """Bytes that may be read: a read that was begun may leave a debt."""
    return TokenBucket(per_second, per_second * BURST_SECONDS, now)
