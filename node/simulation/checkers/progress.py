"""Once all faults are over, everybody honest moves on, and nobody stays behind; who joined late has arrived."""

from collections.abc import Iterable
from dataclasses import dataclass

from consensus.types import Instant, PeerId
from learning.learner import StepAdopted
from node.simulation.checkers.finding import Seen


@dataclass(frozen=True, slots=True)
class Pace:
    """What is expected of each honest peer within a time that is long enough for it."""

    heights_min: int
    """So many heights the head of each has gained at least."""
    behind_max: int
    """So far the head of each lies behind the highest at most."""


@dataclass(frozen=True, slots=True)
class Standstill:
    """Somebody who did not move on, and what was seen of it last."""

    peer: PeerId
    detail: str
    last: Seen | None


class Progress:
    """Follows the heads. Not a checker: its answer is asked for once, at the end."""

    def __init__(self) -> None:
        self._newest: dict[PeerId, Seen] = {}
        self._heights: dict[PeerId, int] = {}
        self._at_calm: dict[PeerId, int] = {}
        self._calm_at: Instant | None = None

    @property
    def heights(self) -> dict[PeerId, int]:
        """Of the heads, by peer; those who have none are left out."""
        return dict(self._heights)

    def see(self, seen: Seen) -> None:
        """The head of a peer, if the event is one."""
        if isinstance(seen.event, StepAdopted):
            self._newest[seen.peer] = seen
            self._heights[seen.peer] = seen.event.height

    def calm(self, now: Instant) -> None:
        """From now on nothing is broken any more."""
        self._calm_at = now
        self._at_calm = dict(self._heights)

    def standstill(self, peers: Iterable[PeerId], pace: Pace, now: Instant) -> Standstill | None:
        """The first of these peers that did not keep the pace since all was calm."""
        assert self._calm_at is not None, "say first when the calm began"
        within = f"in {now - self._calm_at} ms without a fault"
        highest = max(self._heights.values(), default=0)
        for peer in peers:
            height = self._heights.get(peer, 0)
            gained, behind = height - self._at_calm.get(peer, 0), highest - height
            if gained < pace.heights_min:
                detail = f"gained {gained} heights, expected {pace.heights_min} or more"
            elif behind > pace.behind_max:
                detail = f"is {behind} behind the highest, expected {pace.behind_max} or less"
            else:
                continue
            return Standstill(peer, f"{peer.hex()[:8]} (height {height}) {detail}, {within}", self._newest.get(peer))
        return None
