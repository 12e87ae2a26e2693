"""Claim: over 50 ms links a leader's block commits within 3.3 link delays in the mean, and any block within 5.

With one of four members crashed it takes at most twice that. Virtual time, real machines, stubbed signatures; measured from a
block's creation to the delivery of its commit at each living member.
"""

import argparse
import sys
from statistics import fmean

from consensus.total_order.archive import COMMIT_TABLE, VERTEX_TABLE, vertex_key
from consensus.total_order.block import BLOCK_CODEC
from consensus.total_order.machine import TotalOrderRules
from consensus.total_order.order import COMMIT_CODEC, CommitRecord
from tests.consensus.total_order.network import Disk, Network

LINK_MS = 50

LEADER_LINKS_MAX = 3.3

ALL_LINKS_MAX = 5.0

WARM_UP_MS = 2_000

RULES = TotalOrderRules(gc_depth=60, round_interval_ms=1, idle_interval_ms=1)
"""No pause between rounds."""


class TimedDisk(Disk):
    """Remembers when each commit was recorded: at that moment it is delivered."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self._network = network
        self.commits: list[tuple[int, CommitRecord]] = []

    def write(self, table: str, key: bytes, value: bytes) -> None:
        """Note the time of a commit."""
        super().write(table, key, value)
        if table == COMMIT_TABLE:
            self.commits.append((self._network.now, COMMIT_CODEC.decode(value)))


def measure(size: int, crashed: int, seconds: int) -> tuple[float, float, float]:
    """Mean latency of leaders' blocks and of all blocks, in link delays; rounds a second."""
    network = Network(size, rules=RULES, delays=(LINK_MS, LINK_MS))
    nodes = [network.add(f"member {index}", TimedDisk(network)) for index in range(size)]
    network.run(WARM_UP_MS)
    for node in nodes[size - crashed :]:
        network.crash(node)
    network.run(WARM_UP_MS)
    start, first = network.now, nodes[0].machine.status.round
    network.run(seconds * 1000)
    leaders: list[float] = []
    everyone: list[float] = []
    for node in nodes[: size - crashed]:
        assert isinstance(node.disk, TimedDisk)
        for at, commit in node.disk.commits:
            if at < start:
                continue
            for reference in commit.references:
                block = node.disk.value(VERTEX_TABLE, vertex_key(reference))
                assert block is not None
                links = (at - BLOCK_CODEC.decode(block).content.time_ms) / LINK_MS
                everyone.append(links)
                if reference == commit.leader:
                    leaders.append(links)
    return fmean(leaders), fmean(everyone), (nodes[0].machine.status.round - first) / seconds


def bytes_per_round(size: int, seconds: int = 4) -> tuple[float, float]:
    """Bytes that one member sends to one other in a round, and commits a second."""
    network = Network(size, rules=RULES, delays=(LINK_MS, LINK_MS))
    nodes = network.add_all()
    network.run(seconds * 1000)
    status = nodes[0].machine.status
    blocks = [value for (table, _), value in nodes[0].disk.tables.items() if table == VERTEX_TABLE]
    return fmean(len(value) for value in blocks), status.commits / seconds


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
        size_bytes, commits = bytes_per_round(size, 2)
        print(f"{size} members: {size_bytes:,.0f} bytes a block without payloads, {commits:.1f} commits a second")
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main())
