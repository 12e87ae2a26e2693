"""How fast blocks reach everybody and how many are found in vain, or how long a total order takes to deliver."""

from collections.abc import Iterator
from dataclasses import dataclass
from statistics import median, quantiles

from consensus.effects import Broadcast
from consensus.types import Instant, PeerId
from learning.learner import CheckRequest, ContributionFound, DeliverRequest, GenerationDecided
from node.lab.simulation.trace import Happening
from node.runtime.coupling import AskLearner


@dataclass(frozen=True, slots=True)
class Spread:
    """Of all blocks of a run. Times are in ms, from the first peer that handed a block to its learner to each other one."""

    blocks: int
    median_ms: int
    slowest_twentieth_ms: int
    """95 % took less."""
    stale_share: float
    """Of the blocks: not on the branch of the highest one."""


class Propagation:
    """Watches blocks come in: whole, with a proven puzzle, ready to be checked."""

    def __init__(self) -> None:
        self._first: dict[bytes, Instant] = {}
        self._parents: dict[bytes, bytes] = {}
        self.delays_ms: list[int] = []
        """One for each block and each further peer that comes to have it."""
        self._highest: tuple[int, bytes] = (0, b"")

    def see(self, happening: Happening, now: Instant) -> None:
        """A learner is asked once for each block; anything else means nothing here."""
        if not isinstance(happening, AskLearner) or not isinstance(happening.request, CheckRequest):
            return
        step = happening.request.step
        if step.id in self._first:
            self.delays_ms.append(now - self._first[step.id])
            return
        self._first[step.id] = now
        self._parents[step.id] = step.parent
        if step.height > self._highest[0]:
            self._highest = (step.height, step.id)

    def spread(self) -> Spread | None:
        """None before two peers have had a block."""
        if len(self.delays_ms) < 2:
            return None
        on_branch, step = 0, self._highest[1]
        while step in self._parents:
            on_branch, step = on_branch + 1, self._parents[step]
        blocks = len(self._parents)
        slowest = round(quantiles(self.delays_ms, n=20)[-1])
        return Spread(blocks, round(median(self.delays_ms)), slowest, 1 - on_branch / blocks)


class CommitLatency:
    """Watches members: what they hand in, what they deliver, their rounds and their generations."""

    def __init__(self) -> None:
        self._handed_in: dict[tuple[bytes, bytes, bytes], Instant] = {}
        self.latencies_ms: list[int] = []
        """One for each item and each member that delivers it."""
        self.rounds: dict[PeerId, int] = {}
        """Blocks of each member: one a round."""
        self.generations: dict[PeerId, int] = {}
        """Decided by each member's learner."""

    def see(self, peer: PeerId, happening: Happening, now: Instant) -> None:
        """An effect that a member carries out, or an answer of its learner."""
        match happening:
            case ContributionFound(base, payload):
                self._handed_in.setdefault((peer, base, payload), now)
            case Broadcast():
                self.rounds[peer] = self.rounds.get(peer, 0) + 1
            case AskLearner(DeliverRequest() as request):
                self.latencies_ms.extend(now - since for since in self._delivered(request))
            case GenerationDecided():
                self.generations[peer] = self.generations.get(peer, 0) + 1
            case _:
                pass

    def _delivered(self, request: DeliverRequest) -> Iterator[Instant]:
        for item in request.step.items:
            since = self._handed_in.get((item.author, item.base, item.payload))
            if since is not None:
                yield since
