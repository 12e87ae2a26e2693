"""Real peers on real sockets for the tests of the network, and one peer that says whatever a test wants."""

import asyncio
import os
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Container
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

import uvloop
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from consensus.encoding import Signer
from consensus.types import NetworkId, PeerId
from node.net.address_book import Backoff
from node.net.channel import BytesCounted, Channel, ChannelClosedError, WebSocket
from node.net.dialer import client_session
from node.net.handshake import Established, Failed, Handshake, Introduction, Role
from node.net.rates import Meter, RateLimits
from node.net.transport import NetSettings, PeerNetwork
from node.net.wire import PART_BYTES_MAX, Frame, GetPart, Part, encode_frame

NETWORK = NetworkId(b"n" * 32)
RULES = (("name", "digits"), ("proof_of_work.block_interval_ms", "500"))
QUICK = NetSettings(backoff=Backoff(first_seconds=0.1, max_seconds=0.4))
"""Settings of the tests: no dial waits for seconds."""

IMPATIENT = replace(QUICK, handshake_seconds_max=0.5)
"""Where what is not done in the handshake is the point."""


@dataclass(frozen=True)
class Identity:
    peer: PeerId
    sign: Signer


def identity_of(number: int) -> Identity:
    key = Ed25519PrivateKey.from_private_bytes(number.to_bytes(32, "big"))
    return Identity(PeerId(key.public_key().public_bytes_raw()), key.sign)


@dataclass
class Node:
    """A network and what it told; it passes on every message, as an ordering machine does with a good one."""

    identity: Identity
    passes_on: bool = True
    unheard: Container[PeerId] = field(default_factory=set)
    """Whose messages are not looked at."""
    inbox: list[bytes] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    passed_over: int = 0
    """Messages that were not."""
    asked_parts: list[bytes] = field(default_factory=list)
    """Digests that somebody wanted parts of."""
    held: dict[bytes, bytes] = field(default_factory=dict)
    parts: list[Part] = field(default_factory=list)
    joined: list[PeerId] = field(default_factory=list)
    left: list[PeerId] = field(default_factory=list)
    network: PeerNetwork = field(init=False)

    def on_peer_joined(self, peer: PeerId, group: bytes) -> None:
        self.joined.append(peer)

    def on_peer_left(self, peer: PeerId) -> None:
        self.left.append(peer)

    def on_message(self, peer: PeerId, message: bytes) -> bool:
        if peer in self.unheard:
            self.passed_over += 1
            return False
        self.inbox.append(message)
        if self.passes_on and message.startswith(b"flood"):
            self.network.broadcast(message)
        return True

    def on_part_request(self, peer: PeerId, question: GetPart) -> None:
        self.asked_parts.append(question.digest)
        content, offset = self.held.get(question.digest, b""), question.offset
        self.network.give_part(peer, Part(question.digest, offset, len(content), content[offset : offset + PART_BYTES_MAX]))

    def on_part(self, peer: PeerId, part: Part) -> None:
        self.parts.append(part)

    def note(self, text: str) -> None:
        self.notes.append(text)

    @property
    def connected(self) -> set[PeerId]:
        return {info.peer for info in self.network.peers()}

    @property
    def address(self) -> tuple[str, int]:
        return ("127.0.0.1", self.network.port)


def node_of(
    number: int,
    dial: tuple[tuple[str, int], ...] = (),
    *,
    settings: NetSettings = QUICK,
    network_id: NetworkId = NETWORK,
    rules: tuple[tuple[str, str], ...] = RULES,
    stopwatch: Callable[[], float] | None = None,
) -> Node:
    node = Node(identity_of(number))
    node.network = PeerNetwork(
        identity=node.identity.peer,
        sign=node.identity.sign,
        network_id=network_id,
        rules=rules,
        settings=replace(settings, dial=dial),
        events=node,
        random=random.Random(number),
        clock=time.monotonic,
        stopwatch=time.perf_counter if stopwatch is None else stopwatch,
    )
    return node


