"""What a testnet is run for, a person's goal or a scenario, and how it stands: do its peers agree, and is it over?"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from node.api.status import NodeStatus, StepStatus
from node.common.errors import EXIT_DISAGREEMENT, EXIT_GOAL_NOT_MET, EXIT_INTERRUPTED, EXIT_OK
from node.common.goal import FITNESS, MetricGoal
from node.lab.scenarios.events import PeerNumbers
from node.lab.testnet.commands import CommandExecutor
from node.lab.testnet.peer import TestnetPeer, last_error
from node.lab.testnet.settings import TestnetSettings


@dataclass(frozen=True, slots=True)
class Disagreement:
    """Two peers hold different steps at a height that both call final."""

    height: int
    one: str
    other: str


def agreed_step(statuses: Sequence[NodeStatus]) -> StepStatus | None:
    """The highest step of their chains that all of them hold, with one and the same state digest; None without any.

    Of equal entries the one that knows its metrics is returned.
    """
    if not statuses:
        return None
    held_by_all = set.intersection(*({_key(step) for step in _steps_of(status)} for status in statuses))
    if not held_by_all:
        return None
    highest = max(held_by_all)
    entries = [step for status in statuses for step in _steps_of(status) if _key(step) == highest]
    return max(entries, key=lambda step: (step.fitness is not None, len(step.metrics)))


GOAL_KNOWN_FROM = 3
"""Height of a model that tells all that its task has to tell."""


def final_disagreement(statuses: Sequence[NodeStatus]) -> Disagreement | None:
    """The lowest height at which two peers hold different final steps; None when there is none to be seen."""
    seen: dict[int, tuple[str, str]] = {}
    found: list[Disagreement] = []
    for status in statuses:
        final_height = status.final_height or 0
        for step in _steps_of(status):
            if step.height > final_height:
                continue
            first_id, first_peer = seen.setdefault(step.height, (step.id, status.peer_id))
            if first_id != step.id:
                found.append(Disagreement(step.height, first_peer, status.peer_id))
    return min(found, key=lambda item: item.height, default=None)


def _steps_of(status: NodeStatus) -> tuple[StepStatus, ...]:
    """All steps that a peer tells of: those below its head, and the newest final ones, which may lie far deeper."""
    return (*status.steps, *status.final_steps)


def _key(step: StepStatus) -> tuple[int, str, str]:
    return (step.height, step.id, step.state_digest)


@dataclass(frozen=True, slots=True)
class TestnetOutcome:
    """How a testnet ended. `agreed`: what its living honest peers hold in the end."""

    __test__ = False

    exit_code: int
    reason: str
    seconds: float
    agreed: StepStatus | None
    detail: str = ""
    """What a person should know of the reason besides."""

    @property
    def sentence(self) -> str:
        """For people."""
        return f"{self.reason} after {self.seconds:.1f} s" + (f": {self.detail}" if self.detail else "")


@dataclass(frozen=True, slots=True)
class End:
    """Why a testnet does not go on."""

    reason: str
    detail: str = ""


class GoalCheck:
    """Reads the statuses of the peers, and no clock: times are in seconds since their start."""

    def __init__(self, settings: TestnetSettings, peers: Sequence[TestnetPeer]) -> None:
        self._settings = settings
        self._peers = peers
        self._reached_s: float | None = None

    @property
    def goal(self) -> MetricGoal:
        """What is to be reached."""
        return self._settings.goal

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
            code = EXIT_INTERRUPTED if is_interrupted else EXIT_GOAL_NOT_MET
            return TestnetOutcome(code, end.reason, seconds, agreed, end.detail)
        if not self._settings.is_until_interrupted:
            return TestnetOutcome(EXIT_OK, "goal reached in agreement", seconds, agreed)
        reached = f"goal reached in agreement after {self._reached_s:.1f} s, {end.reason}"
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

    def _end(self, seconds: float, agreed: StepStatus | None, *, is_interrupted: bool) -> End | None:
        """Why it does not go on; None while it does."""
        if self._reached_s is not None and not self._settings.is_until_interrupted:
            return End("goal reached")
        if is_interrupted:
            return End("interrupted", "the goal is not reached")
        if self._is_goal_unknown(agreed):
            return End("given up", f"the goal cannot be reached: {self._hint_about_goal(agreed)}")
        if seconds >= self._settings.deadline_s:
            return End(
                f"deadline of {self._settings.deadline_s:g} s passed",
                self._hint_about_goal(agreed) if self._reached_s is None else "",
            )
        if not any(peer.is_running or peer.was_killed for peer in self._peers):  # no use in waiting; a killed one may come back
            errors = [f"{peer.name}: {error}" for peer in self._peers if (error := last_error(peer))]
            return End("all peers have stopped by themselves", errors[0] if errors else "")
        return None

    def _is_goal(self, agreed: StepStatus) -> bool:
        return self._settings.goal.is_reached(figures_of(agreed))

    def _is_goal_unknown(self, agreed: StepStatus | None) -> bool:
        """Whether the task tells other figures alone: a typo, or no accuracy. Of a first model a figure may be undefined."""
        if agreed is None or self._reached_s is not None or self._settings.is_until_interrupted:
            return False
        figures = figures_of(agreed)
        return agreed.height >= GOAL_KNOWN_FROM and bool(figures) and self._settings.goal.metric not in figures

    def _hint_about_goal(self, agreed: StepStatus | None) -> str:
        if agreed is None or self._settings.goal.metric in figures_of(agreed):
            return ""
        return f"this task tells no {self._settings.goal.metric}, but {', '.join(figures_of(agreed))}: set --until"

    def _name_of(self, peer_id: str) -> str:
        return next((peer.name for peer in self._peers if peer.peer_id == peer_id), peer_id[:8])


def figures_of(step: StepStatus) -> dict[str, float]:
    """Its fitness, if that is known, and the task's metrics."""
    return dict(step.metrics) if step.fitness is None else {FITNESS: step.fitness, **step.metrics}


