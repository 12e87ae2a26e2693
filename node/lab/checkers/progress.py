"""Once all faults are over, everybody honest moves on, nobody stays behind, and everybody has a part in it.

Heads may move while one peer is kept from leading, or while its blocks are never taken: progress alone does not tell.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from consensus.effects import Guard, Record, SolvePuzzle
from consensus.total_order.linearizer import COMMIT_CODEC
from consensus.total_order.records import COMMIT_TABLE
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
