"""Blocks that came too soon: before their parent, or before their time."""

from dataclasses import dataclass

from consensus.proof_of_work.header import NamedBlock
from consensus.types import PeerId, StepId, WallTime

ORPHANS_MAX = 64
"""A minute of a network with a block a second; the headers that are asked for make up for what is lost. 2 MB at most."""

ORPHANS_PER_PEER_MAX = 16
"""So that one peer cannot push out what others sent."""

EARLY_MAX = 32
"""Only blocks whose leader's clock is ahead of ours wait here; their puzzles are not verified yet."""

EARLY_PER_PEER_MAX = 8
"""So that one peer cannot push out what others sent, with blocks that have cost it nothing."""


@dataclass(frozen=True, slots=True)
class Orphan:
    """A block and who sent it."""

    named: NamedBlock
    source: PeerId

    @property
    def id(self) -> StepId:
        """The id of the block."""
        return self.named.id


class Orphanage:
    """Bounded; when it is full, the one that waits longest leaves."""

    def __init__(self) -> None:
        self._orphans: dict[StepId, Orphan] = {}
        self._early: dict[StepId, Orphan] = {}

    @property
    def orphans(self) -> int:
        """How many wait for their parent."""
        return len(self._orphans)

    def add_orphan(self, waiting: Orphan) -> None:
        """Keep a block until its parent comes."""
        own = [other.id for other in self._orphans.values() if other.source == waiting.source]
        if len(own) >= ORPHANS_PER_PEER_MAX:
            del self._orphans[own[0]]
        self._orphans[waiting.id] = waiting
        if len(self._orphans) > ORPHANS_MAX:
            del self._orphans[next(iter(self._orphans))]

    def take_children(self, parent: StepId) -> tuple[Orphan, ...]:
        """The orphans that have found their parent leave."""
        found = tuple(waiting for waiting in self._orphans.values() if waiting.named.header.parent == parent)
        for waiting in found:
            del self._orphans[waiting.id]
        return found

    def add_early(self, waiting: Orphan) -> None:
        """Keep a block until its time comes."""
        own = [other.id for other in self._early.values() if other.source == waiting.source]
        if len(own) >= EARLY_PER_PEER_MAX:
            del self._early[own[0]]
        self._early[waiting.id] = waiting
        if len(self._early) > EARLY_MAX:
            del self._early[next(iter(self._early))]

    def take_timely(self, latest: WallTime) -> tuple[Orphan, ...]:
        """Those whose time is not after `latest` leave."""
        found = tuple(waiting for waiting in self._early.values() if waiting.named.header.time_ms <= latest)
        for waiting in found:
            del self._early[waiting.id]
        return found
