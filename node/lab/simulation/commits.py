"""How long a total order takes: from the moment a member's learner hands something in until members deliver it."""

from collections.abc import Iterator

from consensus.effects import Broadcast
from consensus.types import Instant, PeerId
from learning.learner import ContributionFound, DeliverRequest, GenerationDecided
from node.lab.simulation.trace import Happening
from node.runtime.coupling import AskLearner


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
