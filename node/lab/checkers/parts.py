"""Once all faults are over, everybody honest has a part in it: leads or votes all the time, and is heard as often as others.

Heads may move while one peer is kept from leading, or while its blocks are never taken: progress alone does not tell.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from consensus.effects import Guard, Record, SolvePuzzle
from consensus.total_order.linearizer import COMMIT_CODEC
from consensus.total_order.records import COMMIT_TABLE
from consensus.types import Instant, PeerId
from node.lab.checkers.finding import Seen

PAUSE_MS_MAX = 6_000
"""A puzzle is renewed once a second, a silent leader is waited for twice 2 s: of a hundred runs the longest pause was 2.2 s."""

SHARE_MIN = 0.25
"""Of an equal part. Who is slow or far away has three quarters; who is kept out has none."""

COMMITTED_MIN = 8
"""Blocks of each member in all, on average, from which on shares mean something."""


@dataclass(slots=True)
class _Part:
    """Of one peer, in the calm."""

    acted_at: int
    """When it last began to work on a puzzle, or last signed a block of a total order."""
    longest_ms: int = 0
    """Between two such moments."""
    times: int = 0


@dataclass
class Parts:
    """Follows who leads and who votes. Not a checker: its answer is asked for once, at the end."""

    members: tuple[PeerId, ...] = ()
    _parts: dict[PeerId, _Part] = field(default_factory=dict)
    _committed: dict[PeerId, Counter[int]] = field(default_factory=dict)
    """By who has recorded it: how many blocks of each member are in its order."""
    _calm_at: Instant | None = None

    def calm(self, now: Instant) -> None:
        """From now on it counts."""
        self._calm_at = now

    def see(self, seen: Seen) -> None:
        """One event of an honest peer."""
        if self._calm_at is None:
            return
        match seen.event:
            case SolvePuzzle() | Guard():
                part = self._parts.setdefault(seen.peer, _Part(self._calm_at))
                part.longest_ms = max(part.longest_ms, seen.at - part.acted_at)
                part.acted_at = seen.at
                part.times += 1
            case Record(table, _, value) if table == COMMIT_TABLE:
                authors = (reference.author for reference in COMMIT_CODEC.decode(value).references)
                self._committed.setdefault(seen.peer, Counter()).update(authors)

    def kept_out(self, peers: Iterable[PeerId], now: Instant) -> tuple[PeerId, str] | None:
        """The first of these peers that was kept from its part since all was calm, and from which.

        Nobody, where nobody has said that a calm began: databases tell of no puzzles.
        """
        if self._calm_at is None:
            return None
        work = "voting: it signed no block" if self.members else "leading: it worked on no puzzle"
        calm_ms = now - self._calm_at
        shares = self._shares()
        for peer in peers:
            part = self._parts.get(peer, _Part(self._calm_at))
            longest_ms = max(part.longest_ms, now - part.acted_at)
            if longest_ms > PAUSE_MS_MAX:
                return peer, f"was kept from {work} for {longest_ms} ms of {calm_ms} ms without a fault"
            if shares.get(peer, 1.0) < SHARE_MIN:
                return peer, f"was heard too little: its blocks are {shares[peer]:.2f} of an equal part of what was committed"
        return None

    def _shares(self) -> dict[PeerId, float]:
        """Of each member, by the longest order that was recorded in the calm; 1.0 is an equal part."""
        longest = max(self._committed.values(), key=Counter.total, default=Counter[int]())
        if longest.total() < COMMITTED_MIN * len(self.members):
            return {}
        return {member: longest[index] * len(self.members) / longest.total() for index, member in enumerate(self.members)}
