"""One peer's shell: what the real node's driver does, in virtual time and with an in-memory disk.

The order is that of the node's own queue (`node/runtime/effect_queue.py`); a crash may come between any two of its steps, and
in the middle of a write.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import assert_never

from consensus.effects import (
    Accuse,
    Broadcast,
    FetchAttachment,
    FetchState,
    Halt,
    PassOver,
    Record,
    Refuse,
    Send,
    SetTimer,
    SolvePuzzle,
    StopPuzzle,
    VerifyPuzzle,
)
from consensus.protocol import Input, PeerJoined, PeerLeft, Received, TimerFired
from consensus.types import Instant, PeerId
from learning.learner import LearnerAnswer, LearnerRequest, StepAdopted
from node.lab.simulation.connections import Wires
from node.lab.simulation.links import Links
from node.lab.simulation.peer import Agenda, PeerClock, SimulatedPeer
from node.lab.simulation.processes import Desk, LearnerDesk, PuzzleDesk, Puzzles
from node.lab.simulation.timeline import Timeline
from node.lab.simulation.trace import Happening
from node.lab.simulation.transport import FRAME_BYTES, Flooding, LargeBytes, SimulatedOutbox
from node.lab.simulation.working_desk import WorkingDesk
from node.net.gossip import GossipLimits
from node.runtime.clock_watch import ClockWatch
from node.runtime.coupling import AskLearner, ImmediateEffect, OuterEffect
from node.runtime.effect_queue import Batch

DISK_FULL = "the disk is full"
"""Why a process ends whose write fails."""


@dataclass(frozen=True, slots=True)
class World:
    """What all peers of a network share."""

    timeline: Timeline
    agenda: Agenda
    links: Links
    gossip: GossipLimits
    wires: Wires
    puzzles: Puzzles
    shells: "Mapping[PeerId, EffectRunner]"
    happened: Callable[[SimulatedPeer, Happening], None]
    """An effect was carried out, or an answer heard."""
    ended: Callable[[SimulatedPeer, str | None], None]
    """The peer's process has ended: killed at an effect, or for the reason given."""


