"""Strangers who listen, too: each opens a door of its own, and names all of them to whoever asks for addresses."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

from aiohttp import web

from node.common.address import Address
from node.lab.faults.network.situation import NetworkSituation
from node.lab.faults.network.unauthenticated_client import HEARTBEAT_SECONDS, UnauthenticatedClient, stranger_on
from node.net.channel import MESSAGE_SIZE_SETTING, ChannelClosedError
from node.net.handshake import Role
from node.net.wire import ADDRESSES_MAX, Addresses, FrameError, GetAddresses

CLOSE_SECONDS_MAX = 1.0
"""The strangers' doors do not wait for those who stand in them."""

Doors = dict[Address, None]
"""Those of all strangers of one attacker that are open."""

Welcome = Callable[[UnauthenticatedClient], Awaitable[None]]
"""What is done with whoever dials. May raise ChannelClosedError, FrameError: the other side has hung up."""


@asynccontextmanager
async def door(stranger: UnauthenticatedClient, doors: Doors, welcome: Welcome) -> AsyncIterator[int]:
    """Listens where this stranger lives, at the port that it yields; its address is among the doors meanwhile."""
    host: str = stranger.web_socket.get_extra_info("sockname")[0]

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        return await _answer(request, stranger.situation, welcome)

    server = web.Server(answer, access_log=None)
    runner = web.ServerRunner(server, shutdown_timeout=CLOSE_SECONDS_MAX)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, 0).start()
        address = Address(*runner.addresses[0][:2])
        doors[address] = None
        yield address.port
        del doors[address]
    finally:
        await runner.cleanup()


async def name_doors(stranger: UnauthenticatedClient, doors: Doors) -> None:
    """As often as anybody asks. Raises ChannelClosedError, FrameError."""
    while True:
        if isinstance(await stranger.channel.receive(), GetAddresses):
            await stranger.say(Addresses(tuple(doors)[:ADDRESSES_MAX]))


async def _answer(request: web.BaseRequest, situation: NetworkSituation, welcome: Welcome) -> web.StreamResponse:
    """Whoever dials meets a stranger with a new key."""
    web_socket = web.WebSocketResponse(
        heartbeat=HEARTBEAT_SECONDS, max_msg_size=MESSAGE_SIZE_SETTING, compress=False, autoping=False
    )
    await web_socket.prepare(request)
    async with stranger_on(web_socket, Role.LISTENER, situation) as stranger:
        with suppress(ChannelClosedError, FrameError):
            await welcome(stranger)
    return web_socket
