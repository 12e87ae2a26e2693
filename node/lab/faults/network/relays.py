"""Strangers who bring every message before others can, over their budgets, so that nobody looks at what they say."""

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field

from node.common.address import Address
from node.common.bounded import RecentSet
from node.lab.faults.network.connection_attack import Visit
from node.lab.faults.network.situation import NetworkSituation
from node.lab.faults.network.unauthenticated_client import UnauthenticatedClient, stranger_at
from node.net.channel import ChannelClosedError
from node.net.gossip import short_digest
from node.net.wire import GossipFrame, Have, OrderingFrame, Want

REPEATS = 64
"""Of each new message, for the target alone: what was seen is passed over by the network, but a machine counts it each time.
Under proof of work it grants 128 contributions at once, and 32 a second."""

HEARD_MAX = 1_024
"""Newest messages that are not brought twice."""

WAITING_MAX = 256
"""Of what is still to be brought to one target; the oldest is left out."""


@dataclass
class _Ring:
    """All strangers of one attacker: what one hears all bring. A stranger's queue holds what it is still to say."""

    heard: RecentSet[bytes] = field(default_factory=lambda: RecentSet(HEARD_MAX))
    queues: dict[int, "asyncio.Queue[bytes]"] = field(default_factory=dict)

    def pass_round(self, message: bytes) -> None:
        digest = short_digest(message)
        if not self.heard.add(digest):
            return
        for queue in self.queues.values():
            if not queue.full():
                queue.put_nowait(message)


def relaying_first(situation: NetworkSituation) -> Visit:
    """Pushes what it hears, whole and at once, where honest peers announce it and wait to be asked; and says it over and over.

    Who counts a message as seen that it has not looked at keeps it from itself. Source: the relay that withholds by being
    first (Gervais, Ritzdorf, Karame, Capkun, "Tampering with the Delivery of Blocks and Transactions in Bitcoin", CCS 2015).
    """
    ring = _Ring()
    numbers = iter(range(2**62))

    async def visit(target: Address) -> None:
        door = situation.random.choice(tuple(situation.targets()) or (target,))
        async with stranger_at(door, situation) as stranger:
            if not await stranger.shake_hands():
                return
            number = next(numbers)
            queue = ring.queues[number] = asyncio.Queue(WAITING_MAX)
            bringing = asyncio.create_task(_bring(stranger, queue))
            try:
                await _listen(stranger, ring)
            finally:
                del ring.queues[number]
                bringing.cancel()

    return visit


async def _listen(stranger: UnauthenticatedClient, ring: _Ring) -> None:
    """Ask for whatever is announced. Raises ChannelClosedError, FrameError."""
    while True:
        match await stranger.channel.receive():
            case GossipFrame(message):
                ring.pass_round(message)
            case Have(digests):
                wanted = tuple(digest for digest in digests if digest not in ring.heard)
                if wanted:
                    await stranger.say(Want(wanted))
            case _:
                pass


async def _bring(stranger: UnauthenticatedClient, queue: "asyncio.Queue[bytes]") -> None:
    with suppress(ChannelClosedError):  # whoever listens notices, too
        while True:
            message = await queue.get()
            await stranger.say(GossipFrame(message))
            for _ in range(REPEATS):
                await stranger.say(OrderingFrame(message))
