"""A tiny network in memory and in virtual time: real machines, real puzzles; only the learner is a stand-in."""

import hashlib
import heapq
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from consensus.effects import (
    Accuse,
    Adopt,
    Assess,
    Broadcast,
    Check,
    Effect,
    FetchAttachment,
    Finalise,
    Halt,
    Record,
    Refuse,
    Replay,
    Send,
    SetTimer,
    SolvePuzzle,
    StopPuzzle,
    VerifyPuzzle,
)
from consensus.proof_of_work.machine import ProofOfWork
from consensus.proof_of_work.puzzle import is_solved
from consensus.proof_of_work.rules import ProofOfWorkRules
from consensus.protocol import (
    Assessed,
    AttachmentHeld,
    Checked,
    FetchFailed,
    Input,
    Offered,
    PeerJoined,
    PeerLeft,
    PuzzleSolved,
    PuzzleVerified,
    Received,
    Submitted,
    TimerFired,
)
from consensus.steps import Attachment, Contribution, Step, Verdict
from consensus.types import Digest, Instant, PeerId, StepId
from tests.consensus.proof_of_work.forge import NETWORK, START_MS, Person, person, state_after

LATENCY_MS = 20
ANSWER_MS = 2
ATTEMPT_MS = 250
PAYLOAD_MS = 60

Judge = Callable[[Step], Verdict]


def all_good(step: Step) -> Verdict:
    """The verdict of a learner that finds nothing wrong, but checks the state."""
    is_right = step.state_digest == state_after(step.parent, step.contributions)
    return Verdict.GOOD if is_right else Verdict.INVALID


class Records:
    """A dictionary in the part of the store."""

    def __init__(self) -> None:
        self.tables: dict[tuple[str, bytes], bytes] = {}
        self.journal: list[Record] = []
        self.payloads: dict[bytes, None] = {}
        """Digests of the large payloads that are held."""

    def write(self, record: Record) -> None:
        self.tables[record.table, record.key] = record.value
        self.journal.append(record)

    def rows(self) -> Iterable[tuple[str, bytes, bytes]]:
        return [(table, key, value) for (table, key), value in sorted(self.tables.items())]

    def block(self, key: bytes) -> bytes | None:
        return self.tables.get(("block", key))


@dataclass
class Node:
    """One machine and what has become of its effects."""

    who: Person
    machine: ProofOfWork
    records: Records
    judge: Judge
    peers: dict[PeerId, int] = field(default_factory=dict)
    """Connected peers, and the number of the connection: what was sent over an earlier one is lost."""
    known: set[StepId] = field(default_factory=set)
    steps: dict[StepId, Step] = field(default_factory=dict)
    """All that were checked or replayed."""
    good: dict[Digest, Contribution] = field(default_factory=dict)
    """What the learner may offer."""
    assessed: list[Contribution] = field(default_factory=list)
    fetched: list[tuple[int, FetchAttachment]] = field(default_factory=list)
    """When and what."""
    fetching: dict[bytes, None] = field(default_factory=dict)
    """Asked for, and neither here nor given up."""
    fetching_max: int = 0
    is_withholding: bool = False
    """It serves no payloads to anybody."""
    heads: list[StepId] = field(default_factory=list)
    finals: list[StepId] = field(default_factory=list)
    refused: list[Refuse] = field(default_factory=list)
    accused: list[Accuse] = field(default_factory=list)
    halted: str | None = None
    puzzle: SolvePuzzle | None = None
    nonce: int = 0
    timers: dict[str, int] = field(default_factory=dict)
    is_running: bool = True

    def holds(self, contributions: Iterable[Contribution]) -> bool:
        """Whether it has all large payloads that they name."""
        return all(payload.digest in self.records.payloads for one in contributions for payload in one.attachments)

    def listed(self, tip: StepId) -> list[Contribution]:
        """The contributions in the blocks up to `tip`, newest block first."""
        found: list[Contribution] = []
        while tip in self.steps:
            found.extend(self.steps[tip].contributions)
            tip = self.steps[tip].parent
        return found

    def leaders(self, tip: StepId) -> list[PeerId]:
        """Who led the blocks up to `tip`; as long as none of these networks lives, the window holds them all."""
        found: list[PeerId] = []
        while tip in self.steps:
            found.append(self.steps[tip].leader)
            tip = self.steps[tip].parent
        return found


