"""Whoever relays a connection can neither speak in the name of a peer behind it nor keep the two apart for long."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from aiohttp import WSMsgType, web

from node.net.channel import WebSocket
from node.net.dialer import client_session
from node.net.network_interface import NetSettings
from tests.node.net.example_peers import LOOPS, QUICK, LoopFactory, Node, listener_of, node_of, play, running, until


class Relay:
    """Passes on what two peers say to each other, until it is told to do something else with it."""

    def __init__(self, target: tuple[str, int]) -> None:
        self.target = target
        self.frames = 0
        self.meddle: Callable[[WebSocket, bytes], Awaitable[None]] | None = None
        """What it does to the listener in place of passing on a frame of the dialer."""
        self.is_silent = False
        self.is_closed = False
        """Whether it takes nobody in any more."""

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[tuple[str, int]]:
        async with listener_of(self._answer) as address:
            yield address

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        if self.is_closed:
            return web.Response(status=404)
        dialer = web.WebSocketResponse(autoping=False, max_msg_size=0)
        await dialer.prepare(request)
        host, port = self.target
        async with client_session() as session:
            listener = await session.ws_connect(f"ws://{host}:{port}/peer", autoping=False, max_msg_size=0)
            async with asyncio.TaskGroup() as group:
                group.create_task(self._pass_on(dialer, listener, is_from_dialer=True))
                group.create_task(self._pass_on(listener, dialer, is_from_dialer=False))
        return dialer

    async def _pass_on(self, source: WebSocket, sink: WebSocket, *, is_from_dialer: bool) -> None:
        try:
            async for message in source:
                if message.type is WSMsgType.PING:
                    await source.pong(message.data)
                elif message.type is WSMsgType.BINARY and not self.is_silent:
                    self.frames += 1
                    if self.meddle is not None and is_from_dialer:
                        await self.meddle(sink, message.data)
                    else:
                        await sink.send_bytes(message.data)
        except ConnectionError:
            pass  # the other side was first to hang up
        await sink.close()


async def change_a_bit(sink: WebSocket, data: bytes) -> None:
    await sink.send_bytes(data[:-1] + bytes((data[-1] ^ 1,)))


async def say_text(sink: WebSocket, _: bytes) -> None:
    await sink.send_str("hello")


async def say_too_much(sink: WebSocket, _: bytes) -> None:
    await sink.send_bytes(bytes(1_048_600))


async def ping_without_end(sink: WebSocket, _: bytes) -> None:
    for _ in range(6_000):
        await sink.ping(b"")


@asynccontextmanager
async def relayed_pair(relay: Relay, ben: Node, settings: NetSettings = QUICK) -> AsyncIterator[Node]:
    async with relay.listening() as address:
        ann = node_of(1, (address,), settings=settings)
        async with running(ann):
            await until(lambda: ann.connected and ben.connected)
            yield ann


@pytest.mark.parametrize("meddle", [change_a_bit, say_text, say_too_much, ping_without_end])
@pytest.mark.parametrize("loop", LOOPS)
def test_nobody_is_refused_for_what_a_relay_did_to_its_connection(
    meddle: Callable[[WebSocket, bytes], Awaitable[None]], loop: LoopFactory
) -> None:
    async def scenario() -> None:
        ben = node_of(2, settings=replace(QUICK, outbound_target=0))
        async with running(ben):
            relay = Relay(ben.address)
            async with relayed_pair(relay, ben) as ann:
                relay.meddle = meddle
                ann.network.send(ben.identity.peer, b"hello")
                await until(lambda: ben.left)
                relay.meddle = None
                assert ben.network.refused_peers() == ann.network.refused_peers() == frozenset()
                assert len(ben.notes) == 1
                await until(lambda: ben.connected == {ann.identity.peer})
                ann.network.send(ben.identity.peer, b"hello again")
                await until(lambda: ben.inbox == [b"hello again"])

    play(scenario, loop)


def test_a_relay_that_answers_pings_and_passes_nothing_on_is_given_up_on_both_sides() -> None:
    async def scenario() -> None:
        attentive = replace(QUICK, silence_seconds=1.0, heartbeat_seconds=0.2)
        ben = node_of(2, settings=attentive)
        async with running(ben):
            relay = Relay(ben.address)
            async with relayed_pair(relay, ben, attentive) as ann:
                await asyncio.sleep(2.0)  # a connection where nobody has anything to say lives
                assert not ann.left
                assert not ben.left
                relay.is_silent = relay.is_closed = True
                await until(lambda: ann.left and ben.left)
                assert ben.network.refused_peers() == ann.network.refused_peers() == frozenset()

    play(scenario)