class Objective(Protocol):
    """Its supervisor asks it after every look at the peers. Times are in seconds since the peers were started."""

    @property
    def executor(self) -> CommandExecutor:
        """Who lets the events of `inject` befall the peers."""
        ...

    @property
    def absent(self) -> PeerNumbers:
        """Peers that are not started with the others."""
        ...

    def greeting(self) -> tuple[str, ...]:
        """What a person should know before the start."""
        ...

    async def advance(self, seconds: float) -> None:
        """Do what is due. Raises NodeError."""
        ...

    def outcome(self, seconds: float, *, is_interrupted: bool) -> TestnetOutcome | None:
        """How it ends now; None while it goes on."""
        ...

    async def conclude(self, outcome: TestnetOutcome) -> TestnetOutcome:
        """The last word, when all peers have stopped. Raises NodeError."""
        ...

    def remarks(self) -> tuple[str, ...]:
        """What a person should know after the end."""
        ...

    def document(self) -> dict[str, object]:
        """The same for programs."""
        ...


@dataclass(frozen=True, slots=True)
class ObjectiveContext:
    """What an objective works with. `tell`: a line that stays on the screen, with the time."""

    peers: Sequence[TestnetPeer]
    executor: CommandExecutor
    goal_check: GoalCheck
    tell: Callable[[str], None]


class Goal:
    """A model that is good enough. Implements `Objective`."""

    absent: PeerNumbers = ()

    def __init__(self, place: ObjectiveContext) -> None:
        self._goal_check = place.goal_check
        self._tell = place.tell
        self._is_told = False
        self._agreed: StepStatus | None = None
        self.executor = place.executor

    def greeting(self) -> tuple[str, ...]:
        """Nothing that the settings do not say."""
        return ()

    async def advance(self, seconds: float) -> None:
        """The peers learn by themselves."""

    def outcome(self, seconds: float, *, is_interrupted: bool) -> TestnetOutcome | None:
        """That of the goal's check; where the testnet goes on after the goal, that it was reached is told at once."""
        outcome = self._goal_check.outcome(seconds, is_interrupted=is_interrupted)
        if outcome is None and self._goal_check.reached_s is not None and not self._is_told:
            self._is_told = True
            self._tell("goal reached in agreement; going on until Ctrl-C or --deadline")
        return outcome

    async def conclude(self, outcome: TestnetOutcome) -> TestnetOutcome:
        """It stays."""
        self._agreed = outcome.agreed
        return outcome

    def remarks(self) -> tuple[str, ...]:
        """Nothing more."""
        return ()

    def document(self) -> dict[str, object]:
        """What was to be reached, what the agreed model has of it in the end, and whether and when it was reached."""
        goal, reached_s = self._goal_check.goal, self._goal_check.reached_s
        return {
            "goal": str(goal),
            "goal_figure": None if self._agreed is None else figures_of(self._agreed).get(goal.metric),
            "goal_reached": reached_s is not None,
            "goal_reached_s": None if reached_s is None else round(reached_s, 3),
        }
