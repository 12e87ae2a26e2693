"""What is under way between two peers: delayed, in order, capped by the uplink, held at a cut, lost with the connection."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from random import Random

from consensus.types import PeerId
from node.lab.simulation.links import Links
from node.lab.simulation.peer import Agenda, SimulatedPeer
from node.lab.simulation.timeline import Action, Timeline

HANDLING_MS = 1.0
"""What a slow peer's slowness multiplies for each message; an ordinary peer handles one in no time."""

BITS_PER_BYTE = 8


@dataclass(slots=True)
class Edge:
    """Two peers that may be connected."""

    ends: tuple[SimulatedPeer, SimulatedPeer]
    is_open: bool = False
    is_ending: bool = False
    """One end's process is gone; what it has sent still arrives."""
    number: int = 0
    """Counts connections: what was sent on an earlier one never arrives."""
    heard: dict[PeerId, int] = field(default_factory=dict)
    """By end: the connection that it has been told of. Who was busy or stopped writes to one that is gone: it is lost."""
    incarnations: dict[PeerId, int] = field(default_factory=dict)
    """Whose connection this one is: a restarted peer knows nothing of it."""
    refused_until: int = 0
    cut_since: int | None = None
    last_arrivals: dict[PeerId, int] = field(default_factory=dict)
    """By sender: when the last of all that it has sent comes."""
    held: dict[PeerId, list[Action]] = field(default_factory=dict)
    """By sender: what has come as far as a cut."""

    def other(self, peer: PeerId) -> SimulatedPeer:
        """Who is at the other end."""
        return self.ends[1] if self.ends[0].id == peer else self.ends[0]


class LinkTraffic:
    """Carries messages over edges. `is_cut(sender, receiver)`: whether nothing gets through in this direction now."""

    def __init__(self, timeline: Timeline, random: Random, links: Links, is_cut: Callable[[PeerId, PeerId], bool]) -> None:
        self._timeline = timeline
        self._agenda = Agenda(timeline)
        self._random = random
        self._links = links
        self._latency = links.delay
        self._is_cut = is_cut
        self._uplink_free: dict[PeerId, int] = {}

    def send(self, edge: Edge, sender: SimulatedPeer, size: int, action: Action) -> None:
        """Let `action` happen at the other end when a message of `size` bytes arrives there."""
        receiver = edge.other(sender.id)
        sender.bytes_sent += size
        left_at = self._sent_at(sender, size) if self._links.uplink_kbit_s else self._timeline.now
        at = left_at + self._latency.sample(self._random, sender.number, receiver.number)
        last = edge.last_arrivals.get(sender.id, 0)
        edge.last_arrivals[sender.id] = max(at, last)
        if self._links.is_ordered:
            at = max(at, last)
        arrive = partial(self._arrive, edge, edge.number, sender.id, receiver, size, action)
        self._timeline.after(at - self._timeline.now, arrive)

    def release(self, edge: Edge) -> None:
        """What was held at a cut arrives, in the directions that are cut no more."""
        for sender in [end.id for end in edge.ends]:
            if sender in edge.held and not self._is_cut(sender, edge.other(sender).id):
                for arrive in edge.held.pop(sender):
                    arrive()

    def _sent_at(self, sender: SimulatedPeer, size: int) -> int:
        """When the last byte has left, behind all that was to be sent before."""
        free = max(self._timeline.now, self._uplink_free.get(sender.id, 0))
        self._uplink_free[sender.id] = free + -(-size * BITS_PER_BYTE // self._links.uplink_kbit_s)
        return self._uplink_free[sender.id]

    def _arrive(  # noqa: PLR0917 - what a message is
        self, edge: Edge, number: int, sender: PeerId, receiver: SimulatedPeer, size: int, action: Action
    ) -> None:
        if edge.number != number:
            return
        if sender in edge.held or self._is_cut(sender, receiver.id):
            edge.held.setdefault(sender, []).append(partial(self._arrived, edge, receiver, size, action))
        else:
            self._arrived(edge, receiver, size, action)

    def _arrived(self, edge: Edge, receiver: SimulatedPeer, size: int, action: Action) -> None:
        """Where handling costs time, messages are taken one by one; by a paused peer later, if the connection still stands."""
        receiver.bytes_received += size
        receiver.messages_received += 1
        cost_us = self._cost_us(receiver, size)
        if not cost_us and receiver.is_running and not receiver.is_paused:
            action()
            return
        hand = partial(_hand, edge, edge.number, action)
        if cost_us:
            self._agenda.after(receiver.core.take(self._timeline.now, cost_us), receiver, hand)
        else:
            self._agenda.at_once(receiver, hand)

    def _cost_us(self, receiver: SimulatedPeer, size: int) -> float:
        usual_us = self._links.prices.taking_us(size)
        if receiver.slowness > 1:
            usual_us += round(1000 * HANDLING_MS)
        return usual_us * receiver.slowness


def _hand(edge: Edge, number: int, action: Action) -> None:
    if edge.number == number:
        action()
