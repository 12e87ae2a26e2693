"""One incarnation's ports: what the node's driver wants done is told to whoever watches, and done by simulated means."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import assert_never

from consensus.effects import (
    Accuse,
    Broadcast,
    FetchAttachment,
    FetchState,
    Guard,
    Halt,
    Offence,
    Record,
    Refuse,
    Send,
    SetTimer,
    SolvePuzzle,
    StopPuzzle,
    VerifyPuzzle,
)
from consensus.protocol import Input, PuzzleSolved, PuzzleVerified
from consensus.types import Instant, PeerId
from learning.learner import LearnerAnswer, LearnerRequest
from node.lab.simulation.disk import Disk
from node.lab.simulation.links import Links
from node.lab.simulation.peer import Agenda, SimulatedPeer
from node.lab.simulation.processes import LearnerDesk, Puzzles
from node.lab.simulation.trace import Happening
from node.net.bulk_transfer import BulkTransfer
from node.net.transport import PeerNetwork
from node.runtime.coupling import AskLearner, Forget, OuterEffect, ReplicaPort
from node.runtime.learner_queue import Awaited
from node.storage.tables import Row

Told = Callable[[Happening], None]
"""Hears of each effect as it is carried out, while the incarnation lasts."""


class DiskFullError(Exception):
    """A write has failed, which ends the process."""


class DiskRecords:
    """The rows of a disk, each batch whole; and how a reader finds them. `is_alive`: whether the process still runs."""

    def __init__(self, disk: Disk, disk_ms: int, now: Callable[[], Instant], told: Told, is_alive: Callable[[], bool]) -> None:
        self._disk = disk
        self._disk_ms = disk_ms
        self._now = now
        self._told = told
        self._is_alive = is_alive
        self._writing: tuple[tuple[Row, ...], int | None] | None = None

    async def write(self, rows: Sequence[Row], signed_round: int | None = None) -> None:
        """Make them durable. Raises DiskFullError."""
        self._check()
        self._writing = (tuple(rows), signed_round)
        await asyncio.sleep(self._disk_ms / 1000)
        self._check()
        if self._is_alive():
            self.finish()

    def finish(self) -> None:
        """What is being written is durable."""
        assert self._writing is not None, "nothing is being written"
        (rows, signed_round), self._writing = self._writing, None
        self._disk.write(rows, self._now(), signed_round)
        for table, key, value in rows:
            self._told(Forget(table, key) if value is None else Record(table, key, value))
        if signed_round is not None:
            self._told(Guard(signed_round))

    @property
    def is_writing(self) -> bool:
        """Whether a batch is on its way to the disk."""
        return self._writing is not None

    def get(self, table: str, key: bytes) -> bytes | None:
        """The value under this key."""
        return self._disk.rows.get((table, key))

    def has(self, table: str, key: bytes) -> bool:
        """Whether there is one."""
        return (table, key) in self._disk.rows

    def _check(self) -> None:
        if self._disk.is_full:
            raise DiskFullError


@dataclass(frozen=True, slots=True)
class ToldOutbox:
    """The node's network."""

    network: PeerNetwork
    told: Told

    def send(self, peer: PeerId, message: bytes) -> None:
        """To one connected peer."""
        self.told(Send(peer, message))
        self.network.send(peer, message)

    def broadcast(self, message: bytes) -> None:
        """To the whole network."""
        self.told(Broadcast(message))
        self.network.broadcast(message)

    def refuse(self, peer: PeerId, offence: str, detail: str) -> None:
        """Disconnect, and refuse for a time."""
        self.told(Refuse(peer, Offence(offence), detail))
        self.network.refuse(peer, offence, detail)


@dataclass(frozen=True, slots=True)
class ToldStreams:
    """The node's large bytes."""

    streams: BulkTransfer
    told: Told

    def fetch_payload(self, effect: FetchAttachment) -> None:
        """Answered later by `AttachmentHeld`."""
        self.told(effect)
        self.streams.fetch_payload(effect)

    def fetch_state(self, effect: FetchState) -> None:
        """Answered later by `StateHeld`."""
        self.told(effect)
        self.streams.fetch_state(effect)


@dataclass(frozen=True, slots=True)
class ToldLearner:
    """The learner, over virtual time."""

    desk: LearnerDesk
    told: Told

    def ask(self, request: LearnerRequest) -> None:
        """Answers come later."""
        self.told(AskLearner(request))
        self.desk.ask(request)


@dataclass(frozen=True, slots=True)
class SampledPuzzles:
    """Work by chance. `feed` hears of solutions and verifications."""

    peer: SimulatedPeer
    agenda: Agenda
    links: Links
    puzzles: Puzzles
    feed: Callable[[Input], None]
    told: Told

    def ask(self, request: SolvePuzzle | StopPuzzle | VerifyPuzzle) -> None:
        """Work on this puzzle, or on none, or say later whether one is solved."""
        self.told(request)
        match request:
            case SolvePuzzle():
                self.peer.puzzle = request
                solving_ms = self.puzzles.solving_ms(request, self.links.attempts_per_second / self.peer.slowness)
                self.agenda.after(solving_ms, self.peer, partial(self._solved, request))
            case StopPuzzle():
                self.peer.puzzle = None
            case VerifyPuzzle(step, prefix, nonce, target):
                verified = PuzzleVerified(step, self.puzzles.is_solved(prefix, nonce, target))
                self.agenda.after(round(self.links.answer_ms * self.peer.slowness), self.peer, partial(self.feed, verified))
            case _:
                assert_never(request)

    def _solved(self, job: SolvePuzzle) -> None:
        if self.peer.puzzle is job:
            self.peer.puzzle = None
            self.feed(PuzzleSolved(job.prefix, self.puzzles.solve(job)))


class ToldReplica:
    """A replica whose effects are told where the driver carries them out by itself. Implements `ReplicaPort`."""

    def __init__(self, replica: ReplicaPort, told: Told) -> None:
        self.ordering = replica.ordering
        self._replica = replica
        self._told = told

    @property
    def awaited(self) -> Awaited | None:
        """The payloads that the learner waits for."""
        return self._replica.awaited

    def start(self, now: Instant) -> tuple[OuterEffect, ...]:
        """What is to be done first."""
        return self._passed(self._replica.start(now))

    def handle(self, event: Input, now: Instant) -> tuple[OuterEffect, ...]:
        """What is to be done about an input."""
        return self._passed(self._replica.handle(event, now))

    def handle_answer(self, answer: LearnerAnswer, now: Instant) -> tuple[OuterEffect, ...]:
        """What is to be done about an answer of the learner."""
        return self._passed(self._replica.handle_answer(answer, now))

    def _passed(self, effects: tuple[OuterEffect, ...]) -> tuple[OuterEffect, ...]:
        for effect in effects:
            if isinstance(effect, SetTimer | Accuse | Halt):
                self._told(effect)
        return effects
