"""Strangers who ask within their budgets for what is costly to look for, to read and to send."""

import asyncio
from collections.abc import Callable
from hashlib import blake2b
from itertools import count

from consensus.encoding import encode
from consensus.proof_of_work import messages as work
from consensus.steps import genesis_step
from consensus.total_order import messages as order
from consensus.total_order.block import Reference
from consensus.types import DIGEST_BYTES
from node.common.address import Address
from node.lab.faults.network.connection_attack import Visit
from node.lab.faults.network.situation import NetworkSituation
from node.lab.faults.network.unauthenticated_client import UnauthenticatedClient, stranger_at
from node.net.wire import Frame, GetPart, OrderingFrame

ORDER_PER_SECOND, WORK_PER_SECOND = 40, 20
"""Frames of one stranger: three in four, or two in three, are requests that a machine counts; it grants 64 and 16 a second."""

Ask = Callable[[int], Frame]


def asking(situation: NetworkSituation) -> Visit:
    """Asks in turn for parts and blocks that nobody has, for the beginning of the order, and for all that is to come."""
    questions = _work_questions(situation) if situation.work_rules is not None else _order_questions()
    pause_seconds = 1 / (WORK_PER_SECOND if situation.work_rules is not None else ORDER_PER_SECOND)

    async def visit(target: Address) -> None:
        async with stranger_at(target, situation) as stranger:
            if await stranger.shake_hands():
                await _ask_all_the_time(stranger, questions, pause_seconds)

    return visit


async def _ask_all_the_time(stranger: UnauthenticatedClient, questions: tuple[Ask, ...], pause_seconds: float) -> None:
    """And read what is answered: who does not is dropped as slow. Raises ChannelClosedError."""
    reading = asyncio.create_task(stranger.wait_for_the_end())
    try:
        for number in count(1):
            await stranger.say(questions[number % len(questions)](number))
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
