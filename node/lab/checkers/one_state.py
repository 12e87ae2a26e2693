"""Whoever holds a step holds the same model there, bit for bit."""

from learning.learner import CheckRequest, ReplayRequest, StepAdopted
from node.lab.checkers.finding import Finding, Seen
from node.runtime.coupling import AskLearner


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
