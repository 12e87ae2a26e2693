"""How it stands with a testnet: do its peers agree, is the goal reached, and is it over?"""

from collections.abc import Sequence
from dataclasses import dataclass

from node.api.status import StepStatus
from node.common.errors import EXIT_DISAGREEMENT, EXIT_GOAL_NOT_MET, EXIT_OK
from node.lab.testnet.agreement import agreed_step, final_disagreement
from node.lab.testnet.peer import TestnetPeer, last_error
from node.lab.testnet.settings import TestnetSettings

ACCURACY = "test_accuracy"


@dataclass(frozen=True, slots=True)
class TestnetOutcome:
    """How a testnet ended. `agreed`: what its living honest peers hold in the end."""

    __test__ = False

    exit_code: int
    reason: str
    seconds: float
    agreed: StepStatus | None


class GoalCheck:
    """Reads the statuses of the peers, and no clock: times are in seconds since their start."""

    def __init__(self, settings: TestnetSettings, peers: Sequence[TestnetPeer]) -> None:
        self._settings = settings
        self._peers = peers
        self._reached_s: float | None = None

    @property
    def reached_s(self) -> float | None:
        """When the goal was reached in agreement; None before."""
        return self._reached_s

    def outcome(self, seconds: float, *, is_interrupted: bool) -> TestnetOutcome | None:
        """How it ends now; None while it goes on."""
        disagreement = self.disagreement()
        if disagreement is not None:
            return TestnetOutcome(EXIT_DISAGREEMENT, disagreement, seconds, None)
        agreed = self.agreed()
        if agreed is not None and self._reached_s is None and self._is_goal(agreed):
            self._reached_s = seconds
        end = self._end(seconds, agreed, is_interrupted=is_interrupted)
        if end is None:
            return None
        if self._reached_s is None:
            return TestnetOutcome(EXIT_GOAL_NOT_MET, end, seconds, agreed)
        if not self._settings.is_until_interrupted:
            return TestnetOutcome(EXIT_OK, "goal reached in agreement", seconds, agreed)
        reached = f"goal reached in agreement after {self._reached_s:.1f} s, {end}"
        if agreed is None:
            return TestnetOutcome(EXIT_GOAL_NOT_MET, f"{reached}, but no agreement is left", seconds, None)
        return TestnetOutcome(EXIT_OK, reached, seconds, agreed)

    def agreed(self) -> StepStatus | None:
        """The highest step that every honest peer holds that has a say; most honest ones must have it."""
        honest = [peer for peer in self._peers if peer.is_honest]
        heard = [peer for peer in honest if peer.has_say]
        statuses = [peer.status for peer in heard if peer.status is not None]
        is_majority = 2 * len(heard) > len(honest)
        return agreed_step(statuses) if is_majority and len(statuses) == len(heard) else None

    def disagreement(self) -> str | None:
        """Two honest peers, be they dead by now, that hold different final steps; None when there is nothing of that."""
        found = final_disagreement([peer.status for peer in self._peers if peer.is_honest and peer.status is not None])
        if found is None:
            return None
        one, other = self._name_of(found.one), self._name_of(found.other)
        return f"{one} and {other} hold different final steps at height {found.height}"

    def _end(self, seconds: float, agreed: StepStatus | None, *, is_interrupted: bool) -> str | None:
        """Why it does not go on; None while it does."""
        if self._reached_s is not None and not self._settings.is_until_interrupted:
            return "goal reached"
        if is_interrupted:
            return "interrupted"
        if seconds >= self._settings.deadline_s:
            hint = self._hint_about_goal(agreed) if self._reached_s is None else ""
            return f"deadline of {self._settings.deadline_s:g} s passed{hint}"
        if not any(peer.is_running or peer.was_killed for peer in self._peers):
            return f"all peers have stopped: {last_error(self._peers[0])}"  # no use in waiting; a killed one may come back
        return None

    def _is_goal(self, agreed: StepStatus) -> bool:
        if self._settings.until_fitness is not None:
            return agreed.fitness is not None and agreed.fitness >= self._settings.until_fitness
        return agreed.metrics.get(ACCURACY, -1.0) >= self._settings.until_accuracy

    def _hint_about_goal(self, agreed: StepStatus | None) -> str:
        if agreed is None or ACCURACY in agreed.metrics or self._settings.until_fitness is not None:
            return ""
        return " (this task tells no test accuracy: set --until-fitness)"

    def _name_of(self, peer_id: str) -> str:
        return next((peer.name for peer in self._peers if peer.peer_id == peer_id), peer_id[:8])
