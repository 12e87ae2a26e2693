"""Carries out effects: the thin, impure half of a node.

Inputs go into the replica at once; what it wants done is carried out by one task, in the order of the queue
(`effect_queue.py`), which waits for the disk where a `Record` is to be durable before what follows. The world is narrow ports:
the real node and the simulator each give their own.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol, assert_never

from consensus.effects import (
    Accusation,
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
from consensus.protocol import Input, Received, TimerFired
from consensus.types import Instant, PeerId
from learning.learner import LearnerAnswer, LearnerRequest
from node.common.errors import NodeError
from node.runtime.clock_watch import ClockWatch
from node.runtime.coupling import AskLearner, ImmediateEffect, OuterEffect, ReplicaPort
from node.runtime.effect_queue import Batch, EffectQueue
from node.runtime.learner_queue import Awaited
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

    async def write(self, rows: Sequence[Row], signed_round: int | None = None) -> None:
        """Store the rows, forget those without a value; returns once that is durable.

        `signed_round`: durable with them, where no backup brings an older one back.
        """
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


log = logging.getLogger(__name__)

EFFECTS_BACKLOG_MAX = 20_000
"""Effects waiting behind a slow disk before messages from peers are dropped; they can be asked for again. About 20 MB."""

ACCUSATIONS_MAX = 256
"""Accusations remembered for people; older ones are in the log."""


@dataclass(frozen=True, slots=True)
class Ports:
    """The world of one node."""

    clock: Clock
    records: Records
    side_streams: SideStreams
    outbox: Outbox
    learner: LearnerPort
    puzzle: PuzzlePort | None
    """None where no puzzle is worked on."""


WHEN_HALTED = "compare with other peers before you start it again: what is final here contradicts what others hold"


class HaltedError(NodeError):
    """The ordering machine refuses to go on."""


class Driver:
    """Feeds one replica and carries out what it asks for."""

    def __init__(self, replica: ReplicaPort, ports: Ports) -> None:
        self._replica = replica
        self._ports = ports
        self._effects = EffectQueue()
        self._has_effects = asyncio.Event()
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self.accusations: deque[Accusation] = deque(maxlen=ACCUSATIONS_MAX)
        self.messages_dropped = 0
        self._failure: Exception | None = None
        self.clock_watch = ClockWatch(ports.clock)

    def start(self) -> None:
        """Take the replica's first effects."""
        self._look_at_clock()
        self._push(self._replica.start(self._ports.clock.now()))

    def feed(self, event: Input) -> None:
        """Hand an input to the replica."""
        with self._fatal():
            self._look_at_clock()
            self._push(self._replica.handle(event, self._ports.clock.now()))

    def on_message(self, peer: PeerId, message: bytes) -> bool:
        """Hand a message of a peer to the replica; whether it was looked at. They are dropped while the backlog is full."""
        if len(self._effects) >= EFFECTS_BACKLOG_MAX:
            self.messages_dropped += 1
            return False
        with self._fatal():
            self._look_at_clock()
            effects = self._replica.handle(Received(peer, message), self._ports.clock.now())
            self._push(effects)
        return PassOver() not in effects

    def handle_answer(self, answer: LearnerAnswer) -> None:
        """Hand an answer of the learner to the replica."""
        with self._fatal():
            self._look_at_clock()
            self._push(self._replica.handle_answer(answer, self._ports.clock.now()))

    def record(self, record: Record) -> None:
        """Make a row durable in its turn: together with what the next input records, when that is fed at once."""
        self._push((record,))

    @property
    def awaited(self) -> Awaited | None:
        """The payloads that the learner waits for, if it does."""
        return self._replica.awaited

    async def run(self) -> None:
        """Carry out effects until cancelled. Raises HaltedError when the machine halts, and what it raised when it was fed."""
        try:
            while True:
                await self._has_effects.wait()
                self._has_effects.clear()
                await self._carry_out_all()
                if self._failure is not None:
                    raise self._failure
        finally:
            for handle in self._timers.values():
                handle.cancel()

    def _look_at_clock(self) -> None:
        jump, news = self.clock_watch.jump, self.clock_watch.news()
        if news is None:
            return
        if self.clock_watch.jump is not jump:
            log.warning("%s", self.clock_watch.jump)
        self._push(self._replica.handle(news, self._ports.clock.now()))

    @contextmanager
    def _fatal(self) -> Iterator[None]:
        """A mistake of our own ends the node, whoever fed us: in a timer's or a pipe's callback the loop would only log it."""
        try:
            yield
        except Exception as error:
            self._failure = error
            self._has_effects.set()
            raise

    def _push(self, effects: tuple[OuterEffect, ...]) -> None:
        self._effects.push(effects)
        if effects:
            self._has_effects.set()

    async def _carry_out_all(self) -> None:
        while (step := self._effects.take()) is not None:
            match step:
                case Batch():
                    await self._ports.records.write(step.rows, step.signed_round)
                case _:
                    self._carry_out(step)
            self._effects.finish()

    def _carry_out(self, effect: ImmediateEffect) -> None:
        match effect:
            case Send(peer, message):
                self._ports.outbox.send(peer, message)
            case Broadcast(message):
                self._ports.outbox.broadcast(message)
            case Refuse(peer, offence, detail):
                self._ports.outbox.refuse(peer, offence, detail)
            case AskLearner(request):
                self._ports.learner.ask(request)
            case SolvePuzzle() | StopPuzzle() | VerifyPuzzle():
                assert self._ports.puzzle is not None, "a total order works on no puzzles"
                self._ports.puzzle.ask(effect)
            case SetTimer():
                self._set_timer(effect)
            case Accuse(accusation):
                self._note_accusation(accusation)
            case Halt(reason):
                raise HaltedError(reason, WHEN_HALTED)
            case FetchAttachment():
                self._ports.side_streams.fetch_payload(effect)
            case FetchState():
                self._ports.side_streams.fetch_state(effect)
            case PassOver():
                pass  # whoever fed the message knows
            case _:
                assert_never(effect)

    def _set_timer(self, timer: SetTimer) -> None:
        pending = self._timers.pop(timer.name, None)
        if pending is not None:
            pending.cancel()
        delay_s = max(0, timer.at - self._ports.clock.now()) / 1000
        self._timers[timer.name] = asyncio.get_running_loop().call_later(delay_s, self._fire, timer.name)

    def _fire(self, name: str) -> None:
        del self._timers[name]
        self.feed(TimerFired(name))

    def _note_accusation(self, accusation: Accusation) -> None:
        self.accusations.append(accusation)
        log.warning("peer %s: %s (%s)", accusation.accused.hex()[:8], accusation.offence, accusation.detail)
