"""Members and observers in memory and virtual time: real machines, seeded delays, crashes, disks that can be put back."""

import hashlib
import heapq
import itertools
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial

from consensus.effects import (
    Accusation,
    Accuse,
    Broadcast,
    Deliver,
    Effect,
    FetchAttachment,
    FetchState,
    Guard,
    Halt,
    KeepAttachments,
    PassOver,
    Record,
    Refuse,
    ReleaseAttachments,
    Restore,
    Send,
    SetTimer,
)
from consensus.encoding import encode, is_signed_by
from consensus.protocol import (
    AttachmentHeld,
    FetchFailed,
    Input,
    PeerJoined,
    PeerLeft,
    Received,
    StateHeld,
    Submitted,
    TimerFired,
)
from consensus.steps import DeliveredStep, genesis_step
from consensus.total_order.block import BLOCK_CODEC
from consensus.total_order.machine import TotalOrder, TotalOrderRules
from consensus.total_order.messages import MESSAGE_CODEC, Message
from consensus.total_order.records import VERTEX_TABLE
from consensus.types import Instant, PeerId, StepId
from tests.consensus.total_order.forge import NETWORK, START_MS, people, person, stub_sign, stub_verify

RULES = TotalOrderRules(gc_depth=20, round_interval_ms=1, idle_interval_ms=50, delta_ms_min=100, delta_ms_max=2_000)

PAYLOAD_MS = 40
"""How long a large payload is under way."""

WITHHELD_MS = 5_000
"""How long who waits for a part that does not come."""


class Disk:
    """A dictionary in the part of the store."""

    def __init__(self) -> None:
        self.tables: dict[tuple[str, bytes], bytes] = {}

    def write(self, table: str, key: bytes, value: bytes) -> None:
        self.tables[table, key] = value

    def rows(self) -> Iterable[tuple[str, bytes, bytes]]:
        return [(table, key, value) for (table, key), value in sorted(self.tables.items())]

    def value(self, table: str, key: bytes) -> bytes | None:
        return self.tables.get((table, key))

    def copy(self) -> "Disk":
        other = Disk()
        other.tables = dict(self.tables)
        return other


@dataclass
class Node:
    """One peer and what has become of its effects."""

    name: str
    id: PeerId
    machine: TotalOrder
    disk: Disk
    guard: int = 0
    peers: set[PeerId] = field(default_factory=set)
    steps: list[DeliveredStep] = field(default_factory=list)
    """All lives together; a restart delivers only what the learner has lost."""
    refused: list[Refuse] = field(default_factory=list)
    accused: list[Accusation] = field(default_factory=list)
    halted: str | None = None
    timers: dict[str, int] = field(default_factory=dict)
    is_up: bool = True
    incarnation: int = 0
    fetched: list[FetchAttachment] = field(default_factory=list)
    states: list[FetchState] = field(default_factory=list)
    restored: list[Restore] = field(default_factory=list)


Filter = Callable[["Node", PeerId, bytes], bytes | None]
"""What a faulty sender's message to a receiver becomes; None: it is lost."""


