"""No honest peer accuses, refuses or contests another honest peer, and none stops by itself."""

from collections.abc import Container

from consensus.effects import Accuse, Halt, Refuse
from learning.learner import CheckRequest, ProposedStep, StepChecked, Verdict
from node.lab.checkers.finding import Finding, Seen
from node.runtime.coupling import AskLearner


class NoHonestBlamed:
    """With no more faulty peers than the mode tolerates, a Halt is a mistake, too.

    A block that lists what a faulty peer claims may be contested, whoever leads it: a claim at the edge of the tolerance is
    good for one honest measurement and not for the next.
    """

    name = "no honest peer is accused, refused, contested or stopped"
    reads = (Accuse, Refuse, Halt, CheckRequest, StepChecked)

    def __init__(self, honest: Container[bytes]) -> None:
        self._honest = honest
        self._honest_steps: dict[bytes, Seen] = {}
        """Steps whose leader and authors are all honest."""

    def see(self, seen: Seen) -> Finding | None:
        """Something said against a peer, or a step to be checked."""
        match seen.event:
            case Accuse(accusation) if accusation.accused in self._honest:
                return self._against(accusation.accused, f"accused: {accusation.offence.value} ({accusation.detail})", seen)
            case Refuse(peer, offence, detail) if peer in self._honest:
                return self._against(peer, f"refused: {offence.value} ({detail})", seen)
            case Halt(reason):
                return Finding(self.name, f"{seen.peer.hex()[:8]} stops: {reason}", (seen,))
            case AskLearner(CheckRequest(step)) if self._is_honest(step):
                self._honest_steps.setdefault(step.id, seen)
            case StepChecked(step_id, verdict, _, detail) if verdict is not Verdict.GOOD:
                earlier = self._honest_steps.get(step_id)
                if earlier is not None:
                    what = f"a step by honest peers alone is {verdict.value} ({detail})"
                    return Finding(self.name, what, (earlier, seen))
        return None

    def _is_honest(self, step: ProposedStep) -> bool:
        return step.leader in self._honest and all(one.author in self._honest for one in step.contributions)

    def _against(self, peer: bytes, what: str, seen: Seen) -> Finding:
        return Finding(self.name, f"honest {peer.hex()[:8]} is {what}", (seen,))