class Network:
    """Delivers everything in order of virtual time; equal times in order of sending."""

    def __init__(self, rules: ProofOfWorkRules) -> None:
        self.rules = rules
        self.now = Instant(START_MS)
        self.nodes: dict[PeerId, Node] = {}
        self.trace = hashlib.blake2b()
        self._queue: list[tuple[int, int, PeerId, Callable[[Node], None]]] = []
        self._sent = 0
        self._connections = 0

    def add(
        self, name: str, *, judge: Judge = all_good, is_leading: bool = True, records: Records | None = None, **more: StepId
    ) -> Node:
        who, records = person(name), records or Records()
        machine = ProofOfWork(
            rules=self.rules,
            network_id=NETWORK,
            identity=who.id,
            sign=who.sign,
            seed=name.encode(),
            records=records.rows(),
            archive=records,
            is_leading=is_leading,
            replay_from=more.get("replay_from"),
        )
        node = self.nodes[who.id] = Node(who, machine, records, judge)
        node.known.add(machine.status.head if not records.tables else more.get("replay_from", StepId(b"")))
        self._carry_out(node, machine.start(self.now))
        return node

    def connect(self, one: Node, other: Node) -> None:
        self._connections += 1
        for node, peer in ((one, other), (other, one)):
            node.peers[peer.who.id] = self._connections
            self.feed(node, PeerJoined(peer.who.id))

    def disconnect(self, one: Node, other: Node) -> None:
        for node, peer in ((one, other), (other, one)):
            node.peers.pop(peer.who.id, None)
            self.feed(node, PeerLeft(peer.who.id))

    def stop(self, node: Node) -> None:
        node.is_running = False
        for peer in list(node.peers):
            self.disconnect(node, self.nodes[peer])

    def run(self, duration_ms: int) -> None:
        end = self.now + duration_ms
        while self._queue and self._queue[0][0] <= end:
            at, _, peer, action = heapq.heappop(self._queue)
            self.now = Instant(at)
            node = self.nodes[peer]
            if node.is_running and node.halted is None:
                action(node)
        self.now = Instant(end)

    def run_until(self, is_done: Callable[[], bool], limit_ms: int) -> None:
        end = self.now + limit_ms
        while not is_done():
            assert self.now < end, "the network did not get there in time"
            self.run(100)

    def feed(self, node: Node, event: Input) -> tuple[Effect, ...]:
        effects = node.machine.handle(event, self.now)
        self.trace.update(repr((self.now, node.who.id, event, effects)).encode())
        self._carry_out(node, effects)
        return effects

    def _later(self, delay_ms: int, node: Node, action: Callable[[Node], None]) -> None:
        self._sent += 1
        heapq.heappush(self._queue, (self.now + delay_ms, self._sent, node.who.id, action))

    def _answer(self, node: Node, event: Input, delay_ms: int = ANSWER_MS) -> None:
        self._later(delay_ms, node, lambda known: (self.feed(known, event), None)[1])

    def _carry_out(self, node: Node, effects: tuple[Effect, ...]) -> None:
        for effect in effects:
            self._carry_out_one(node, effect)

    def _carry_out_one(self, node: Node, effect: Effect) -> None:
        match effect:
            case Record():
                node.records.write(effect)
            case Send(peer, message):
                self._deliver(node, peer, message)
            case Broadcast(message):
                for peer in sorted(node.peers):
                    self._deliver(node, peer, message)
            case SetTimer(name, at):
                node.timers[name] = at
                self._later(max(0, at - self.now), node, lambda known: self._fire(known, name, at))
            case SolvePuzzle():
                node.puzzle = effect
                self._later(ATTEMPT_MS, node, lambda known: self._attempt(known, effect))
            case StopPuzzle():
                node.puzzle = None
            case VerifyPuzzle(step, prefix, nonce, target):
                solved = is_solved(prefix, nonce, target, self.rules.puzzle_memory_kib)
                self._answer(node, PuzzleVerified(step, solved))
            case Assess():
                self._assess(node, effect)
            case Check(step):
                assert step.parent in node.known, "the parent has been checked before"
                assert node.holds(step.contributions), "its payloads are held"
                node.known.add(step.id)
                node.steps[step.id] = step
                self._answer(node, Checked(step.id, node.judge(step), is_proven_lie=False, detail=""))
            case Replay(step):
                assert step.parent in node.known or not node.known - {b""}, "replays come in order"
                assert node.holds(step.contributions), "its payloads are recorded"
                node.known.update((step.parent, step.id))
                node.steps[step.id] = step
            case Adopt(step, _):
                assert step in node.known or not node.heads
                node.heads.append(step)
                self._answer(node, self._offer(node, step))
            case FetchAttachment():
                self._fetch(node, effect)
            case Finalise(step, _):
                node.finals.append(step)
            case Accuse():
                node.accused.append(effect)
            case Refuse(peer):
                node.refused.append(effect)
                if peer in node.peers:
                    self.disconnect(node, self.nodes[peer])
            case Halt(reason):
                node.halted = reason

    def _assess(self, node: Node, asked: Assess) -> None:
        assert asked.contribution.base in node.known
        assert node.holds([asked.contribution]), "its payloads are held"
        node.assessed.append(asked.contribution)
        node.good[asked.digest] = asked.contribution
        self._answer(node, Assessed(asked.digest, Verdict.GOOD, is_useful=True, detail=""))

    def _offer(self, node: Node, head: StepId) -> Offered:
        """All that is good, young enough, by a worker and not yet listed, oldest first."""
        if not node.good:
            return Offered(head, (), b"", state_after(head))  # there is no use in walking down the chain
        listed = node.listed(head)
        workers = {node.who.id, *node.leaders(head)}
        height = node.steps[head].height if head in node.steps else 0
        chosen = {
            digest: one
            for digest, one in node.good.items()
            if one not in listed
            and self._age(node, one, head, height) <= self.rules.base_age_max
            and (one.author in workers or not one.attachments or not self.rules.author_window)
        }
        return Offered(head, tuple(chosen), b"", state_after(head, tuple(chosen.values())))

    @staticmethod
    def _age(node: Node, one: Contribution, head: StepId, height: int) -> int:
        """Blocks between its base and the head; at least one on another branch."""
        if one.base == head:
            return 0
        base = node.steps.get(StepId(one.base))
        return height - (0 if base is None else base.height) or 1

    def _fetch(self, node: Node, fetch: FetchAttachment) -> None:
        """Answered where both are honest; told to have failed after five seconds, like the node's shell does."""
        node.fetched.append((self.now, fetch))
        node.fetching[fetch.digest] = None
        node.fetching_max = max(node.fetching_max, len(node.fetching))
        source = self.nodes[fetch.peer]
        is_served = fetch.digest in source.records.payloads and source.is_running and not source.is_withholding
        if fetch.digest in node.records.payloads:
            self._later(0, node, lambda known: self._held(known, fetch.digest))
        elif is_served:
            self._later(PAYLOAD_MS, node, lambda known: self._held(known, fetch.digest))
        else:
            self._later(5_000, node, lambda known: self._failed(known, fetch))

    def _failed(self, node: Node, fetch: FetchAttachment) -> None:
        node.fetching.pop(fetch.digest, None)
        self.feed(node, FetchFailed(fetch.digest, fetch.peer))

    def _held(self, node: Node, digest: Digest) -> None:
        node.fetching.pop(digest, None)
        node.records.payloads[digest] = None
        self.feed(node, AttachmentHeld(digest))

    def _deliver(self, sender: Node, peer: PeerId, message: bytes) -> None:
        if peer in sender.peers:
            source, connection = sender.who.id, sender.peers[peer]
            self._later(LATENCY_MS, self.nodes[peer], lambda node: self._receive(node, source, connection, message))

    def _receive(self, node: Node, source: PeerId, connection: int, message: bytes) -> None:
        if node.peers.get(source) == connection:
            self.feed(node, Received(source, message))

    def _fire(self, node: Node, name: str, at: int) -> None:
        if node.timers.get(name) == at:
            del node.timers[name]
            self.feed(node, TimerFired(name))

    def _attempt(self, node: Node, puzzle: SolvePuzzle) -> None:
        """One nonce every ATTEMPT_MS."""
        if node.puzzle is not puzzle:
            return
        node.nonce += 1
        if is_solved(puzzle.prefix, node.nonce, puzzle.target, self.rules.puzzle_memory_kib):
            node.puzzle = None
            self.feed(node, PuzzleSolved(puzzle.prefix, node.nonce))
        else:
            self._later(ATTEMPT_MS, node, lambda known: self._attempt(known, puzzle))


def large(name: str, length: int = 100_000) -> Attachment:
    """A large payload of this name."""
    return Attachment(Digest(hashlib.blake2b(name.encode(), digest_size=32).digest()), length)


def submit(network: Network, node: Node, payload: bytes, *attachments: Attachment) -> Digest | None:
    """Our learner has found something on top of the head; its digest."""
    node.records.payloads.update(dict.fromkeys(attachment.digest for attachment in attachments))
    effects = network.feed(node, Submitted(node.machine.status.head, payload, attachments))
    return next((effect.digest for effect in effects if isinstance(effect, Assess)), None)
