"""One attacker for hostile.py: outsiders at the doors of real peers, in a process of its own under a processor quota.

    python benchmarks/hostile_attacker.py KIND NETWORK_FILE HOST:PORT [HOST:PORT ...] [--quota 0.25] [--per-second N]

It prints one line when it ends (SIGTERM): how often it did what it does, and how often it was thrown out.
"""

import argparse
import asyncio
import itertools
import secrets
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from random import Random

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from consensus.encoding import encode
from consensus.proof_of_work.messages import (
    BlockMessage,
    ContributionMessage,
)
from consensus.steps import sign_contribution
from consensus.total_order.block import Reference
from consensus.total_order.messages import BLOCKS_ASKED_MAX, GetBlocks, GetCommits
from consensus.types import NetworkId, PeerId
from node.common.address import Address
from node.lab.faults.consensus.floods import false_claim
from node.lab.faults.network.frame_attacks import MALFORMED_REQUESTS, misphrasing
from node.lab.faults.network.fresh_keys import Scout, look
from node.lab.faults.network.situation import NetworkSituation
from node.lab.faults.network.unauthenticated_client import UnauthenticatedClient, outsider_at
from node.net.channel import ChannelClosedError
from node.net.dialer import UnreachableError
from node.net.wire import Frame, FrameError, GetPart, GossipFrame, OrderingFrame
from node.rules.conversion import proof_of_work_rules
from node.rules.network_file import read_network_file
from node.rules.network_rules import NetworkRules, network_id, rule_fields

OUTSIDERS = 8
"""At each door: as many as one address may have."""

SLICE_SECONDS = 0.02
"""Processor time that may be spent ahead of the quota, so that not every frame is followed by a sleep."""

AWAY = (ChannelClosedError, FrameError, UnreachableError, OSError)
"""How a visit ends that the other side does not want."""


@dataclass
class Quota:
    """Holds this process to a share of one processor by sleeping: attackers on the victims' machine must not starve them."""

    share: float
    started: float = field(default_factory=time.monotonic)

    async def pace(self) -> None:
        """Return once the processor time spent is within the share."""
        over_s = time.process_time() - self.share * (time.monotonic() - self.started)
        await asyncio.sleep(0 if over_s <= SLICE_SECONDS else over_s / self.share)


@dataclass
class Attack:
    """What all outsiders of this process share."""

    rules: NetworkRules
    network_id: NetworkId
    targets: tuple[Address, ...]
    per_second: float
    quota: Quota
    done: int = 0
    thrown_out: int = 0
    scout: Scout = field(init=False)
    """The headers of the victims' chain; for proof of work alone."""

    def __post_init__(self) -> None:
        self.scout = Scout(self.network_id, proof_of_work_rules(self.rules))

    @property
    def situation(self) -> NetworkSituation:
        """Keys of its own for each outsider."""
        return NetworkSituation(self.network_id, rule_fields(self.rules), lambda: self.targets, Random(secrets.token_bytes(16)))


Visit = Callable[[Attack, UnauthenticatedClient], Awaitable[None]]


async def idle(attack: Attack, outsider: UnauthenticatedClient) -> None:
    """The control: an outsider that shakes hands, and answers whether it lives."""
    attack.done += 1
    await outsider.wait_for_the_end()


async def workless(attack: Attack, outsider: UnauthenticatedClient) -> None:
    """Nine signed blocks without work on the head: the key is new, so nothing is known against it."""
    if attack.scout.tip.height:
        for block in attack.scout.workless(secrets.token_bytes(32)):
            await attack.quota.pace()
            await outsider.say(GossipFrame(encode(BlockMessage(block))))
        attack.done += 1
    await listen(outsider, 2.0)


async def parts(attack: Attack, outsider: UnauthenticatedClient) -> None:
    """Asks for parts of what nobody has."""
    await repeat(attack, outsider, lambda number: GetPart(digest_of_number(number), 0))


async def requests(attack: Attack, outsider: UnauthenticatedClient) -> None:
    """Asks in turn for the first commit records, which are read, encoded and sent, and for 64 blocks that nobody has."""

    def frame(number: int) -> Frame:
        if number % 2:
            return OrderingFrame(encode(GetCommits(number, 1)))
        made_up = tuple(Reference(1 + place, 0, digest_of_number(number + place)) for place in range(BLOCKS_ASKED_MAX))
        return OrderingFrame(encode(GetBlocks(number, made_up)))

    await repeat(attack, outsider, frame)


async def contributions(attack: Attack, outsider: UnauthenticatedClient) -> None:
    """Contributions by authors that exist for one message, each with a claim that nobody can keep."""

    def frame(number: int) -> Frame:
        key = Ed25519PrivateKey.generate()
        author = PeerId(key.public_key().public_bytes_raw())
        payload = false_claim(attack.rules.evolution, number, 1_000_000 - number % 1_000)
        contribution = sign_contribution(attack.network_id, author, attack.scout.tip.id, payload, key.sign)
        return GossipFrame(encode(ContributionMessage(contribution)))

    await repeat(attack, outsider, frame)


