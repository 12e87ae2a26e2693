"""Claim: the total-order machine takes at least 2,000 blocks a second on one core in a committee of 64, in flat memory.

The machine's own code alone: decoding, digests, the graph, commits, its own blocks. Signatures are stubbed, records dropped.
"""

import argparse
import resource
import sys
import time

from consensus.effects import Broadcast, Deliver, Effect
from consensus.encoding import encode
from consensus.protocol import PeerJoined, Received
from consensus.steps import genesis_step
from consensus.total_order.block import CommitMark, Content, Reference, genesis_references, sign_block
from consensus.total_order.committee import Committee
from consensus.total_order.machine import TotalOrder, TotalOrderRules
from consensus.total_order.messages import MESSAGE_CODEC, BlockMessage, OwnNewest
from consensus.types import SIGNATURE_BYTES, Digest, Instant, NetworkId, PeerId

BLOCKS_PER_SECOND_MIN = 2_000

MEMORY_GROWTH_MIB_MAX = 16.0
"""Between the first third and the end: noise of the allocator, not a leak of a kilobyte a round."""

NETWORK = NetworkId(bytes(32))
START_MS = 1_700_000_000_000


class Nowhere:
    """An archive that holds nothing."""

    def value(self, table: str, key: bytes) -> bytes | None:
        """Nobody lags here, so nobody asks."""
        raise AssertionError(f"asked for {table} {key.hex()}")


def stub_sign(_: Digest) -> bytes:
    """No cryptography."""
    return bytes(SIGNATURE_BYTES)


def stub_verify(*_: object) -> bool:
    """No cryptography."""
    return True


class Run:
    """Member 0 is the machine; the others are made up round by round, each on top of all blocks of the round before."""

    def __init__(self, size: int) -> None:
        self.members = tuple(PeerId(index.to_bytes(32, "big")) for index in range(size))
        self.machine = TotalOrder(
            rules=TotalOrderRules(round_interval_ms=1, idle_interval_ms=1),
            network_id=NETWORK,
            members=self.members,
            identity=self.members[0],
            sign=stub_sign,
            seed=b"benchmark",
            archive=Nowhere(),
            verify=stub_verify,
        )
        self.now = Instant(START_MS)
        self.seconds = 0.0
        self.blocks = 0
        self.commits = 0
        self.own: Reference | None = None
        self._take(self.machine.start(self.now))
        for peer in self.members[1:]:
            self._take(self.machine.handle(PeerJoined(peer), self.now))
        for peer in self.members[1:]:
            answer = encode(OwnNewest(START_MS, None))
            self._take(self.machine.handle(Received(peer, answer), self.now))

    def round(self, number: int, before: tuple[Reference, ...]) -> tuple[Reference, ...]:
        """Feed one round; its references."""
        messages, references = self._others(number, before)
        start = time.process_time()
        for peer, message in messages:
            self._take(self.machine.handle(Received(peer, message), self.now))
        self.seconds += time.process_time() - start
        self.blocks += len(messages) + 1
        self.now = Instant(self.now + 50)
        assert self.own is not None
        assert self.own.round == number, f"our own block is of round {self.own.round}, not {number}"
        return (self.own, *references)

    def _others(self, number: int, before: tuple[Reference, ...]) -> tuple[list[tuple[PeerId, bytes]], list[Reference]]:
        messages: list[tuple[PeerId, bytes]] = []
        references: list[Reference] = []
        for author in range(1, len(self.members)):
            parents = (before[author], *before[:author], *before[author + 1 :])
            mark = CommitMark(0, genesis_step(NETWORK))
            content = Content(author, number, parents, (), (), self.now, mark, None)
            digest, block = sign_block(NETWORK, content, stub_sign)
            messages.append((self.members[author], encode(BlockMessage(block))))
            references.append(Reference(number, author, digest))
        return messages, references

    def _take(self, effects: tuple[Effect, ...]) -> None:
        for effect in effects:
            if isinstance(effect, Broadcast):
                self._note_own(effect.message)
            elif isinstance(effect, Deliver):
                self.commits += 1

    def _note_own(self, message: bytes) -> None:
        decoded = MESSAGE_CODEC.decode(message)
        if isinstance(decoded, BlockMessage):
            content = decoded.block.content
            digest, _ = sign_block(NETWORK, content, stub_sign)
            self.own = Reference(content.round, 0, digest)


def resident_mib() -> float:
    """The most that was ever held, MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> int:
    """Print the figures; 0 when the claim holds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--members", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=600)
    arguments = parser.parse_args()
    run = Run(arguments.members)
    before = genesis_references(NETWORK, Committee(run.members))
    early = 0.0
    for number in range(1, arguments.rounds + 1):
        before = run.round(number, before)
        if number == arguments.rounds // 3:
            early = resident_mib()
    rate = run.blocks / run.seconds
    growth = resident_mib() - early
    print(f"members {arguments.members}, rounds {arguments.rounds}, commits {run.commits}")
    print(
        f"{rate:,.0f} blocks a second (at least {BLOCKS_PER_SECOND_MIN:,}), "
        f"{1000 * run.seconds / arguments.rounds:.2f} ms a round"
    )
    print(f"memory {resident_mib():.0f} MiB, {growth:+.1f} MiB since a third of the run (at most {MEMORY_GROWTH_MIB_MAX:.0f})")
    return 0 if rate >= BLOCKS_PER_SECOND_MIN and growth <= MEMORY_GROWTH_MIB_MAX else 1


if __name__ == "__main__":
    sys.exit(main())
