"""Outsiders who listen, too: each opens a door of its own, and names all of them to whoever asks for addresses.

Whoever is connected to them alone sees what they show. And they say other peers' Hellos, their own victim's first of all, and
hold no key to prove them.
"""

import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

from aiohttp import web

from consensus.types import KEY_BYTES, SIGNATURE_BYTES
from node.common.address import Address
from node.lab.faults.network.situation import NetworkSituation
from node.lab.faults.network.unauthenticated_client import (
    HEARTBEAT_SECONDS,
    UnauthenticatedClient,
    Visit,
    outsider_at,
    outsider_on,
)
from node.net.channel import MESSAGE_SIZE_SETTING, ChannelClosedError
from node.net.handshake import Role, public_nonce
from node.net.wire import ADDRESSES_MAX, PROTOCOL_VERSION, Addresses, FrameError, GetAddresses, Hello, Proof, encode_frame

CLOSE_SECONDS_MAX = 1.0
"""The outsiders' doors do not wait for those who stand in them."""

Doors = dict[Address, None]
"""Those of all outsiders of one attacker that are open."""

Welcome = Callable[[UnauthenticatedClient], Awaitable[None]]
"""What is done with whoever dials. May raise ChannelClosedError, FrameError: the other side has hung up."""


@asynccontextmanager
async def door(outsider: UnauthenticatedClient, doors: Doors, welcome: Welcome) -> AsyncIterator[int]:
    """Listens where this outsider lives, at the port that it yields; its address is among the doors meanwhile."""
    host: str = outsider.web_socket.get_extra_info("sockname")[0]

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        return await _answer(request, outsider.situation, welcome)

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


async def name_doors(outsider: UnauthenticatedClient, doors: Doors) -> None:
    """As often as anybody asks. Raises ChannelClosedError, FrameError."""
    while True:
        if isinstance(await outsider.channel.receive(), GetAddresses):
            await outsider.say(Addresses(tuple(doors)[:ADDRESSES_MAX]))


async def _answer(request: web.BaseRequest, situation: NetworkSituation, welcome: Welcome) -> web.StreamResponse:
    """Whoever dials meets an outsider with a new key."""
    web_socket = web.WebSocketResponse(
        heartbeat=HEARTBEAT_SECONDS, max_msg_size=MESSAGE_SIZE_SETTING, compress=False, autoping=False
    )
    await web_socket.prepare(request)
    async with outsider_on(web_socket, Role.LISTENER, situation) as outsider:
        with suppress(ChannelClosedError, FrameError):
            await welcome(outsider)
    return web_socket


def eclipsing(situation: NetworkSituation) -> Visit:
    """Each outsider takes a place, and opens a door of its own where it waits for the other side's dial.

    To be eclipsed is to have none but the attacker's connections, inbound and outbound. Source: Heilman, Kendler, Zohar,
    Goldberg, "Eclipse Attacks on Bitcoin's Peer-to-Peer Network", USENIX Security 2015.
    """
    doors: Doors = {}

    async def visit(target: Address) -> None:
        async with outsider_at(target, situation) as outsider, door(outsider, doors, stay) as port:
            await _stay(outsider, doors, port)

    async def stay(outsider: UnauthenticatedClient) -> None:
        await _stay(outsider, doors, 0)

    return visit


async def _stay(outsider: UnauthenticatedClient, doors: Doors, port: int) -> None:
    """Behave, and name the outsiders' doors to whoever asks. Raises ChannelClosedError, FrameError."""
    if await outsider.shake_hands(listening_port=port):
        await name_doors(outsider, doors)


log = logging.getLogger(__name__)

FALSE_PROOF = Proof(bytes(SIGNATURE_BYTES))


@dataclass
class _Names:
    """Keys that were heard at doors, in the order in which they were met."""

    met: dict[bytes, None] = field(default_factory=dict)


def borrowing_names(situation: NetworkSituation) -> Visit:
    """Knocks everywhere under the name of somebody met before, a member or the target itself; then, by a name of its own, tells
    where it listens, and answers each dial with the dialler's own Hello.

    Who believes a Hello takes an outsider for a member, or another's address for its own. Source: reflection (Bird, Gopal,
    Herzberg, Janson, Kutten, Molva, Yung, "Systematic Design of Two-Party Authentication Protocols", CRYPTO 1991).
    """
    names, doors = _Names(), Doors()

    async def visit(target: Address) -> None:
        for place in (*situation.targets(), target):
            async with outsider_at(place, situation) as impostor:
                await _borrow(impostor, names)
        async with outsider_at(target, situation) as outsider, door(outsider, doors, _mirror) as port:
            if await outsider.shake_hands(listening_port=port):
                await name_doors(outsider, doors)

    return visit


async def _borrow(impostor: UnauthenticatedClient, names: _Names) -> None:
    """Introduce ourselves as one of those met. Raises ChannelClosedError, FrameError."""
    random = impostor.situation.random
    name = random.choice(tuple(names.met)) if names.met else random.randbytes(KEY_BYTES)
    nonce = public_nonce(random.randbytes(KEY_BYTES))
    hello = Hello(PROTOCOL_VERSION, impostor.situation.network_id, name, nonce, 0, "outsider")
    await impostor.channel.send(encode_frame(hello))
    answer = await impostor.channel.receive()
    if isinstance(answer, Hello):
        names.met[answer.key] = None
    await impostor.channel.send(encode_frame(FALSE_PROOF))
    log.debug("said to be %s", name.hex()[:8])
    await impostor.wait_for_the_end()


async def _mirror(outsider: UnauthenticatedClient) -> None:
    """Whoever dials hears its own Hello, and a proof that is none. Raises ChannelClosedError, FrameError."""
    hello = await outsider.channel.receive()
    if isinstance(hello, Hello):
        await outsider.channel.send(encode_frame(hello))
        await outsider.channel.send(encode_frame(FALSE_PROOF))
        log.debug("answered with the dialler's own hello")
    await outsider.wait_for_the_end()