@asynccontextmanager
async def running(*nodes: Node) -> AsyncIterator[None]:
    """All of them run within the block."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(node.network.run()) for node in nodes]
        try:
            for node in nodes:
                await node.network.ready.wait()
            yield
        finally:
            for task in tasks:
                task.cancel()


async def until(condition: Callable[[], object], seconds: float = 5.0) -> None:
    """Wait for something that must come about."""
    async with asyncio.timeout(seconds):
        while True:
            if condition():
                return
            await asyncio.sleep(0.005)


LoopFactory = Callable[[], asyncio.AbstractEventLoop]

LOOPS: list[LoopFactory] = [asyncio.new_event_loop, uvloop.new_event_loop]
"""The loop of the tests, and that of production."""


def play(scenario: Callable[[], Awaitable[None]], loop: LoopFactory = asyncio.new_event_loop) -> None:
    """Run a scenario, which must leave no task behind."""

    async def whole() -> None:
        async with asyncio.timeout(20):
            await scenario()
        assert len(asyncio.all_tasks()) == 1, "a task was left behind"

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(whole())


@dataclass
class Outsider:
    """A peer of our own making: shakes hands as it should, or not, and then says whatever a test wants."""

    web_socket: WebSocket
    channel: Channel
    port: int
    """Where it calls from."""
    said: list[bytes] = field(default_factory=list)

    async def shake(
        self, identity: Identity, network_id: NetworkId = NETWORK, rules: tuple[tuple[str, str], ...] = RULES
    ) -> Established | Failed:
        introduction = Introduction(identity.peer, identity.sign, network_id, rules, 0, "outsider")
        handshake = Handshake(self.channel.role, introduction, os.urandom(32))
        progress = handshake.start()
        while True:
            for frame in progress.frames:
                await self.say(frame)
            if progress.outcome is not None:
                break
            progress = handshake.receive(await self.channel.receive())
        if isinstance(progress.outcome, Established):
            for frame in progress.outcome.answer:
                await self.say(frame)
            self.channel.seal_with(progress.outcome.keys)
        return progress.outcome

    async def say(self, frame: Frame) -> None:
        self.said.append(encode_frame(frame))
        await self.channel.send(self.said[-1])

    async def hear(self, kind: type[Frame]) -> Frame:
        """The next frame of this kind."""
        while True:
            frame = await self.channel.receive()
            if isinstance(frame, kind):
                return frame

    async def end(self) -> str:
        """Why the other side closed."""
        while True:
            try:
                await self.channel.receive()
            except ChannelClosedError as error:
                return str(error)


def channel_of(web_socket: WebSocket, role: Role) -> Channel:
    """A channel without limits."""
    return Channel(web_socket, role, Meter(RateLimits(1e9, 1e9, 1e12, 1e12), 0.0), lambda: 0.0, BytesCounted())


@asynccontextmanager
async def listener_of(
    answer: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]], port: int = 0
) -> AsyncIterator[tuple[str, int]]:
    """An HTTP server that answers as a test wants; where it listens."""
    server = web.Server(answer, access_log=None)
    listener = await asyncio.get_running_loop().create_server(server, "127.0.0.1", port)
    try:
        yield listener.sockets[0].getsockname()[:2]
    finally:
        listener.close()
        await server.shutdown(0.1)
        await listener.wait_closed()


@asynccontextmanager
async def outsider_at(node: Node) -> AsyncIterator[Outsider]:
    """A WebSocket to a node, before any handshake."""
    async with client_session() as session:
        web_socket = await session.ws_connect(f"ws://127.0.0.1:{node.network.port}/peer", max_msg_size=0, autoping=False)
        async with channel_of(web_socket, Role.DIALER) as channel:
            yield Outsider(web_socket, channel, web_socket.get_extra_info("sockname")[1])
