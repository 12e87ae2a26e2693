"""Claim: over 50 ms links a leader's block commits within 3.3 link delays in the mean, and any block within 5.

With one of four members crashed it takes at most twice that. Virtual time, real machines, stubbed signatures; measured from a
block's creation to the delivery of its commit at each living member. Also: bytes of a block by the number of members.
"""

import argparse
import heapq
import sys
from collections.abc import Callable
from functools import partial
from statistics import fmean

from consensus.effects import Broadcast, Effect, Record, Send, SetTimer
from consensus.protocol import PeerJoined, PeerLeft, Received, TimerFired
from consensus.total_order.block import BLOCK_CODEC, Block
from consensus.total_order.linearizer import COMMIT_CODEC, CommitRecord
from consensus.total_order.machine import TotalOrder, TotalOrderRules
from consensus.total_order.records import COMMIT_TABLE, VERTEX_TABLE, vertex_key
from consensus.types import SIGNATURE_BYTES, Digest, Instant, NetworkId, PeerId

LINK_MS = 50

LEADER_LINKS_MAX = 3.3

ALL_LINKS_MAX = 5.0

WARM_UP_MS = 2_000

START_MS = 1_700_000_000_000

RULES = TotalOrderRules(round_interval_ms=1, idle_interval_ms=1)
"""No pause between rounds."""


class Member:
    """One machine, its disk, and the times of its commits."""

    def __init__(self, network: "Network", index: int) -> None:
        self.id = network.members[index]
        self.rows: dict[tuple[str, bytes], bytes] = {}
        self.commits: list[tuple[int, CommitRecord]] = []
        self.is_up = True
        self.timers: dict[str, int] = {}
        self.machine = TotalOrder(
            rules=RULES,
            network_id=NetworkId(bytes(32)),
            members=network.members,
            identity=self.id,
            sign=stub_sign,
            seed=self.id,
            archive=self,
            verify=stub_verify,
        )

    def value(self, table: str, key: bytes) -> bytes | None:
        """What was recorded."""
        return self.rows.get((table, key))

    def block(self, key: bytes) -> Block:
        """A recorded block."""
        return BLOCK_CODEC.decode(self.rows[VERTEX_TABLE, key])


class Network:
    """Every message takes LINK_MS; equal times in order of sending."""

    def __init__(self, size: int) -> None:
        self.now = Instant(START_MS)
        self.members = tuple(PeerId(index.to_bytes(32, "big")) for index in range(size))
        self._queue: list[tuple[int, int, Callable[[], None]]] = []
        self._pushed = 0
        self.nodes = {self.members[index]: Member(self, index) for index in range(size)}
        for node in self.nodes.values():
            self._do(node, node.machine.start(self.now))
        for node in self.nodes.values():
            for peer in self.members:
                if peer != node.id:
                    self._do(node, node.machine.handle(PeerJoined(peer), self.now))

    def run(self, duration_ms: int) -> None:
        """Let virtual time pass."""
        end = self.now + duration_ms
        while self._queue and self._queue[0][0] <= end:
            at, _, action = heapq.heappop(self._queue)
            self.now = Instant(at)
            action()
        self.now = Instant(end)

    def crash(self, node: Member) -> None:
        """Disconnect it for good."""
        node.is_up = False
        for other in self.nodes.values():
            if other.is_up:
                self._do(other, other.machine.handle(PeerLeft(node.id), self.now))

    def _later(self, delay_ms: int, action: Callable[[], None]) -> None:
        self._pushed += 1
        heapq.heappush(self._queue, (self.now + delay_ms, self._pushed, action))

    def _do(self, node: Member, effects: tuple[Effect, ...]) -> None:
        for effect in effects:
            match effect:
                case Record(table, key, value):
                    node.rows[table, key] = value
                    if table == COMMIT_TABLE:
                        node.commits.append((self.now, COMMIT_CODEC.decode(value)))
                case Send(peer, message):
                    self._later(LINK_MS, partial(self._deliver, node.id, peer, message))
                case Broadcast(message):
                    for peer in self.members:
                        if peer != node.id:
                            self._later(LINK_MS, partial(self._deliver, node.id, peer, message))
                case SetTimer(name, at):
                    node.timers[name] = at
                    self._later(max(0, at - self.now), partial(self._fire, node, name, at))
                case _:
                    pass

    def _deliver(self, source: PeerId, target: PeerId, message: bytes) -> None:
        node = self.nodes[target]
        if node.is_up and self.nodes[source].is_up:
            self._do(node, node.machine.handle(Received(source, message), self.now))

    def _fire(self, node: Member, name: str, at: int) -> None:
        if node.is_up and node.timers.get(name) == at:
            del node.timers[name]
            self._do(node, node.machine.handle(TimerFired(name), self.now))


def stub_sign(_: Digest) -> bytes:
    """No cryptography."""
    return bytes(SIGNATURE_BYTES)


def stub_verify(*_: object) -> bool:
    """No cryptography."""
    return True


def measure(size: int, crashed: int, seconds: int) -> tuple[float, float, float]:
    """Mean latency of leaders' blocks and of all blocks, in link delays; rounds a second."""
    network = Network(size)
    network.run(WARM_UP_MS)
    nodes = list(network.nodes.values())
    for node in nodes[size - crashed :]:
        network.crash(node)
    network.run(WARM_UP_MS)
    start, first = network.now, nodes[0].machine.status.round
    network.run(seconds * 1000)
    leaders: list[float] = []
    everyone: list[float] = []
    for node in nodes[: size - crashed]:
        for at, commit in node.commits:
            links = [(at - node.block(vertex_key(reference)).content.time_ms) / LINK_MS for reference in commit.references]
            if at >= start:
                everyone += links
                leaders.append(links[commit.references.index(commit.leader)])
    return fmean(leaders), fmean(everyone), (nodes[0].machine.status.round - first) / seconds


def block_bytes(size: int) -> float:
    """Mean bytes of a block without payloads."""
    network = Network(size)
    network.run(1_000)
    rows = next(iter(network.nodes.values())).rows
    return fmean(len(value) for (table, _), value in rows.items() if table == VERTEX_TABLE)


def main() -> int:
    """Print the figures; 0 when the claims hold."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=20, help="of virtual time")
    seconds = parser.parse_args().seconds
    holds = True
    for crashed, factor in ((0, 1), (1, 2)):
        leader, everyone, rate = measure(4, crashed, seconds)
        print(
            f"4 members, {crashed} crashed: leaders {leader:.2f} links (at most {LEADER_LINKS_MAX * factor:.1f}), "
            f"all blocks {everyone:.2f} (at most {ALL_LINKS_MAX * factor:.1f}), {rate:.1f} rounds a second"
        )
        holds &= leader <= LEADER_LINKS_MAX * factor and everyone <= ALL_LINKS_MAX * factor
    for size in (4, 16, 64):
        print(f"{size} members: {block_bytes(size):,.0f} bytes a block without payloads")
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main())
