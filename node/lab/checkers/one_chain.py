"""Proof of work: the steps that honest peers call final lie on one chain, and finality only moves up."""

from dataclasses import dataclass

from consensus.types import PeerId
from learning.learner import CheckRequest, FinaliseRequest, ProposedStep, ReplayRequest
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
