"""A server for the people of this machine gives neither its descriptors nor its answers to whoever asks."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import aiohttp
import psutil
import pytest
from aiohttp import web

from node.api import server
from node.api.server import CONNECTIONS_MAX, LocalSite, bound_listener

BODY = b"x" * 8_000_000
"""More than the system's buffers hold."""


async def answer(_request: web.Request) -> web.Response:
    return web.Response(text="ok\n")


async def answer_at_length(_request: web.Request) -> web.Response:
    return web.Response(body=BODY)


async def fail(_request: web.Request) -> web.Response:
    raise ValueError("a mistake of ours")


@asynccontextmanager
async def site() -> AsyncIterator[LocalSite]:
    app = web.Application()
    app.router.add_get("/", answer)
    app.router.add_get("/long", answer_at_length)
    app.router.add_get("/mistake", fail)
    made = LocalSite(app, bound_listener())
    async with made.serving():
        yield made


def play(scenario: Callable[[], Awaitable[None]]) -> None:
    async def whole() -> None:
        async with asyncio.timeout(20):
            await scenario()

    asyncio.run(whole())


async def status_of(port: int, host: str | None, path: str = "/") -> int:
    headers = {} if host is None else {"Host": host}
    async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{port}{path}", headers=headers) as got:
        return got.status


async def raw(port: int, data: bytes) -> bytes:
    """The first line of the answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(data)
    line = await reader.readline()
    writer.close()
    await writer.wait_closed()
    return line


def test_it_answers_under_its_own_names_alone() -> None:
    async def scenario() -> None:
        async with site() as made:
            for name in ("127.0.0.1", "localhost", "LOCALHOST", "[::1]"):
                assert await status_of(made.port, f"{name}:{made.port}") == 200
            for name in ("evil.example.com", f"evil.example.com:{made.port}", "127.0.0.1:1", "127.0.0.1", ""):
                assert await status_of(made.port, name) == 421
            assert b"421" in await raw(made.port, b"GET / HTTP/1.0\r\n\r\n")

    play(scenario)


def descriptors() -> int:
    return psutil.Process().num_fds()


def test_nine_hundred_half_requests_take_few_descriptors_and_keep_nobody_out() -> None:
    async def scenario() -> None:
        async with site() as made:
            before = descriptors()
            half = []
            for _ in range(900):
                reader, writer = await asyncio.open_connection("127.0.0.1", made.port)
                writer.write(b"GET / HTTP/1.1\r\nHost: ")
                half.append((reader, writer))
            assert await status_of(made.port, None) == 200
            await asyncio.sleep(0.2)
            assert descriptors() - before - len(half) <= CONNECTIONS_MAX
            assert sum(not reader.at_eof() for reader, _ in half) <= CONNECTIONS_MAX
            for _, writer in half:
                writer.transport.abort()

    play(scenario)


async def say_headers_without_end(writer: asyncio.StreamWriter) -> None:
    while True:
        writer.write(b"X-Header: x\r\n")
        await writer.drain()
        await asyncio.sleep(0.05)


def test_a_request_that_does_not_come_to_its_end_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "REQUEST_SECONDS_MAX", 0.3)
    monkeypatch.setattr(server, "LOOK_SECONDS", 0.05)

    async def scenario() -> None:
        async with site() as made:
            reader, writer = await asyncio.open_connection("127.0.0.1", made.port)
            writer.write(b"GET / HTTP/1.1\r\n")
            with pytest.raises(ConnectionError):
                await say_headers_without_end(writer)
            assert reader.at_eof() or reader.exception() is not None
            writer.close()

    play(scenario)


def test_an_answer_that_is_taken_slowly_goes_on_and_one_that_is_not_taken_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "REQUEST_SECONDS_MAX", 0.6)
    monkeypatch.setattr(server, "LOOK_SECONDS", 0.05)

    async def ask(made: LocalSite) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection("127.0.0.1", made.port)
        writer.write(f"GET /long HTTP/1.1\r\nHost: 127.0.0.1:{made.port}\r\nConnection: close\r\n\r\n".encode())
        return reader, writer

    async def scenario() -> None:
        async with site() as made:
            reader, writer = await ask(made)
            taken = 0
            while data := await reader.read(400_000):
                taken += len(data)
                await asyncio.sleep(0.05)
            assert taken > len(BODY)
            writer.close()
            reader, writer = await ask(made)
            await asyncio.sleep(2.0)
            with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
                await reader.readexactly(len(BODY))
            writer.close()

    play(scenario)


def test_a_malformed_request_is_not_logged_and_our_own_mistake_is(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        async with site() as made:
            for _ in range(30):
                assert b"400" in await raw(made.port, b"GET / HTTP/9.z\r\nSecret: %s\r\n\r\n" % (b"\x01" * 7_000))
            assert caplog.records == []
            for _ in range(30):
                assert await status_of(made.port, None, "/mistake") == 500

    caplog.set_level(logging.INFO)
    play(scenario)
    assert 1 <= len(caplog.records) <= 11
    assert "a request over HTTP failed: ValueError at " in caplog.text
    assert "a mistake of ours" not in caplog.text
