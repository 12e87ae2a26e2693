"""Large bytes in parts, by their digest: what others ask of us, and what has come of one thing on its way to us.

An unknown digest costs a look-up, and what is read is charged to who asks.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from consensus.effects import FetchAttachment, FetchState
from consensus.types import DIGEST_BYTES, Digest, PeerId
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


PART_SECONDS_MAX = 5.0
"""A part is half a megabyte: slower than 1 Mbit/s, and another peer is asked."""

PART_SECONDS_MIN = 1.0
"""For what is hardly a part: who says nothing for so long keeps something back, or is far away. Each silence doubles it for the
next source, so that the far ones have their turn, too."""


@dataclass(slots=True)
class Parts:
    """What has come of one thing so far, and from whom."""

    content: bytearray = field(default_factory=bytearray)
    total: int | None = None
    """Bytes in all, as the first source said with its first part."""
    givers: tuple[PeerId, ...] = ()
    contradicted_by: tuple[PeerId, ...] = ()
    """Sources that said another total."""

    def agrees(self, peer: PeerId, total: int) -> bool:
        """Whether the source says the same length as those before it. After two that do not, theirs is no longer believed."""
        if self.total in {None, total}:
            return True
        self.contradicted_by = tuple(dict.fromkeys((*self.contradicted_by, peer)))
        if len(self.contradicted_by) > 1:
            self.content.clear()
            self.total, self.givers, self.contradicted_by = None, (), ()
        return False

    def add(self, peer: PeerId, part: Part) -> None:
        """This peer has given the next part."""
        self.total = part.total
        self.content += part.content
        self.givers = tuple(dict.fromkeys((*self.givers, peer)))


@dataclass(slots=True)
class History:
    """What earlier attempts at one thing have shown."""

    liars: tuple[PeerId, ...] = ()
    """Each gave all of a wrong whole."""
    is_alone: bool = False
    """Several gave a wrong whole together: from now on all of it comes from one, so that it is known who lies."""
    silences: int = 0
    """Sources that were left because they said nothing."""


@dataclass(slots=True)
class Fetch:
    """One thing under way. `sources`: whom to ask, the present one first; one alone for a payload."""

    effect: FetchAttachment | FetchState
    digest: Digest
    bytes_max: int
    sources: list[PeerId]
    parts: Parts = field(default_factory=Parts)
    aside: Parts = field(default_factory=Parts)
    """What came before, while the present source gives all of it once more."""
    asked_at: float = 0.0
    began_at: float = 0.0
    """With the present source."""
    given: int = 0
    """Bytes by the present source."""
    turns_left: int = 1
    is_hashing: bool = False

    @property
    def is_state(self) -> bool:
        """Else a payload."""
        return isinstance(self.effect, FetchState)

    @property
    def part_seconds(self) -> float:
        """How long the next part may take; a state's length is not known before its first one.

        Members keep few states and make new ones all the time: whoever is slow with one may not hold it until it is gone
        elsewhere, too, so another source has its turn soon, where there is one.
        """
        if isinstance(self.effect, FetchState):
            return PART_SECONDS_MAX if len(self.sources) == 1 else PART_SECONDS_MIN
        rest = max(0, self.effect.length - len(self.parts.content))
        return PART_SECONDS_MIN + (PART_SECONDS_MAX - PART_SECONDS_MIN) * min(1.0, rest / PART_BYTES_MAX)

    def is_next(self, part: Part) -> bool:
        """Whether it is a whole part: who could drip a byte at a time would hold a place for ever."""
        rest = part.total - len(self.parts.content)
        return len(part.content) == min(PART_BYTES_MAX, rest) > 0 and part.total <= self.bytes_max
