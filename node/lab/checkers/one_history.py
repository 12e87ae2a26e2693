"""Honest peers hold one history: one chain of final steps, one order of deliveries, one model at each step, bit for bit."""

from dataclasses import dataclass

from consensus.types import PeerId
from learning.learner import (
    CheckRequest,
    DeliveredStep,
    DeliverRequest,
    FinaliseRequest,
    ProposedStep,
    ReplayRequest,
    RestoreRequest,
    StepAdopted,
)
from node.lab.checkers.finding import Finding, Seen
from node.runtime.coupling import AskLearner


@dataclass(frozen=True, slots=True)
class _Final:
    step: bytes
    earlier: Seen


class OneChain:
    """Follows the parents of every final step down to what is known to be final."""

    name = "there is one chain of final steps"
    reads = (CheckRequest, ReplayRequest, FinaliseRequest)

    def __init__(self, genesis: bytes) -> None:
        self._genesis = genesis
        self._steps: dict[bytes, ProposedStep] = {}
        self._final: dict[int, _Final] = {}
        self._reached: dict[PeerId, tuple[int, Seen]] = {}
        """By peer: the height of its newest final step."""

    def see(self, seen: Seen) -> Finding | None:
        """A step that is checked or replayed, or one that is final."""
        match seen.event:
            case AskLearner(CheckRequest(step) | ReplayRequest(step)):
                self._steps.setdefault(step.id, step)
            case AskLearner(FinaliseRequest(step_id)):
                return self._on_finalised(step_id, seen)
        return None

    def _on_finalised(self, step_id: bytes, seen: Seen) -> Finding | None:
        """Walk down to a step that was final before; what lies between is final from now on."""
        path: list[ProposedStep] = []
        while step_id != self._genesis:
            step = self._steps.get(step_id)
            if step is None:
                return Finding(self.name, f"step {step_id.hex()[:8]} is final, but nobody was asked to check it", (seen,))
            if path and path[-1].height != step.height + 1:
                return Finding(self.name, f"step of height {path[-1].height} on a parent of height {step.height}", (seen,))
            path.append(step)
            known = self._final.get(step.height)
            if known is not None:
                break
            step_id = step.parent
        return self._join(path, seen) or self._moves_back(path[0].height, seen)

    def _join(self, path: list[ProposedStep], seen: Seen) -> Finding | None:
        """The lowest of the path may have been final before: then it must be the same step."""
        for step in path:
            known = self._final.setdefault(step.height, _Final(step.id, seen))
            if known.step != step.id:
                return Finding(self.name, f"two final steps at height {step.height}", (known.earlier, seen))
        return None

    def _moves_back(self, height: int, seen: Seen) -> Finding | None:
        """Within an incarnation finality only moves up."""
        reached, earlier = self._reached.get(seen.peer, (0, seen))
        self._reached[seen.peer] = (height, seen)
        if height < reached and seen.incarnation == earlier.incarnation:
            return Finding(self.name, f"final height {height} comes after {reached}", (earlier, seen))
        return None


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


class OneState:
    """`is_one_history`: under a total order a height has one step, too."""

    name = "one step has one state"
    reads = (StepAdopted, CheckRequest, ReplayRequest)

    def __init__(self, *, is_one_history: bool) -> None:
        self._is_one_history = is_one_history
        self._committed: dict[bytes, tuple[bytes, Seen]] = {}
        """By step: the digest that its leader has committed to."""
        self._by_step: dict[bytes, tuple[tuple[int, bytes], Seen]] = {}
        self._by_height: dict[int, tuple[bytes, Seen]] = {}

    def see(self, seen: Seen) -> Finding | None:
        """A model at the head, or a step whose state is named."""
        match seen.event:
            case AskLearner(CheckRequest(step) | ReplayRequest(step)):
                self._committed.setdefault(step.id, (step.state_digest, seen))
            case StepAdopted():
                return self._on_adopted(seen.event, seen)
        return None

    def _on_adopted(self, head: StepAdopted, seen: Seen) -> Finding | None:
        mine = (head.height, head.state_digest)
        theirs, earlier = self._by_step.setdefault(head.step, (mine, seen))
        if mine != theirs:
            return Finding(self.name, f"two states at step {head.step.hex()[:8]} (height {head.height})", (earlier, seen))
        digest, earlier = self._committed.get(head.step, (head.state_digest, seen))
        if digest != head.state_digest:
            detail = f"step {head.step.hex()[:8]} leads to another state than its leader has committed to"
            return Finding(self.name, detail, (earlier, seen))
        return self._at_height(head, seen) if self._is_one_history else None

    def _at_height(self, head: StepAdopted, seen: Seen) -> Finding | None:
        step, earlier = self._by_height.setdefault(head.height, (head.step, seen))
        return None if step == head.step else Finding(self.name, f"two models at height {head.height}", (earlier, seen))
