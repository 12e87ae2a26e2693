"""Outsiders who use budgets up: by questions that are costly to answer, within them, and by messages of others, over them.

Who brings every message before others can, over its budget, sees to it that nobody looks at what they say.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import blake2b
from itertools import count

from consensus.encoding import encode
from consensus.proof_of_work import messages as work
from consensus.steps import genesis_step
from consensus.total_order import messages as order
from consensus.total_order.block import Reference
from consensus.types import DIGEST_BYTES
from node.common.address import Address
from node.common.bounded import RecentSet
from node.lab.faults.network.situation import NetworkSituation
from node.lab.faults.network.unauthenticated_client import UnauthenticatedClient, Visit, outsider_at
from node.net.channel import ChannelClosedError
from node.net.gossip import short_digest
from node.net.wire import Frame, GetPart, GossipFrame, Have, OrderingFrame, Want

ORDER_PER_SECOND, WORK_PER_SECOND = 40, 20
"""Frames of one outsider: three in four, or two in three, are requests that a machine counts; it grants 64 and 16 a second."""

Ask = Callable[[int], Frame]


def asking(situation: NetworkSituation) -> Visit:
    """Asks in turn for parts and blocks that nobody has, for the beginning of the order, and for all that is to come."""
    questions = _work_questions(situation) if situation.work_rules is not None else _order_questions()
    pause_seconds = 1 / (WORK_PER_SECOND if situation.work_rules is not None else ORDER_PER_SECOND)

    async def visit(target: Address) -> None:
        async with outsider_at(target, situation) as outsider:
            if await outsider.shake_hands():
                await _ask_all_the_time(outsider, questions, pause_seconds)

    return visit


async def _ask_all_the_time(outsider: UnauthenticatedClient, questions: tuple[Ask, ...], pause_seconds: float) -> None:
    """And read what is answered: who does not is dropped as slow. Raises ChannelClosedError."""
    reading = asyncio.create_task(outsider.wait_for_the_end())
    try:
        for number in count(1):
            await outsider.say(questions[number % len(questions)](number))
            await asyncio.sleep(pause_seconds)
            if reading.done():
                return
    finally:
        reading.cancel()


def _order_questions() -> tuple[Ask, ...]:
    def blocks(number: int) -> Frame:
        made_up = tuple(Reference(1 + place, 0, nothing(number + place)) for place in range(order.BLOCKS_ASKED_MAX))
        return OrderingFrame(encode(order.GetBlocks(number, made_up)))

    return (
        _part,
        lambda number: OrderingFrame(encode(order.GetCommits(number, 1))),
        blocks,
        lambda _: OrderingFrame(encode(order.Subscribe(1, wants_all=True))),
    )


def _work_questions(situation: NetworkSituation) -> tuple[Ask, ...]:
    genesis = work.Place(0, genesis_step(situation.network_id))

    def blocks(number: int) -> Frame:
        made_up = tuple(work.Place(1 + place, nothing(number + place)) for place in range(work.BLOCKS_ASKED_MAX))
        return OrderingFrame(encode(work.GetBlocks(made_up)))

    return _part, lambda _: OrderingFrame(encode(work.GetHeaders((genesis,)))), blocks


def _part(number: int) -> Frame:
    return GetPart(nothing(number), 0)


def nothing(number: int) -> bytes:
    """A digest of nothing that anybody has."""
    return blake2b(b"%d" % number, digest_size=DIGEST_BYTES).digest()


REPEATS = 64
"""Of each new message, for the target alone: what was seen is passed over by the network, but a machine counts it each time.
Under proof of work it grants 128 contributions at once, and 32 a second."""

HEARD_MAX = 1_024
"""Newest messages that are not brought twice."""

WAITING_MAX = 256
"""Of what is still to be brought to one target; the oldest is left out."""


@dataclass
class _Ring:
    """All outsiders of one attacker: what one hears all bring. An outsider's queue holds what it is still to say."""

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
        async with outsider_at(door, situation) as outsider:
            if not await outsider.shake_hands():
                return
            number = next(numbers)
            queue = ring.queues[number] = asyncio.Queue(WAITING_MAX)
            bringing = asyncio.create_task(_bring(outsider, queue))
            try:
                await _listen(outsider, ring)
            finally:
                del ring.queues[number]
                bringing.cancel()

    return visit


async def _listen(outsider: UnauthenticatedClient, ring: _Ring) -> None:
    """Ask for whatever is announced. Raises ChannelClosedError, FrameError."""
    while True:
        match await outsider.channel.receive():
            case GossipFrame(message):
                ring.pass_round(message)
            case Have(digests):
                wanted = tuple(digest for digest in digests if digest not in ring.heard)
                if wanted:
                    await outsider.say(Want(wanted))
            case _:
                pass


async def _bring(outsider: UnauthenticatedClient, queue: "asyncio.Queue[bytes]") -> None:
    with suppress(ChannelClosedError):  # whoever listens notices, too
        while True:
            message = await queue.get()
            await outsider.say(GossipFrame(message))
            for _ in range(REPEATS):
                await outsider.say(OrderingFrame(message))
