"""The supervisor's API on this machine: GET /v1/peers, POST /v1/events. Only who can read control.json may use it."""

import asyncio
import contextlib
import hmac
import os
import secrets
import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import msgspec
from aiohttp import web

from node.api.server import REQUEST_SECONDS_MAX, Handler, LocalSite
from node.common.errors import EXIT_USAGE, NodeError
from node.lab.scenarios.events import Event
from node.lab.testnet.commands import CommandExecutor
from node.lab.testnet.control import (
    EVENTS_PATH,
    PEERS_PATH,
    TOKEN_BYTES,
    CommandReport,
    ControlFile,
    Refusal,
    TestnetReport,
    published,
)

CONTROL_HOST = "127.0.0.1"

EVENT_BYTES_MAX = 65_536
"""64 peers by number and a fault of many parameters are a few kilobytes."""

_decoder: msgspec.json.Decoder[Event] = msgspec.json.Decoder(Event)


class ControlServer:
    """Lets other processes of this user look at the testnet and disturb it. `seconds`: since the peers were started."""

    def __init__(self, executor: CommandExecutor, report: Callable[[], TestnetReport], seconds: Callable[[], float]) -> None:
        self._executor = executor
        self._report = report
        self._seconds = seconds
        self._token = secrets.token_hex(TOKEN_BYTES)

    @contextlib.asynccontextmanager
    async def serving(self, root: Path) -> AsyncIterator[None]:
        """Serve, and be found by the folder, until the block is left. Raises NodeError."""
        app = web.Application(client_max_size=EVENT_BYTES_MAX, middlewares=[self._check_token])
        app.router.add_get(PEERS_PATH, self._get_peers)
        app.router.add_post(EVENTS_PATH, self._post_event)
        site = LocalSite(app, socket.create_server((CONTROL_HOST, 0)))
        async with site.serving():
            with published(root, ControlFile(CONTROL_HOST, site.port, os.getpid(), self._token)):
                yield

    @web.middleware
    async def _check_token(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """A web page of another site cannot know it, nor can another user."""
        given = request.headers.get("Authorization", "")
        if not hmac.compare_digest(given.encode(), f"Bearer {self._token}".encode()):
            raise web.HTTPUnauthorized(text="the token of control.json is missing or wrong\n")
        return await handler(request)

    async def _get_peers(self, _: web.Request) -> web.Response:
        return _json(self._report())

    async def _post_event(self, request: web.Request) -> web.Response:
        try:
            async with asyncio.timeout(REQUEST_SECONDS_MAX):
                body = await request.read()
            event = _decoder.decode(body)
        except TimeoutError:
            raise web.HTTPRequestTimeout(text="the event did not come in time\n") from None
        except msgspec.DecodeError as error:
            return _json(Refusal(f"this is no event: {error}", None, EXIT_USAGE), status=400)
        try:
            said = await self._executor.do(event)
        except NodeError as error:
            return _json(Refusal(error.message, error.fix, error.exit_code), status=409)
        return _json(CommandReport(round(self._seconds(), 3), said))


def _json(answer: msgspec.Struct, status: int = 200) -> web.Response:
    return web.Response(body=msgspec.json.encode(answer), status=status, content_type="application/json")
