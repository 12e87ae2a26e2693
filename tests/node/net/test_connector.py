"""Dialling what cannot be reached: tried again and again, later and later, and told in words."""

import asyncio
import re
from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest
from aiohttp import web

from consensus.types import NetworkId
from tests.node.net.example_peers import IMPATIENT, QUICK, RULES, listener_of, node_of, play, running, until
from tests.node.real_peers import free_port

Answer = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


def test_an_address_where_nobody_listens_is_tried_again_later_and_later_and_found_in_the_end() -> None:
    async def scenario() -> None:
        port = free_port()
        ann = node_of(1, (("127.0.0.1", port),))
        async with running(ann):
            await until(lambda: len(ann.notes) >= 3)
            text = re.compile(rf"cannot reach 127\.0\.0\.1:{port}: connection refused; next attempt in (0\.\d) s")
            found = [text.fullmatch(note) for note in ann.notes]
            waits = [float(match[1]) if match else None for match in found]
            assert None not in waits
            bounds = zip(waits, ((0.0, 0.1), (0.1, 0.2), (0.2, 0.4)), strict=False)
            assert all(low <= wait <= high for wait, (low, high) in bounds if wait is not None)
            async with running(node_of(2, settings=replace(QUICK, listen_port=port))):
                await until(lambda: ann.connected)

    play(scenario)


def test_a_name_that_nobody_knows_is_told() -> None:
    async def scenario() -> None:
        ann = node_of(1, (("no-such-host.invalid", 7_600),))
        async with running(ann):
            await until(lambda: ann.notes, 6.0)
            assert ann.notes[0].startswith(
                "cannot reach no-such-host.invalid:7600: the host name is not known; next attempt in 0."
            )

    play(scenario)


async def not_found(_request: web.BaseRequest) -> web.StreamResponse:
    return web.Response(status=404)


async def redirect(_request: web.BaseRequest) -> web.StreamResponse:
    raise web.HTTPFound("http://127.0.0.1:1/elsewhere")


async def silence(request: web.BaseRequest) -> web.StreamResponse:
    web_socket = web.WebSocketResponse()
    await web_socket.prepare(request)
    await web_socket.receive()
    await web_socket.receive()
    return web_socket


async def nonsense(request: web.BaseRequest) -> web.StreamResponse:
    web_socket = web.WebSocketResponse()
    await web_socket.prepare(request)
    await web_socket.send_bytes(b"\xff")
    await web_socket.receive()
    return web_socket


async def hang_up(request: web.BaseRequest) -> web.StreamResponse:
    web_socket = web.WebSocketResponse()
    await web_socket.prepare(request)
    await web_socket.close(message=b"\x1b[2Jgo away")
    return web_socket


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (not_found, "what answers there is no peer (HTTP status 404)"),
        (redirect, "what answers there is no peer (it sends us elsewhere)"),
        (silence, "no answer within 0.5 s"),
        (nonsense, "it broke the handshake: frame of 1 bytes: Expected `array`, got `int`"),
        (hang_up, r"it closed the connection (\x1b[2Jgo away)"),
    ],
)
def test_what_is_no_peer_is_told_in_words(answer: Answer, reason: str) -> None:
    async def scenario() -> None:
        async with listener_of(answer) as (host, port):
            ann = node_of(1, ((host, port),), settings=IMPATIENT)
            async with running(ann):
                await until(lambda: ann.notes)
            assert ann.notes[0].startswith(f"cannot reach {host}:{port}: {reason}; next attempt in 0.")
            assert ann.joined == []

    play(scenario)


def test_a_listener_that_speaks_no_http_is_told() -> None:
    async def scenario() -> None:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read(10)
            writer.write(b"220 mail.example.org ESMTP\r\n")
            await writer.drain()
            writer.close()
            await writer.wait_closed()

        listener = await asyncio.start_server(answer, "127.0.0.1", 0)
        host, port = listener.sockets[0].getsockname()
        async with listener:
            ann = node_of(1, ((host, port),), settings=IMPATIENT)
            async with running(ann):
                await until(lambda: ann.notes)
        assert ann.notes[0].startswith(f"cannot reach {host}:{port}: what answers there is no peer; next attempt in 0.")

    play(scenario)


def test_another_network_is_told_on_both_sides_with_the_field_that_differs() -> None:
    async def scenario() -> None:
        there = (RULES[0], ("proof_of_work.block_interval_ms", "1000"))
        ann = node_of(1, network_id=NetworkId(b"o" * 32), rules=there)
        async with running(ann):
            ben = node_of(2, (ann.address,))
            async with running(ben):
                await until(lambda: ann.notes and ben.notes)
                field = "runs another network: proof_of_work.block_interval_ms is"
                assert ben.notes[0] == f"127.0.0.1:{ann.network.port} {field} 500 here, 1000 there; next attempt in 0.4 s"
                assert ann.notes[0] == f"127.0.0.1:{ben.network.port} {field} 1000 here, 500 there"
        assert ann.joined == ben.joined == []

    play(scenario)


def test_a_peer_that_dials_itself_says_so_once_and_gives_up() -> None:
    async def scenario() -> None:
        port = free_port()
        ann = node_of(1, (("127.0.0.1", port),), settings=replace(QUICK, listen_port=port))
        async with running(ann):
            await until(lambda: ann.notes)
            await asyncio.sleep(0.5)
        detail = "has our own key: it is this peer itself, or another process that uses a copy of the key"
        assert ann.notes == [f"127.0.0.1:{port} {detail}"]

    play(scenario)


async def echo(request: web.BaseRequest) -> web.StreamResponse:
    """Says what it hears."""
    web_socket = web.WebSocketResponse()
    await web_socket.prepare(request)
    async for message in web_socket:
        await web_socket.send_bytes(message.data)
    return web_socket


def test_who_answers_with_our_own_hello_does_not_make_us_forget_an_address() -> None:
    async def scenario() -> None:
        port = free_port()
        async with listener_of(echo, port):
            ann = node_of(1, (("127.0.0.1", port),), settings=IMPATIENT)
            async with running(ann):
                await until(lambda: len(ann.notes) >= 2)
        assert all("own key" not in note for note in ann.notes)
        ben = node_of(2, settings=replace(QUICK, listen_port=port))
        async with running(ben, ann):
            await until(lambda: ann.connected and ben.connected)

    play(scenario)


def test_one_peer_under_two_addresses_is_connected_once() -> None:
    async def scenario() -> None:
        ann = node_of(1)
        async with running(ann):
            ben = node_of(2, (ann.address, ("localhost", ann.network.port)))
            async with running(ben):
                await until(lambda: ann.connected and ben.connected)
                await asyncio.sleep(1.0)
            assert ann.joined == [ben.identity.peer]
            assert ben.joined == [ann.identity.peer]

    play(scenario)