class EffectRunner:
    """Feeds one replica and carries out what it asks for."""

    def __init__(self, peer: SimulatedPeer, world: World) -> None:
        agenda, timeline, wires, shells = world.agenda, world.timeline, world.wires, world.shells
        self._peer = peer
        self._world = world
        self._writing: Batch | None = None
        self._clock_watch = self._new_watch()
        self._is_priced = world.links.prices.are_due
        self.desk: Desk = self._desk()
        self._puzzle_desk = PuzzleDesk(peer, agenda, timeline, world.links, world.puzzles, self.feed)
        way = SimulatedOutbox(peer, agenda, timeline, wires)
        self.flooding = Flooding(way, lambda other: shells[other].flooding, self.on_message, world.gossip)
        self.large = LargeBytes(way, lambda other: shells[other].large, self)

    def _desk(self) -> Desk:
        peer, agenda = self._peer, self._world.agenda
        if peer.work is None:
            return LearnerDesk(peer, agenda, self._world.links, self.handle_answer)
        return WorkingDesk(peer, agenda, self._world.timeline, self.handle_answer)

    # --- an incarnation ---

    def start(self, first: tuple[LearnerRequest, ...]) -> None:
        """Begin with the replica and the learner that the peer has now."""
        self.desk.start(first)
        self.flooding.start()
        self.large.start()
        self._clock_watch = self._new_watch()
        self._look_at_clock()
        self._push(self._peer.replica.start(self._local_now))

    def end(self, is_written: bool) -> None:
        """The process is gone. `is_written`: whether the batch under way has reached the disk."""
        if self._writing is not None and is_written:
            self._make_durable(self._writing)
        self._writing = None
        self._peer.effects.clear()

    # --- inputs ---

    def feed(self, event: Input) -> None:
        """Hand an input to the replica, behind what keeps its event loop busy."""
        self._do(self._cost_us(event) if self._is_priced else 0, partial(self._feed, event))

    def _feed(self, event: Input) -> None:
        self._look_at_clock()
        self._push(self._peer.replica.handle(event, self._local_now))

    def handle_answer(self, answer: LearnerAnswer) -> None:
        """Hand an answer of the learner to the replica."""
        self._world.happened(self._peer, answer)
        if isinstance(answer, StepAdopted):
            self._peer.head = answer
        self._do(self._world.links.prices.message_us, partial(self._answer, answer))

    def _answer(self, answer: LearnerAnswer) -> None:
        self._look_at_clock()
        self._push(self._peer.replica.handle_answer(answer, self._local_now))

    def record(self, record: Record) -> None:
        """Make a row durable in its turn."""
        self._push((record,))

    def joined(self, other: PeerId, connection: int) -> None:
        """A connection of this number exists; it is written to once the event loop has come to that."""
        self._do(self._world.links.prices.message_us, partial(self._join, other, connection))

    def left(self, other: PeerId) -> None:
        """It is gone."""
        self._do(self._world.links.prices.message_us, partial(self._leave, other))

    def _join(self, other: PeerId, connection: int) -> None:
        self._world.wires.heard(self._peer.id, other, connection)
        self.flooding.joined(other)
        self._feed(PeerJoined(other))

    def _leave(self, other: PeerId) -> None:
        self.flooding.left(other)
        self._feed(PeerLeft(other))

    def on_message(self, other: PeerId, message: bytes) -> bool:
        """A message of the ordering protocol; whether it was looked at."""
        effects = self._peer.replica.handle(Received(other, message), self._local_now)
        self._push(effects)
        return PassOver() not in effects

    def _new_watch(self) -> ClockWatch:
        return ClockWatch(PeerClock(self._peer, self._world.agenda))

    def _cost_us(self, event: Input) -> int:
        prices = self._world.links.prices
        if isinstance(event, Received):
            return prices.judging_us(event.message, self._world.links.consensus)
        return prices.message_us

    def _do(self, cost_us: int, action: Callable[[], None]) -> None:
        """At once where nothing costs time, else when the core is done with it."""
        if not self._is_priced:
            action()
            return
        delay_ms = self._peer.core.take(self._world.timeline.now, cost_us * self._peer.slowness)
        self._world.agenda.after(delay_ms, self._peer, action)

    def _look_at_clock(self) -> None:
        """As the driver does."""
        news = self._clock_watch.news()
        if news is not None:
            self._push(self._peer.replica.handle(news, self._local_now))

    @property
    def _local_now(self) -> Instant:
        return self._world.agenda.local_now(self._peer)

    # --- effects, in order ---

    def _push(self, effects: tuple[OuterEffect, ...]) -> None:
        if not self._peer.is_running:  # it ended in the middle of what its caller brings
            return
        self._peer.effects.push(effects)
        self._carry_out_all()

    def _carry_out_all(self) -> None:
        """Until there is nothing left to do, the disk is to be waited for, or the peer is gone."""
        peer, incarnation = self._peer, self._peer.incarnation
        while (step := peer.effects.take()) is not None:
            if peer.kill_at is not None and peer.effects_done >= peer.kill_at:
                self._world.ended(peer, None)
                return
            if isinstance(step, Batch):
                if not self._write(step):
                    return
            else:
                self._done(step)
                self._carry_out(step)
                if peer.incarnation != incarnation or not peer.is_running:
                    return
            peer.effects.finish()

    def _write(self, wanted: Batch) -> bool:
        """Hand the disk what is to be durable. Whether that took no time."""
        peer, disk_ms = self._peer, self._world.links.disk_ms
        if peer.disk.is_full:
            self._world.ended(peer, DISK_FULL)
            return False
        self._writing = wanted
        if disk_ms:
            self._world.agenda.after(disk_ms, peer, partial(self._written, wanted))
            return False
        return self._finish_write(wanted)

    def _written(self, wanted: Batch) -> None:
        """The disk has it: go on."""
        if self._finish_write(wanted):
            self._peer.effects.finish()
            self._carry_out_all()

    def _finish_write(self, wanted: Batch) -> bool:
        """False for who is to be killed in the middle of the batch: he dies now, and all of it is there, or nothing."""
        peer = self._peer
        if peer.disk.is_full:
            self._world.ended(peer, DISK_FULL)
            return False
        if peer.kill_at is not None and peer.kill_at < peer.effects_done + len(wanted.effects):
            self._world.ended(peer, None)
            return False
        self._make_durable(wanted)
        return True

    def _make_durable(self, wanted: Batch) -> None:
        self._writing = None
        self._peer.disk.write(wanted.rows, self._world.timeline.now, wanted.signed_round)
        for effect in wanted.effects:
            self._done(effect)

    def _done(self, effect: OuterEffect) -> None:
        self._peer.effects_done += 1
        self._world.happened(self._peer, effect)

    def _carry_out(self, effect: ImmediateEffect) -> None:
        match effect:
            case Send(other, message):
                self._send(other, message)
            case Broadcast(message):
                self.flooding.broadcast(message)
            case AskLearner(request):
                self.desk.ask(request)
            case SetTimer(name, at):
                self._set_timer(name, at)
            case SolvePuzzle():
                self._puzzle_desk.solve(effect)
            case StopPuzzle():
                self._peer.puzzle = None
            case VerifyPuzzle():
                self._puzzle_desk.verify(effect)
            case FetchAttachment() | FetchState():
                self.large.fetch(effect)
            case Accuse(accusation):
                self._peer.accusations.append(accusation)
            case Refuse(other):
                self._peer.refused.add(other)
                self._world.wires.refuse(self._peer.id, other)
            case Halt(reason):
                self._peer.halted = reason
                self._world.wires.peer_ended(self._peer)
            case PassOver():
                pass  # whoever fed the message knows
            case _:
                assert_never(effect)

    def _send(self, other: PeerId, message: bytes) -> None:
        shell = self._world.shells.get(other)
        if shell is not None:
            if self._is_priced:
                self._peer.core.take(self._world.timeline.now, self._world.links.prices.sending_us(len(message)))
            hand = partial(shell.feed, Received(self._peer.id, message))
            self._world.wires.send(self._peer, other, FRAME_BYTES + len(message), hand)

    # --- timers ---

    def _set_timer(self, name: str, at: Instant) -> None:
        """By this peer's clock when it is set, and by true time from then on, as an event loop does it."""
        self._peer.timers[name] = at
        self._world.agenda.after(at - self._local_now, self._peer, partial(self._fire, name, at))

    def _fire(self, name: str, at: int) -> None:
        if self._peer.timers.get(name) == at:
            del self._peer.timers[name]
            self.feed(TimerFired(name))