class Network:
    """Everything in order of virtual time; equal times in order of sending."""

    def __init__(
        self, size: int, *, rules: TotalOrderRules = RULES, seed: int = 0, delays: tuple[int, int] = (5, 25), **more: object
    ) -> None:
        self.rules = rules
        self.delays = delays
        self.more = more
        self.is_real = bool(more.pop("is_real", False))
        self.now = Instant(START_MS)
        self.random = random.Random(seed)
        self.members = tuple(member.id for member in people(size))
        self.nodes: dict[PeerId, Node] = {}
        self.groups: dict[PeerId, int] = {}
        self.filters: dict[PeerId, Filter] = {}
        self.signed: dict[tuple[PeerId, int], set[bytes]] = {}
        """By member and round: the digests that it has ever sent out."""
        self.payloads: dict[bytes, set[PeerId]] = {}
        """Who holds a large payload."""
        self.favoured: dict[PeerId, set[PeerId]] = {}
        """By liar: the only ones that it gives large payloads to at once. The others wait for them."""
        self.slow_ms: int | None = None
        """After so long those get them, too."""
        self.clock_skew: dict[PeerId, int] = {}
        self.trace = hashlib.blake2b()
        self.puppets: dict[PeerId, Callable[[PeerId, Message], None]] = {}
        """Members without a machine: what each does with a message."""
        self._queue: list[tuple[int, int, Callable[[], None]]] = []
        self._sent = 0

    # --- who is there ---

    def add_member(self, index: int) -> Node:
        return self.add(f"member {index}")

    def add_all(self) -> list[Node]:
        return [self.add_member(index) for index in range(len(self.members))]

    def add(self, name: str, disk: Disk | None = None, guard: int = 0, replay_from: StepId | None = None) -> Node:
        who = person(name)
        disk = disk or Disk()
        old = self.nodes.get(who.id)
        node = Node(name, who.id, self._machine(name, disk, guard, replay_from), disk, guard)
        if old is not None:
            node.steps, node.accused, node.incarnation = old.steps, old.accused, old.incarnation + 1
        self.nodes[who.id] = node
        self._carry_out(node, node.machine.start(self._clock(node)))
        for other in list(self.nodes.values()):
            if other is not node and self.are_connected(node, other):
                self.link(node, other)
        for puppet in self.puppets:
            node.peers.add(puppet)
            self.feed(node, PeerJoined(puppet))
        return node

    def add_puppet(self, index: int, take: Callable[[PeerId, Message], None]) -> PeerId:
        """A member that does what a test likes; connected to everybody, never disconnected but by refusal."""
        puppet = self.members[index]
        self.puppets[puppet] = take
        for node in list(self.nodes.values()):
            node.peers.add(puppet)
            self.feed(node, PeerJoined(puppet))
        return puppet

    def puppet_send(self, puppet: PeerId, node: Node, message: Message) -> None:
        self.later(self.random.randint(*self.delays), node, partial(self._receive, node, puppet, encode(message)))

    def _machine(self, name: str, disk: Disk, guard: int, replay_from: StepId | None) -> TotalOrder:
        who = person(name)
        more: dict[str, object] = {"sign": who.sign, "verify": is_signed_by}
        if not self.is_real:
            more = {"sign": stub_sign(who.id), "verify": stub_verify}
        return TotalOrder(
            rules=self.rules,
            network_id=NETWORK,
            members=self.members,
            identity=who.id,
            seed=name.encode(),
            records=disk.rows(),
            archive=disk,
            guard_round=guard,
            replay_from=replay_from,
            **(more | self.more),  # type: ignore[arg-type]
        )

    def crash(self, node: Node) -> None:
        """Only its records stay."""
        for peer in list(node.peers):
            if peer in self.nodes:
                self.unlink(node, self.nodes[peer])
        node.is_up = False
        node.incarnation += 1

    def restart(self, node: Node, disk: Disk | None = None, guard: int | None = None) -> Node:
        """From its own disk, or another; the learner keeps all that it was delivered."""
        last = node.steps[-1].id if node.steps and disk is None else None
        if disk is not None:
            node.steps = []
        return self.add(node.name, disk or node.disk, node.guard if guard is None else guard, last)

    # --- links ---

    def are_connected(self, one: Node, other: Node) -> bool:
        return one.is_up and other.is_up and self.groups.get(one.id) == self.groups.get(other.id)

    def split(self, *groups: Iterable[Node]) -> None:
        self._regroup({node.id: number for number, group in enumerate(groups) for node in group})

    def heal(self) -> None:
        self._regroup({})

    def _regroup(self, groups: dict[PeerId, int]) -> None:
        self.groups = groups
        nodes = list(self.nodes.values())
        for one in nodes:
            for other in nodes:
                if one.id < other.id:
                    is_linked = other.id in one.peers
                    if is_linked and not self.are_connected(one, other):
                        self.unlink(one, other)
                    elif not is_linked and self.are_connected(one, other):
                        self.link(one, other)

    def link(self, one: Node, other: Node) -> None:
        for node, peer in ((one, other), (other, one)):
            node.peers.add(peer.id)
            self.feed(node, PeerJoined(peer.id))

    def unlink(self, one: Node, other: Node) -> None:
        for node, peer in ((one, other), (other, one)):
            node.peers.discard(peer.id)
            self.feed(node, PeerLeft(peer.id))

    # --- time ---

    def run(self, duration_ms: int) -> None:
        end = self.now + duration_ms
        while self._queue and self._queue[0][0] <= end:
            at, _, action = heapq.heappop(self._queue)
            self.now = Instant(at)
            action()
        self.now = Instant(end)

    def run_until(self, is_done: Callable[[], bool], limit_ms: int) -> None:
        end = self.now + limit_ms
        while not is_done():
            assert self.now < end, f"the network did not get there in {limit_ms} ms"
            self.run(50)

    def later(self, delay_ms: int, node: Node, action: Callable[[], None]) -> None:
        self._push(delay_ms, partial(self._if_alive, node, node.incarnation, action))

    def _push(self, delay_ms: int, action: Callable[[], None]) -> None:
        self._sent += 1
        heapq.heappush(self._queue, (self.now + delay_ms, self._sent, action))

    def _if_alive(self, node: Node, incarnation: int, action: Callable[[], None]) -> None:
        if self.nodes[node.id] is node and node.is_up and node.incarnation == incarnation and node.halted is None:
            action()

    def _clock(self, node: Node) -> Instant:
        return Instant(self.now + self.clock_skew.get(node.id, 0))

    # --- effects ---

    def feed(self, node: Node, event: Input) -> tuple[Effect, ...]:
        if not node.is_up or node.halted is not None:
            return ()
        effects = node.machine.handle(event, self._clock(node))
        self._carry_out(node, effects)
        return effects

    def say(self, source: PeerId, target: Node, message: Message | bytes) -> tuple[Effect, ...]:
        """Hand a message to a node at once, as if `source`, which is connected, had sent it."""
        return self.feed(target, Received(source, message if isinstance(message, bytes) else encode(message)))

    def submit(self, node: Node, payload: bytes, **more: object) -> None:
        base = node.steps[-1].id if node.steps else genesis_step(NETWORK)
        self.feed(node, Submitted(base, payload, **more))  # type: ignore[arg-type]

    def _carry_out(self, node: Node, effects: tuple[Effect, ...]) -> None:
        for effect in effects:
            self.trace.update(repr((self.now, node.id, effect)).encode())
            self._carry_out_one(node, effect)

    def _carry_out_one(self, node: Node, effect: Effect) -> None:
        match effect:
            case Record(table, key, value):
                node.disk.write(table, key, value)
                self._note_signed(node, table, key, value)
            case Guard(round_number):
                assert round_number > node.guard, "the guard only moves up"
                node.guard = round_number
            case Send(peer, message):
                self._send(node, peer, message)
            case Broadcast(message):
                for peer in self.members:
                    self._send(node, peer, message)
            case SetTimer(name, at):
                node.timers[name] = at
                self.later(max(0, at - self._clock(node)), node, partial(self._fire, node, name, at))
            case Deliver(step):
                node.steps.append(step)
            case FetchAttachment(digest, _, peer):
                node.fetched.append(effect)
                holders = self.payloads.get(digest, ())
                if node.id in holders:
                    self.feed(node, AttachmentHeld(digest))
                elif peer in holders and node.id in self.favoured.get(peer, {node.id}):
                    self.later(PAYLOAD_MS, node, lambda: self._held(node, digest))
                else:
                    failed = FetchFailed(digest, peer)
                    self.later(
                        WITHHELD_MS if peer in self.favoured else PAYLOAD_MS, node, lambda: (self.feed(node, failed), None)[1]
                    )
            case KeepAttachments() | ReleaseAttachments():
                pass
            case FetchState(step):
                node.states.append(effect)
                self.later(PAYLOAD_MS, node, lambda: (self.feed(node, StateHeld(step, b"")), None)[1])
            case Restore():
                node.restored.append(effect)
            case Accuse(accusation):
                node.accused.append(accusation)
            case Refuse(peer):
                node.refused.append(effect)
                if peer in self.puppets:
                    node.peers.discard(peer)
                elif peer in node.peers:
                    self.unlink(node, self.nodes[peer])
            case Halt(reason):
                node.halted = reason
            case PassOver():
                pass  # nobody floods here: every message comes from each member by itself
            case _:
                raise AssertionError(f"total order has no use for {effect}")

    def _held(self, node: Node, digest: bytes) -> None:
        self.payloads[digest].add(node.id)
        self.feed(node, AttachmentHeld(digest))  # type: ignore[arg-type]

    def _note_signed(self, node: Node, table: str, key: bytes, value: bytes) -> None:
        if table == VERTEX_TABLE and node.id in self.members:
            content = BLOCK_CODEC.decode(value).content
            if self.members[content.author] == node.id:
                self.signed.setdefault((node.id, content.round), set()).add(key)

    def _send(self, node: Node, peer: PeerId, message: bytes) -> None:
        if peer not in node.peers:
            return
        change = self.filters.get(node.id)
        changed = message if change is None else change(node, peer, message)
        if changed is None:
            return
        delay_ms = self.random.randint(*self.delays)
        if peer in self.puppets:
            self._push(delay_ms, lambda: self.puppets[peer](node.id, read(changed)))
            return
        receiver = self.nodes[peer]
        self.later(delay_ms, receiver, partial(self._receive, receiver, node.id, changed))

    def _receive(self, node: Node, source: PeerId, message: bytes) -> None:
        if source in node.peers:
            self.feed(node, Received(source, message))

    def _fire(self, node: Node, name: str, at: int) -> None:
        if node.timers.get(name) == at:
            del node.timers[name]
            self.feed(node, TimerFired(name))


def assert_agreement(nodes: Iterable[Node]) -> None:
    """Every pair of delivered sequences is prefix-equal, chained, and without a second block of one author and round."""
    chains = [node.steps for node in nodes]
    longest = max(chains, key=len)
    for steps in chains:
        heights = {step.height: step for step in steps}
        for step in longest:
            if step.height in heights:
                assert heights[step.height] == step
        for earlier, later in itertools.pairwise(steps):
            assert later.parent == earlier.id
            assert later.height == earlier.height + 1
            assert later.time_ms >= earlier.time_ms


def assert_honest(network: Network, nodes: Iterable[Node]) -> None:
    """None of them has signed two blocks for one round, was accused, or has halted."""
    honest = {node.id for node in nodes}
    for (member, number), digests in network.signed.items():
        assert member not in honest or len(digests) == 1, f"two blocks for round {number}"
    for node in nodes:
        assert node.halted is None
        assert not {accusation.accused for accusation in node.accused} & honest
        assert not {refuse.peer for refuse in node.refused} & honest


def read(message: bytes) -> Message:
    return MESSAGE_CODEC.decode(message)


def payloads(node: Node) -> list[bytes]:
    return [item.payload for step in node.steps for item in step.items]
