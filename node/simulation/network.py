"""Peers over virtual time: seeded delays, splits that heal, crashes, sampled puzzles. Same seed, same trace."""

import hashlib
import heapq
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import assert_never

from consensus.faults import Accusation
from consensus.protocol import (
    Accuse,
    Broadcast,
    FetchPayload,
    FetchState,
    Guard,
    Halt,
    Input,
    PayloadHeld,
    PeerJoined,
    PeerLeft,
    PuzzleSolved,
    PuzzleVerified,
    Received,
    Record,
    Refuse,
    Send,
    SetTimer,
    SolvePuzzle,
    StateHeld,
    StopPuzzle,
    TimerFired,
    VerifyPuzzle,
)
from consensus.types import Instant, PeerId
from learning.checkpoint import checkpoint_digest, decode_kept_state
from learning.learner import Learner, LearnerAnswer, RestoreRequest, StepAdopted
from node.replica import PAYLOAD_TABLE, STATE_KEY, STATE_TABLE, AskLearner, Forget, OuterEffect, Replica

Records = dict[tuple[str, bytes], bytes]
"""A simulated disk: (table, key) -> value. Every record is durable at once."""

Build = Callable[[Records, int], tuple[Replica, Learner]]
"""Makes one peer's replica and learner from its disk and guard file: called at the start and after every crash."""

PUZZLE_SPACE = 2**256


@dataclass(frozen=True, slots=True)
class Links:
    """How long a message is under way, uniformly in ms, and how fast a peer thinks."""

    delay_ms_min: int = 5
    delay_ms_max: int = 60
    attempts_per_second: float = 20.0
    """Puzzle attempts of one peer."""
    answer_ms: int = 3
    """How long the learner takes for a request."""
    slice_ms: int = 50
    """How often an idle learner gets one slice of search."""


@dataclass
class SimulatedPeer:
    """One peer and all that it holds."""

    id: PeerId
    build: Build
    replica: Replica
    learner: Learner
    records: Records = field(default_factory=dict)
    refused: set[PeerId] = field(default_factory=set)
    accusations: list[Accusation] = field(default_factory=list)
    puzzle: SolvePuzzle | None = None
    timers: dict[str, int] = field(default_factory=dict)
    head: StepAdopted | None = None
    halted: str | None = None
    guard_round: int = 0
    """What the guard file holds."""
    is_up: bool = True
    life: int = 0
    """Counts restarts: what was meant for an earlier life is dropped."""


