"""Connections over virtual time: opened, cut in one direction or both, reset in the middle of a message, refused for a time.

What is under way between two peers is delayed, in order, capped by the uplink. A connection is torn down as a whole, and then
everything that was under way on it is lost. A direction that is only cut holds what was sent, as TCP does, and delivers it when
it heals, unless the silence has lasted too long.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from random import Random
from typing import Protocol

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


Direction = tuple[PeerId, PeerId]
"""(sender, receiver)."""


class Told(Protocol):
    """Hears of connections; what it does about them happens in the peer's own turn."""

    def joined(self, peer: SimulatedPeer, other: PeerId) -> None:
        """A connection exists."""
        ...

    def left(self, peer: SimulatedPeer, other: PeerId) -> None:
        """It is gone."""
        ...


class Wires:
    """All connections of a network. `edges`: who may be connected to whom; the order of the pair means nothing."""

    def __init__(  # noqa: PLR0917 - each is another thing
        self,
        timeline: Timeline,
        random: Random,
        links: Links,
        peers: Mapping[PeerId, SimulatedPeer],
        edges: Iterable[Direction],
        told: Told,
    ) -> None:
        self._timeline = timeline
        self._random = random
        self._links = links
        self._told = told
        self._edges: dict[Direction, Edge] = {}
        self._distinct: list[Edge] = []
        self._of_peer: dict[PeerId, list[Edge]] = {peer: [] for peer in peers}
        self._split: frozenset[Direction] = frozenset()
        self._cut: frozenset[Direction] = frozenset()
        self._traffic = LinkTraffic(timeline, random, links, self._is_cut)
        self.resets = 0
        """Connections that were torn down."""
        for one, other in edges:
            self._add(Edge((peers[one], peers[other])))

    def _add(self, edge: Edge) -> None:
        one, other = (end.id for end in edge.ends)
        assert one != other
        assert (one, other) not in self._edges, "an edge is named once"
        self._edges[one, other] = self._edges[other, one] = edge
        self._distinct.append(edge)
        self._of_peer[one].append(edge)
        self._of_peer[other].append(edge)

    # --- messages ---

    def send(self, sender: SimulatedPeer, receiver: PeerId, size: int, action: Action) -> None:
        """Let `action` happen at the receiver when a message of `size` bytes arrives.

        Dropped without a connection, and on one that the sender has not been told of.
        """
        edge = self._edges.get((sender.id, receiver))
        if edge is not None and edge.is_open and edge.heard.get(sender.id) == edge.number:
            self._traffic.send(edge, sender, size, action)

    def number_of(self, peer: PeerId, other: PeerId) -> int:
        """Of the connection that there is."""
        return self._edges[peer, other].number

    def heard(self, peer: PeerId, other: PeerId, number: int) -> None:
        """The peer is about to be told of this connection: from now on it writes to it."""
        self._edges[peer, other].heard[peer] = number

    def are_connected(self, one: PeerId, other: PeerId) -> bool:
        """Whether a connection exists; it may be cut without anybody's knowing."""
        edge = self._edges.get((one, other))
        return edge is not None and edge.is_open

    # --- peers come and go ---

    def open_all(self) -> None:
        """Connect whoever can be."""
        for edge in self._distinct:
            self._open(edge)

    def peer_started(self, peer: SimulatedPeer) -> None:
        """It dials whom it knows, and is dialled."""
        for edge in self._of_peer[peer.id]:
            self._open(edge)

    def peer_ended(self, peer: SimulatedPeer) -> None:
        """Its connections end: what it has sent arrives, and then the operating system says so to the others."""
        for edge in self._of_peer[peer.id]:
            if edge.is_open:
                edge.is_open, edge.is_ending = False, True
                last = edge.last_arrivals.get(peer.id, 0) - self._timeline.now
                self._timeline.after(last, partial(self._close_if_ending, edge, edge.number))

    def peer_paused(self, peer: SimulatedPeer) -> None:
        """It answers no heartbeat: when that lasts, the others give it up."""
        for edge in self._of_peer[peer.id]:
            if self._links.silence_ms:
                still = partial(self._close_if_paused, peer, peer.paused_since, edge, edge.number)
                self._timeline.after(self._links.silence_ms, still)

    def peer_resumed(self, peer: SimulatedPeer) -> None:
        """Who gave it up is dialled again."""
        for edge in self._of_peer[peer.id]:
            self._open_later(edge, self._links.reconnect_ms)

    def refuse(self, peer: PeerId, other: PeerId) -> None:
        """Disconnect, and do not connect again for a time."""
        edge = self._edges.get((peer, other))
        if edge is None:
            return
        links = self._links
        is_outsider = edge.other(peer).number >= links.outsiders_from
        lasting_ms = links.outsider_refusal_ms if is_outsider else links.refusal_ms
        edge.refused_until = self._timeline.now + lasting_ms
        self._close(edge)
        self._timeline.after(lasting_ms, partial(self._open, edge))

    # --- what is done to the network ---

    def split(self, groups: Iterable[Iterable[PeerId]]) -> None:
        """Cut both ways between different groups, instead of an earlier split; those in no group are one more group."""
        group_of = {peer: number for number, group in enumerate(groups) for peer in group}
        self._split = frozenset(
            direction for direction in self._edges if group_of.get(direction[0]) != group_of.get(direction[1])
        )
        self._changed()

    def cut(self, directions: Iterable[Direction]) -> None:
        """Lose what is sent in these directions, too."""
        self._cut |= {direction for direction in directions if direction in self._edges}
        self._changed()

    def heal(self) -> None:
        """Nothing is cut any more."""
        self._split = self._cut = frozenset()
        self._changed()

    def reset(self, one: PeerId, other: PeerId) -> None:
        """Tear a connection down in the middle of whatever is under way; the two connect anew."""
        edge = self._edges.get((one, other))
        if edge is not None and edge.is_open:
            self._close(edge)
            self._open_later(edge, self._links.reconnect_ms)

    # --- one connection ---

    def _is_cut(self, sender: PeerId, receiver: PeerId) -> bool:
        if not self._split and not self._cut:
            return False
        return (sender, receiver) in self._split or (sender, receiver) in self._cut

    def _is_whole(self, edge: Edge) -> bool:
        one, other = (end.id for end in edge.ends)
        return not self._is_cut(one, other) and not self._is_cut(other, one)

    def _changed(self) -> None:
        """Cuts came or went: who is cut off is given up after a time; the others hear what was held, or connect."""
        for edge in self._distinct:
            if not self._is_whole(edge):
                self._give_up_later(edge)
            else:
                edge.cut_since = None
                self._open_later(edge, self._links.reconnect_ms)
            if edge.is_open:
                self._traffic.release(edge)

    def _give_up_later(self, edge: Edge) -> None:
        if not edge.is_open:
            return
        if self._links.silence_ms == 0:
            self._close(edge)
        elif edge.cut_since is None:
            edge.cut_since = self._timeline.now
            self._timeline.after(self._links.silence_ms, partial(self._close_if_cut, edge, edge.number, edge.cut_since))

    def _close_if_cut(self, edge: Edge, number: int, since: int) -> None:
        if edge.number == number and edge.cut_since == since:
            self._close(edge)

    def _close_if_ending(self, edge: Edge, number: int) -> None:
        if edge.number == number:
            self._close(edge)

    def _close_if_paused(self, peer: SimulatedPeer, since: int | None, edge: Edge, number: int) -> None:
        if edge.number == number and peer.paused_since == since:
            self._close(edge)

    def _open_later(self, edge: Edge, delay_ms: int) -> None:
        """Peers wait for different times, so that they do not all dial at once."""
        if edge.is_open:
            return
        self._timeline.after(delay_ms and self._random.randint(delay_ms // 2, delay_ms * 3 // 2), partial(self._open, edge))

    def _open(self, edge: Edge) -> None:
        """Connect, where both are there, nothing is cut, and neither refuses the other."""
        are_there = all(end.is_running and not end.is_paused for end in edge.ends)
        if edge.is_open or not are_there or not self._is_whole(edge) or self._timeline.now < edge.refused_until:
            return
        self._close(edge)
        edge.is_open = True
        edge.incarnations = {end.id: end.incarnation for end in edge.ends}
        for end in edge.ends:
            self._told.joined(end, edge.other(end.id).id)

    def _close(self, edge: Edge) -> None:
        if not edge.is_open and not edge.is_ending:
            return
        self.resets += 1
        edge.is_open, edge.is_ending, edge.cut_since = False, False, None
        edge.number += 1
        edge.held.clear()
        edge.last_arrivals.clear()
        for end in edge.ends:
            if end.is_running and end.incarnation == edge.incarnations[end.id]:
                self._told.left(end, edge.other(end.id).id)
