"""What a testnet is run for: a person's goal, or a scenario."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from node.lab.scenarios.events import PeerNumbers
from node.lab.testnet.commands import CommandExecutor
from node.lab.testnet.outcome import GoalCheck, TestnetOutcome
from node.lab.testnet.peer import TestnetPeer


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
        self.executor = place.executor

    def greeting(self) -> tuple[str, ...]:
        """Nothing that the settings do not say."""
        return ()

    async def advance(self, seconds: float) -> None:
        """The peers learn by themselves."""

    def outcome(self, seconds: float, *, is_interrupted: bool) -> TestnetOutcome | None:
        """The judge's; where the testnet goes on after the goal, that it was reached is told at once."""
        outcome = self._goal_check.outcome(seconds, is_interrupted=is_interrupted)
        if outcome is None and self._goal_check.reached_s is not None and not self._is_told:
            self._is_told = True
            self._tell("goal reached in agreement; going on until Ctrl-C or --deadline")
        return outcome

    async def conclude(self, outcome: TestnetOutcome) -> TestnetOutcome:
        """It stays."""
        return outcome

    def remarks(self) -> tuple[str, ...]:
        """Nothing more."""
        return ()

    def document(self) -> dict[str, object]:
        """Nothing more."""
        return {}
