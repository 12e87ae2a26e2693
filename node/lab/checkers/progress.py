"""Once all faults are over, everybody honest moves on, and nobody stays behind; who joined late has arrived."""

from collections.abc import Iterable
from dataclasses import dataclass

from consensus.types import Instant, PeerId
from learning.learner import CheckRequest, FinaliseRequest, GradientsReport, ReplayRequest, StepAdopted
from node.lab.checkers.finding import Seen
from node.runtime.coupling import AskLearner

NOBODY_LEFT = "no honest peer is up at the end"


@dataclass(frozen=True, slots=True)
class ExpectedPace:
    """What is expected of each honest peer within a time that is long enough for it."""

    heights_min: int
    """So many heights the head of each has gained at least."""
    behind_max: int
    """So far the head of each lies behind the highest at most."""
    final_behind_max: int | None = None
    """So far what is final to each lies below its own head at most; None: nothing is said of that."""


@dataclass(frozen=True, slots=True)
class Standstill:
    """Somebody who did not move on, and what was seen of it last."""

    peer: PeerId | None
    """None: there was nobody to move on."""
    detail: str
    last: Seen | None


class HeadProgress:
    """Follows the heads. Not a checker: its answer is asked for once, at the end."""

    def __init__(self, *, is_one_history: bool = False) -> None:
        """`is_one_history`: under a total order gradients may move the model without a new head's being told of each time."""
        self._is_one_history = is_one_history
        self._newest: dict[PeerId, Seen] = {}
        self._heights: dict[PeerId, int] = {}
        self._final: dict[PeerId, int] = {}
        """Heights; where steps are not final from the start."""
        self._of_steps: dict[bytes, int] = {}
        """The height of each step that anybody had to check."""
        self._at_calm: dict[PeerId, int] = {}
        self._calm_at: Instant | None = None

    @property
    def heights(self) -> dict[PeerId, int]:
        """Of the heads, by peer; those who have none are left out."""
        return dict(self._heights)

    def see(self, seen: Seen) -> None:
        """The head of a peer, or what is final to it, if the event is one."""
        match seen.event:
            case StepAdopted(height=height):
                self._newest[seen.peer] = seen
                self._heights[seen.peer] = height
            case GradientsReport(version=version) if self._is_one_history:
                self._heights[seen.peer] = version
            case AskLearner(CheckRequest(step) | ReplayRequest(step)):
                self._of_steps[step.id] = step.height
            case AskLearner(FinaliseRequest(final)):
                self._final[seen.peer] = self._of_steps.get(final, 0)

    def calm(self, now: Instant) -> None:
        """From now on nothing is broken any more."""
        self._calm_at = now
        self._at_calm = dict(self._heights)

    def standstill(self, peers: Iterable[PeerId], pace: ExpectedPace, now: Instant) -> Standstill | None:
        """The first of these peers that did not keep the pace since all was calm; or none of them is left to keep it."""
        assert self._calm_at is not None, "say first when the calm began"
        expected = tuple(peers)
        if not expected and pace.heights_min:
            return Standstill(None, NOBODY_LEFT, None)
        within = f"in {now - self._calm_at} ms without a fault"
        highest = max(self._heights.values(), default=0)
        for peer in expected:
            height = self._heights.get(peer, 0)
            gained, behind = height - self._at_calm.get(peer, 0), highest - height
            if gained < pace.heights_min:
                detail = f"gained {gained} heights, expected {pace.heights_min} or more"
            elif behind > pace.behind_max:
                detail = f"is {behind} behind the highest, expected {pace.behind_max} or less"
            elif pace.final_behind_max is not None and height - self._final.get(peer, 0) > pace.final_behind_max:
                detail = f"has nothing final above height {self._final.get(peer, 0)}, expected {pace.final_behind_max} below it"
            else:
                continue
            return Standstill(peer, f"{peer.hex()[:8]} (height {height}) {detail}, {within}", self._newest.get(peer))
        return None