VISITS: dict[str, tuple[Visit, bool]] = {
    "idle": (idle, False),
    "workless": (workless, True),
    "parts": (parts, False),
    "requests": (requests, False),
    "contributions": (contributions, True),
}
"""By name: what each outsider does, and whether it must know the head of a proof of work."""

DOORSTEP = "malformed-requests"
"""What is done without a handshake."""


async def repeat(attack: Attack, outsider: UnauthenticatedClient, frame: Callable[[int], Frame]) -> None:
    """Say one frame after the other at the rate of each outsider, and read whatever is answered."""
    reading = asyncio.ensure_future(outsider.wait_for_the_end())
    due = time.monotonic()
    try:
        for number in itertools.count(secrets.randbelow(2**40)):
            if reading.done():
                return
            await attack.quota.pace()
            await outsider.say(frame(number))
            attack.done += 1
            due = max(due + 1 / attack.per_second, time.monotonic() - 1)
            await asyncio.sleep(max(0.0, due - time.monotonic()))
    finally:
        reading.cancel()


async def listen(outsider: UnauthenticatedClient, seconds: float) -> None:
    """Read for a while; whoever does not read is dropped as slow."""
    try:
        async with asyncio.timeout(seconds):
            await outsider.wait_for_the_end()
    except TimeoutError:
        return


def digest_of_number(number: int) -> bytes:
    """A digest that names nothing."""
    return blake2b(b"%d" % number, digest_size=32).digest()


async def follow_chain(attack: Attack) -> None:
    """Follow the victims' headers as any newcomer does."""
    for target in itertools.cycle(attack.targets):
        try:
            async with outsider_at(target, attack.situation) as outsider:
                if await outsider.shake_hands():
                    while True:
                        await look(outsider, attack.scout)
                        await asyncio.sleep(0.5)
        except AWAY:
            attack.thrown_out += 1
        await asyncio.sleep(1)


async def visitor(attack: Attack, target: Address, visit: Visit) -> None:
    """One outsider at one door; it comes again with a new key, at its rate."""
    while True:
        begun = time.monotonic()
        await attack.quota.pace()
        try:
            async with outsider_at(target, attack.situation) as outsider:
                if await outsider.shake_hands():
                    await visit(attack, outsider)
        except AWAY:
            attack.thrown_out += 1
        await asyncio.sleep(max(0.2, begun + 1.0 - time.monotonic()))


async def knocker(attack: Attack, target: Address) -> None:
    """One that never says who it is: it writes requests that are none, at its rate."""
    while True:
        begun = time.monotonic()
        await attack.quota.pace()
        try:
            await misphrasing(target)
        except OSError:
            attack.thrown_out += 1
        attack.done += len(MALFORMED_REQUESTS)
        await asyncio.sleep(max(0.0, begun + len(MALFORMED_REQUESTS) / attack.per_second - time.monotonic()))


def comings(attack: Attack, kind: str) -> list[Coroutine[None, None, None]]:
    """What each outsider does, and a scout where one is needed."""
    doors = [target for target in attack.targets for _ in range(OUTSIDERS)]
    if kind == DOORSTEP:
        return [knocker(attack, target) for target in doors]
    visit, needs_scout = VISITS[kind]
    outsiders = [visitor(attack, target, visit) for target in doors]
    return [*outsiders, follow_chain(attack)] if needs_scout else outsiders


async def run(attack: Attack, kind: str) -> None:
    """Until SIGTERM."""
    stopping = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)
    tasks = [asyncio.ensure_future(coming) for coming in comings(attack, kind)]
    stopped = asyncio.ensure_future(stopping.wait())
    done, _ = await asyncio.wait((stopped, *tasks), return_when=asyncio.FIRST_COMPLETED)
    for task in done - {stopped}:
        task.result()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    seconds = time.monotonic() - attack.quota.started
    print(
        f"{kind}: {attack.done / seconds:.1f} a second, thrown out {attack.thrown_out} times, "
        f"{time.process_time() / seconds:.2f} of a core",
        flush=True,
    )


def main() -> int:
    """Attack until told to stop."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind", choices=sorted((*VISITS, DOORSTEP)))
    parser.add_argument("network_file", type=Path)
    parser.add_argument("targets", nargs="+")
    parser.add_argument("--quota", type=float, default=0.25, help="share of one processor")
    parser.add_argument("--per-second", type=float, default=40.0, help="of each outsider")
    given = parser.parse_args()
    rules = read_network_file(given.network_file)
    targets = tuple(Address(host, int(port)) for host, port in (text.rsplit(":", 1) for text in given.targets))
    attack = Attack(rules, network_id(rules), targets, given.per_second, Quota(given.quota))
    asyncio.run(run(attack, given.kind))
    return 0


if __name__ == "__main__":
    sys.exit(main())
