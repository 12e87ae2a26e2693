"""What the driver needs of the world, as narrow contracts: the real node and the simulator each give their own."""

from collections.abc import Sequence
from typing import Protocol

from consensus.effects import FetchAttachment, FetchState, SolvePuzzle, StopPuzzle, VerifyPuzzle
from consensus.types import Instant, PeerId
from learning.learner import LearnerRequest
from node.storage.tables import Row


class Clock(Protocol):
    """Where the time comes from."""

    def now(self) -> Instant:
        """Milliseconds since a zero of this process, by a clock that never jumps and never goes back."""
        ...

    def wall_offset_ms(self) -> int:
        """The wall clock reads `now + wall_offset_ms`, in ms since 1970, UTC; it may be put elsewhere at any time."""
        ...


class Records(Protocol):
    """Durable memory."""

    async def write(self, rows: Sequence[Row]) -> None:
        """Store the rows, forget those without a value; returns once that is durable."""
        ...


class Guards(Protocol):
    """Durable memory of what was signed, that no backup brings back."""

    def write(self, round_number: int) -> None:
        """Hold this round durably; blocks for a few milliseconds."""
        ...


class SideStreams(Protocol):
    """Large bytes that travel beside the order."""

    def fetch_payload(self, effect: FetchAttachment) -> None:
        """Answered later by `AttachmentHeld`."""
        ...

    def fetch_state(self, effect: FetchState) -> None:
        """Answered later by `StateHeld`."""
        ...


class Outbox(Protocol):
    """The way to other peers. Nothing here blocks: what cannot be sent is dropped."""

    def send(self, peer: PeerId, message: bytes) -> None:
        """To one connected peer."""
        ...

    def broadcast(self, message: bytes) -> None:
        """To the whole network."""
        ...

    def refuse(self, peer: PeerId, offence: str, detail: str) -> None:
        """Disconnect, and refuse for a time."""
        ...


class LearnerPort(Protocol):
    """The learner's process."""

    def ask(self, request: LearnerRequest) -> None:
        """Answers come later, to the driver."""
        ...


class PuzzlePort(Protocol):
    """The miner's process."""

    def ask(self, request: SolvePuzzle | StopPuzzle | VerifyPuzzle) -> None:
        """Work on this puzzle instead of the present one, or on none; or compute one, before any mining."""
        ...
