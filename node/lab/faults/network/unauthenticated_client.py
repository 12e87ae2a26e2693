"""A outsider at peers' doors: the node's own channel and handshake, with a key that was made up a moment ago.

It visits one peer after the other, and comes again when it is thrown out.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from consensus.types import NetworkId, PeerId
from node.common.address import Address
from node.lab.faults.network.situation import Attack, NetworkSituation
from node.net.channel import BytesCounted, Channel, ChannelClosedError, WebSocket
from node.net.dialer import UnreachableError, client_session, open_web_socket
from node.net.handshake import Established, Handshake, Introduction, Role
from node.net.rates import Meter, RateLimits
from node.net.wire import Frame, FrameError, encode_frame

HEARTBEAT_SECONDS = 30.0
"""Outsiders answer when they are asked whether they live: they are evil, not absent."""

HANDSHAKE_SECONDS_MAX = 5.0
"""A target that does not answer in time is tried again later."""

_UNLIMITED = RateLimits(frames_per_second=1e9, frames_burst=1e9, bytes_per_second=1e12, bytes_burst=1e12)
"""An outsider does not mind how much it is told."""


@dataclass
class UnauthenticatedClient:
    """One connection. `said`: the bytes of its handshake, in order."""

    web_socket: WebSocket
    channel: Channel
    situation: NetworkSituation
    said: list[bytes] = field(default_factory=list)

    async def shake_hands(self, *, network_id: NetworkId | None = None, listening_port: int = 0) -> bool:
        """Introduce ourselves, with a new key; whether the other side takes us for a peer.

        Raises ChannelClosedError, FrameError.
        """
        situation = self.situation
        key = Ed25519PrivateKey.from_private_bytes(situation.random.randbytes(32))
        identity = PeerId(key.public_key().public_bytes_raw())
        introduction = Introduction(
            identity, key.sign, network_id or situation.network_id, situation.rules, listening_port, "outsider"
        )
        handshake = Handshake(self.channel.role, introduction, situation.random.randbytes(32))
        progress = handshake.start()
        while True:
            for frame in progress.frames:
                await self._say_in_handshake(frame)
            if progress.outcome is not None:
                break
            progress = handshake.receive(await self.channel.receive())
        if not isinstance(progress.outcome, Established):
            return False
        for frame in progress.outcome.answer:
            await self._say_in_handshake(frame)
        self.channel.seal_with(progress.outcome.keys)
        return True

    async def say(self, frame: Frame) -> None:
        """Send a frame. Raises ChannelClosedError."""
        await self.channel.send(encode_frame(frame))

    async def wait_for_the_end(self) -> None:
        """Listen until the other side hangs up."""
        try:
            while True:
                await self.channel.receive()
        except ChannelClosedError:
            return

    async def _say_in_handshake(self, frame: Frame) -> None:
        self.said.append(encode_frame(frame))
        await self.channel.send(self.said[-1])


@asynccontextmanager
async def outsider_at(target: Address, situation: NetworkSituation) -> AsyncIterator[UnauthenticatedClient]:
    """A WebSocket to a peer, before any handshake. Raises UnreachableError, TimeoutError."""
    source = situation.random.choice(situation.sources) if situation.sources else None
    async with client_session(source) as session:
        async with asyncio.timeout(HANDSHAKE_SECONDS_MAX):
            web_socket = await open_web_socket(session, target, HEARTBEAT_SECONDS)
        async with outsider_on(web_socket, Role.DIALER, situation) as outsider:
            yield outsider


@asynccontextmanager
async def outsider_on(web_socket: WebSocket, role: Role, situation: NetworkSituation) -> AsyncIterator[UnauthenticatedClient]:
    """At one end of a WebSocket."""
    clock = asyncio.get_running_loop().time
    async with Channel(web_socket, role, Meter(_UNLIMITED, 0.0), clock, BytesCounted()) as channel:
        yield UnauthenticatedClient(web_socket, channel, situation)


log = logging.getLogger(__name__)

Visit = Callable[[Address], Awaitable[None]]
"""What one outsider does at one door. Being thrown out raises ChannelClosedError, FrameError, UnreachableError or OSError."""

VISIT_SECONDS_MAX = 120.0
"""A visit that leads to nothing ends: twice the time after which a peer asks another one for addresses."""


def raid(visit: Visit, situation: NetworkSituation, *, outsiders: int, pause_seconds: float) -> Attack:
    """So many outsiders at once, each of whom rests between two visits."""

    async def attack() -> None:
        async with asyncio.TaskGroup() as group:
            for _ in range(outsiders):
                group.create_task(_wander(visit, situation, pause_seconds), name="outsider")

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
        log.debug("an outsider's visit to %s is over: %s", target, end)
