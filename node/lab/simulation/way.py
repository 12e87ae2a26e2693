"""What one peer's parts need to talk to the parts of others: its place, its time, its connections."""

from dataclasses import dataclass

from consensus.types import PeerId
from node.lab.simulation.connections import Wires
from node.lab.simulation.peer import Agenda, SimulatedPeer
from node.lab.simulation.timeline import Action, Timeline


@dataclass(frozen=True, slots=True)
class SimulatedOutbox:
    """One peer's way into the world."""

    peer: SimulatedPeer
    agenda: Agenda
    timeline: Timeline
    wires: Wires

    @property
    def seconds(self) -> float:
        """A clock that never goes back."""
        return self.timeline.now / 1000

    def send(self, other: PeerId, size: int, action: Action) -> None:
        """Let `action` happen when a message of `size` bytes arrives; dropped without a connection."""
        self.wires.send(self.peer, other, size, action)

    def after(self, seconds: float, action: Action) -> None:
        """Let this incarnation of the peer do it."""
        self.agenda.after(round(seconds * 1000), self.peer, action)
