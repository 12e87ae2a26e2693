"""The shape of all attacks: strangers who visit one peer after the other, and come again when they are thrown out."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from node.common.address import Address
from node.lab.faults.network.situation import Attack, NetworkSituation
from node.net.channel import ChannelClosedError
from node.net.dialer import UnreachableError
from node.net.wire import FrameError

log = logging.getLogger(__name__)

Visit = Callable[[Address], Awaitable[None]]
"""What one stranger does at one door. Being thrown out raises ChannelClosedError, FrameError, UnreachableError or OSError."""

VISIT_SECONDS_MAX = 120.0
"""A visit that leads to nothing ends: twice the time after which a peer asks another one for addresses."""


def raid(visit: Visit, situation: NetworkSituation, *, strangers: int, pause_seconds: float) -> Attack:
    """So many strangers at once, each of whom rests between two visits."""

    async def attack() -> None:
        async with asyncio.TaskGroup() as group:
            for _ in range(strangers):
                group.create_task(_wander(visit, situation, pause_seconds), name="stranger")

    return attack


async def _wander(visit: Visit, situation: NetworkSituation, pause_seconds: float) -> None:
    while True:
        for target in tuple(situation.targets()):
            await _visit_once(visit, target)
            await asyncio.sleep(pause_seconds)
        await asyncio.sleep(pause_seconds)


async def _visit_once(visit: Visit, target: Address) -> None:
    try:
        async with asyncio.timeout(VISIT_SECONDS_MAX):
            await visit(target)
    except (ChannelClosedError, FrameError, UnreachableError, OSError) as end:  # TimeoutError among them
        log.debug("a stranger's visit to %s is over: %s", target, end)
