"""Total order: all honest members deliver one history, each without a gap."""

from consensus.types import PeerId
from learning.learner import DeliveredStep, DeliverRequest, RestoreRequest
from node.lab.checkers.finding import Finding, Seen
from node.runtime.coupling import AskLearner


class OneOrder:
    """Compares every delivery, contents included, with the first that was seen at its height."""

    name = "there is one history of deliveries"
    reads = (DeliverRequest, RestoreRequest)

    def __init__(self) -> None:
        self._first: dict[int, tuple[DeliveredStep, Seen]] = {}
        self._last: dict[PeerId, tuple[int, Seen]] = {}
        """By member: its last delivery, or the commit whose state it has gone on from."""

    def see(self, seen: Seen) -> Finding | None:
        """A delivery, or a jump to a checkpoint that others vouch for."""
        match seen.event:
            case AskLearner(DeliverRequest(step)):
                return self._contradiction(step, seen) or self._gap(step, seen)
            case AskLearner(RestoreRequest(state)):
                self._last[seen.peer] = (state.commit, seen)
        return None

    def _contradiction(self, step: DeliveredStep, seen: Seen) -> Finding | None:
        first, earlier = self._first.setdefault(step.height, (step, seen))
        if first != step:
            return Finding(self.name, f"two deliveries at height {step.height}", (earlier, seen))
        before = self._first.get(step.height - 1)
        if before is not None and before[0].id != step.parent:
            return Finding(self.name, f"delivery {step.height} does not follow delivery {step.height - 1}", (before[1], seen))
        return None

    def _gap(self, step: DeliveredStep, seen: Seen) -> Finding | None:
        """Within an incarnation the next height; a new incarnation may replay from any height that was reached before."""
        reached, earlier = self._last.get(seen.peer, (0, seen))
        self._last[seen.peer] = (step.height, seen)
        is_replay = seen.incarnation > earlier.incarnation and step.height <= reached
        if step.height == reached + 1 or is_replay:
            return None
        return Finding(self.name, f"delivery {step.height} comes after delivery {reached}", (earlier, seen))