class SimulatedNetwork:
    """A full mesh of peers, cut by `split`, joined by `heal`."""

    def __init__(self, seed: int, builds: Iterable[tuple[PeerId, Build]], links: Links, start: Instant) -> None:
        self._random = random.Random(seed)
        self._links = links
        self._queue: list[tuple[int, int, Callable[[], None]]] = []
        self._sequence = 0
        self._trace = hashlib.blake2b(digest_size=16)
        self._groups: dict[PeerId, int] = {}
        self.now = start
        self.peers: dict[PeerId, SimulatedPeer] = {}
        for peer_id, build in builds:
            records: Records = {}
            self.peers[peer_id] = SimulatedPeer(peer_id, build, *build(records, 0), records)
        for peer in self.peers.values():
            self._wake(peer)

    @property
    def trace_digest(self) -> str:
        """Hash of every effect so far, with its time and peer: equal runs have equal digests."""
        return self._trace.hexdigest()

    # --- what a test does to the network ---

    def run_for(self, duration_ms: int) -> None:
        """Let virtual time pass."""
        end = self.now + duration_ms
        while self._queue and self._queue[0][0] <= end:
            at, _, action = heapq.heappop(self._queue)
            self.now = Instant(at)
            action()
        self.now = Instant(end)

    def split(self, *groups: Iterable[PeerId]) -> None:
        """Cut every link between peers of different groups."""
        before = self._connected_pairs()
        self._groups = {peer: number for number, group in enumerate(groups) for peer in group}
        self._tell_links(before)

    def heal(self) -> None:
        """Join all again."""
        before = self._connected_pairs()
        self._groups = {}
        self._tell_links(before)

    def crash(self, peer_id: PeerId) -> None:
        """Stop a peer at once: only its records stay."""
        before = self._connected_pairs()
        peer = self.peers[peer_id]
        peer.is_up = False
        peer.life += 1
        self._tell_links(before)

    def restart(self, peer_id: PeerId) -> None:
        """Start a crashed peer again from its records."""
        before = self._connected_pairs()
        peer = self.peers[peer_id]
        peer.replica, peer.learner = peer.build(peer.records, peer.guard_round)
        peer.is_up, peer.puzzle, peer.timers, peer.halted = True, None, {}, None
        self._wake(peer, with_links=False)
        self._tell_links(before)

    # --- time ---

    def _later(self, delay_ms: int, peer: SimulatedPeer, action: Callable[[], None]) -> None:
        """Run `action` for this life of the peer."""
        self._sequence += 1
        guarded: Callable[[], None] = partial(self._if_alive, peer, peer.life, action)
        heapq.heappush(self._queue, (self.now + delay_ms, self._sequence, guarded))

    @staticmethod
    def _if_alive(peer: SimulatedPeer, life: int, action: Callable[[], None]) -> None:
        if peer.is_up and peer.life == life and peer.halted is None:
            action()

    # --- peers ---

    def _wake(self, peer: SimulatedPeer, with_links: bool = True) -> None:
        self._carry_out(peer, peer.replica.start(self.now))
        if with_links:
            for other in self.peers:
                if other != peer.id:
                    self._feed(peer, PeerJoined(other))
        self._later(self._links.slice_ms, peer, partial(self._search, peer))

    def _search(self, peer: SimulatedPeer) -> None:
        if peer.learner.is_searching:
            self._answer(peer, peer.learner.search())
        self._later(self._links.slice_ms, peer, partial(self._search, peer))

    def _feed(self, peer: SimulatedPeer, event: Input) -> None:
        self._carry_out(peer, peer.replica.handle(event, self.now))

    def _answer(self, peer: SimulatedPeer, answers: tuple[LearnerAnswer, ...]) -> None:
        for answer in answers:
            if isinstance(answer, StepAdopted):
                peer.head = answer
            self._carry_out(peer, peer.replica.answered(answer, self.now))

    def _carry_out(self, peer: SimulatedPeer, effects: tuple[OuterEffect, ...]) -> None:
        for effect in effects:
            self._trace.update(f"{self.now} {peer.id.hex()} {effect!r}\n".encode())
            self._carry_out_one(peer, effect)

    def _carry_out_one(self, peer: SimulatedPeer, effect: OuterEffect) -> None:
        match effect:
            case Record(table, key, value):
                peer.records[table, key] = value
            case Forget(table, key):
                peer.records.pop((table, key), None)
            case Send(other, message):
                self._send(peer, other, message)
            case Broadcast(message):
                for other in self.peers:
                    if other != peer.id:
                        self._send(peer, other, message)
            case SetTimer(name, at):
                peer.timers[name] = at
                self._later(max(0, at - self.now), peer, partial(self._fire, peer, name, at))
            case SolvePuzzle():
                peer.puzzle = effect
                self._later(self._solving_ms(effect), peer, partial(self._solve, peer, effect))
            case StopPuzzle():
                peer.puzzle = None
            case VerifyPuzzle():
                self._later(self._links.answer_ms, peer, partial(self._feed, peer, PuzzleVerified(effect.step, True)))
            case AskLearner():
                self._later(self._links.answer_ms, peer, partial(self._ask, peer, effect))
            case Accuse(accusation):
                peer.accusations.append(accusation)
            case Refuse(other):
                peer.refused.add(other)
            case Halt(reason):
                peer.halted = reason
            case Guard(round_number):
                peer.guard_round = round_number
            case FetchState():
                self._later(self._links.delay_ms_max, peer, partial(self._fetch_state, peer, effect))
            case FetchPayload():
                self._later(self._links.delay_ms_max, peer, partial(self._fetch_payload, peer, effect))
            case _:
                assert_never(effect)

    def _ask(self, peer: SimulatedPeer, effect: AskLearner) -> None:
        self._answer(peer, peer.learner.handle(effect.request))

    def _fetch_state(self, peer: SimulatedPeer, effect: FetchState) -> None:
        """Read it off the disk of a connected source; without one the machine asks again."""
        sources = [self.peers[source] for source in effect.peers if self._are_connected(peer.id, source)]
        held = [content for source in sources for (table, _), content in source.records.items() if table == STATE_TABLE]
        content = next((content for content in held if checkpoint_digest(content) == effect.state_digest), None)
        if content is not None:
            peer.records[STATE_TABLE, STATE_KEY] = content
            self._answer(peer, peer.learner.handle(RestoreRequest(decode_kept_state(content))))
            self._feed(peer, StateHeld(effect.step))

    def _fetch_payload(self, peer: SimulatedPeer, effect: FetchPayload) -> None:
        """Read it off the disk of a connected source; where it is not held nothing comes, and the machine asks again."""
        key = (PAYLOAD_TABLE, bytes(effect.digest))
        if key not in peer.records and self._are_connected(peer.id, effect.peer):
            content = self.peers[effect.peer].records.get(key)
            if content is not None and len(content) == effect.length:
                peer.records[key] = content
        if key in peer.records:
            self._feed(peer, PayloadHeld(effect.digest))

    def _fire(self, peer: SimulatedPeer, name: str, at: int) -> None:
        if peer.timers.get(name) == at:
            del peer.timers[name]
            self._feed(peer, TimerFired(name))

    def _solving_ms(self, job: SolvePuzzle) -> int:
        """A sampled solving time: attempts are independent, so it is exponential."""
        attempts = PUZZLE_SPACE / (job.target + 1)
        return 1 + int(self._random.expovariate(self._links.attempts_per_second / attempts) * 1000)

    def _solve(self, peer: SimulatedPeer, job: SolvePuzzle) -> None:
        if peer.puzzle is job:
            peer.puzzle = None
            self._feed(peer, PuzzleSolved(job.prefix, self._random.getrandbits(64)))

    # --- links ---

    def _send(self, sender: SimulatedPeer, receiver_id: PeerId, message: bytes) -> None:
        if not self._are_connected(sender.id, receiver_id):
            return
        receiver = self.peers[receiver_id]
        delay_ms = self._random.randint(self._links.delay_ms_min, self._links.delay_ms_max)
        self._later(delay_ms, receiver, partial(self._deliver, receiver, sender.id, message))

    def _deliver(self, receiver: SimulatedPeer, sender: PeerId, message: bytes) -> None:
        if self._are_connected(sender, receiver.id):
            self._feed(receiver, Received(sender, message))

    def _are_connected(self, one: PeerId, other: PeerId) -> bool:
        both_up = self.peers[one].is_up and self.peers[other].is_up
        return both_up and self._groups.get(one) == self._groups.get(other)

    def _connected_pairs(self) -> list[tuple[PeerId, PeerId]]:
        return [(one, other) for one in self.peers for other in self.peers if one != other and self._are_connected(one, other)]

    def _tell_links(self, before: list[tuple[PeerId, PeerId]]) -> None:
        """Tell each living peer which links it has lost or gained."""
        after = self._connected_pairs()
        for one, other in before:
            if (one, other) not in after and self.peers[one].is_up:
                self._feed(self.peers[one], PeerLeft(other))
        for one, other in after:
            if (one, other) not in before:
                self._feed(self.peers[one], PeerJoined(other))
