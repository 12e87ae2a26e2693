"""Strangers who behave, listen, and name none but each other: whoever is connected to them alone sees what they show."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial

from aiohttp import web

from node.faults.network.raid import Visit
from node.faults.network.situation import NetworkSituation
from node.faults.network.stranger import HEARTBEAT_SECONDS, Stranger, stranger_at, stranger_on
from node.net.channel import MESSAGE_SIZE_SETTING, ChannelClosedError
from node.net.handshake import Role
from node.net.peers import Address
from node.net.wire import ADDRESSES_MAX, Addresses, FrameError, GetAddresses

CLOSE_SECONDS_MAX = 1.0
"""The strangers' doors do not wait for those who stand in them."""


def eclipsing(situation: NetworkSituation) -> Visit:
    """Each stranger takes a place, and opens a door of its own where it waits for the other side's dial.

    To be eclipsed is to have none but the attacker's connections, inbound and outbound. Source: Heilman, Kendler, Zohar,
    Goldberg, "Eclipse Attacks on Bitcoin's Peer-to-Peer Network", USENIX Security 2015.
    """
    doors: dict[Address, None] = {}

    async def visit(target: Address) -> None:
        async with stranger_at(target, situation) as stranger:
            host: str = stranger.web_socket.get_extra_info("sockname")[0]
            async with _door(host, situation, doors) as port:
                await _stay(stranger, doors, port)

    return visit


@asynccontextmanager
async def _door(host: str, situation: NetworkSituation, doors: dict[Address, None]) -> AsyncIterator[int]:
    """Listens; its address is among the doors meanwhile."""
    server = web.Server(partial(_welcome, situation, doors), access_log=None)
    runner = web.ServerRunner(server, shutdown_timeout=CLOSE_SECONDS_MAX)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, 0).start()
        door = Address(*runner.addresses[0][:2])
        doors[door] = None
        yield door.port
        del doors[door]
    finally:
        await runner.cleanup()


async def _welcome(situation: NetworkSituation, doors: dict[Address, None], request: web.BaseRequest) -> web.StreamResponse:
    """Whoever dials meets a stranger with a new key."""
    web_socket = web.WebSocketResponse(
        heartbeat=HEARTBEAT_SECONDS, max_msg_size=MESSAGE_SIZE_SETTING, compress=False, autoping=False
    )
    await web_socket.prepare(request)
    async with stranger_on(web_socket, Role.LISTENER, situation) as stranger:
        with suppress(ChannelClosedError, FrameError):  # the other side has hung up
            await _stay(stranger, doors, 0)
    return web_socket


async def _stay(stranger: Stranger, doors: dict[Address, None], port: int) -> None:
    """Behave, and name the strangers' doors to whoever asks. Raises ChannelClosedError, FrameError."""
    if not await stranger.shake_hands(listening_port=port):
        return
    while True:
        if isinstance(await stranger.channel.receive(), GetAddresses):
            await stranger.say(Addresses(tuple(doors)[:ADDRESSES_MAX]))
