"""The HTTP server of one node: /healthz, /v1/status, /v1/model/file. Loopback only, read only.

A server for the people of this machine has few connections, a time for each request, and no name but its own. Whoever may
connect to the loopback address could else take all descriptors of the process by half requests, and a web page of a name that
its owner lets point here (DNS rebinding) could read every answer.
"""

import asyncio
import contextlib
import logging
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable

import msgspec
from aiohttp import web

from node.api.status import NodeStatus
from node.net.listener import AcceptFilter, logger_of_requests
from node.storage.api_address import PEER_HEADER

log = logging.getLogger(__name__)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

CONNECTIONS_MAX = 64
"""A terminal view, a supervisor, a collector of metrics and a few people; of the process's descriptors a sixteenth."""

REQUEST_SECONDS_MAX = 10.0
"""For the head of a request, for its body, for the next request, and for an answer of which nothing more is taken."""

LOOK_SECONDS = 1.0
"""How often it is looked for connections whose time is over: a tenth of the shortest time."""

OWN_NAMES = ("127.0.0.1", "localhost", "[::1]")
"""What a client on this machine calls it."""


class LocalSite:
    """Serves one application on one bound socket."""

    def __init__(self, app: web.Application, listener: socket.socket) -> None:
        """`app` must not be frozen yet: the site sees each request first."""
        app.middlewares.insert(0, self._guard)
        self._runner = web.AppRunner(
            app,
            access_log=None,
            shutdown_timeout=1.0,
            logger=logger_of_requests(log.error, time.monotonic),
            keepalive_timeout=REQUEST_SECONDS_MAX / 2,
        )
        self._listener = listener
        self.port: int = listener.getsockname()[1]
        self._names = frozenset(f"{name}:{self.port}" for name in (*OWN_NAMES, listener.getsockname()[0]))
        self._busy: set[web.RequestHandler] = set()
        """Connections whose request is being answered."""
        self._waiting: dict[web.RequestHandler, tuple[float, int]] = {}
        """The others: since when nothing has moved there, and how many bytes it has not taken yet."""

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        """Serve until the block is left."""
        await self._runner.setup()
        loop = asyncio.get_running_loop()
        try:
            server = await loop.create_server(lambda: AcceptFilter(self._accept), sock=self._listener)
            reaper = loop.create_task(self._reap(), name="reaper")
            try:
                yield
            finally:
                reaper.cancel()
                server.close()
        finally:
            await self._runner.cleanup()

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.headers.get("Host", "").lower() not in self._names:
            raise web.HTTPMisdirectedRequest(text="this server answers under its own name alone\n")
        protocol = request.protocol
        self._busy.add(protocol)
        try:
            return await handler(request)
        finally:
            self._busy.discard(protocol)
            self._waiting.pop(protocol, None)  # its time begins anew

    # --- connections ---

    def _accept(self, _host: str) -> asyncio.Protocol | None:
        """The newest comes in, and the one that has waited longest goes; None while all are being answered."""
        if len(self._connections()) >= CONNECTIONS_MAX:
            self._look(time.monotonic())
            if not self._waiting:
                return None
            self._end(min(self._waiting, key=lambda protocol: self._waiting[protocol][0]))
        return self._server()()

    async def _reap(self) -> None:
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            now = time.monotonic()
            self._look(now)
            for protocol in [found for found, (since, _) in self._waiting.items() if now - since > REQUEST_SECONDS_MAX]:
                self._end(protocol)

    def _look(self, now: float) -> None:
        """Note who waits since when; an answer that is being taken moves."""
        before, self._waiting = self._waiting, {}
        for protocol, transport in self._connections().items():
            if protocol not in self._busy:
                unsent = transport.get_write_buffer_size()
                since, unsent_before = before.get(protocol, (now, unsent))
                self._waiting[protocol] = (since if unsent == unsent_before else now, unsent)

    def _connections(self) -> dict[web.RequestHandler, asyncio.Transport]:
        """Those that live, oldest first."""
        return {
            protocol: protocol.transport
            for protocol in self._server().connections
            if protocol.transport is not None and not protocol.transport.is_closing()
        }

    def _server(self) -> web.Server:
        server = self._runner.server
        assert server is not None, "served only between setup and cleanup"
        return server

    def _end(self, protocol: web.RequestHandler) -> None:
        self._waiting.pop(protocol, None)
        if protocol.transport is not None:
            protocol.transport.abort()


API_HOST = "127.0.0.1"
"""Status is for the people of this machine; nothing here asks who reads."""

MODEL_SECONDS_MAX = 30.0
"""The learner answers between two slices of search; longer means that it hangs."""


def bound_listener() -> socket.socket:
    """A socket on a free port, bound in the calling thread's network namespace and no other."""
    return socket.create_server((API_HOST, 0))


class ApiServer:
    """Serves a node's status and model."""

    def __init__(
        self,
        peer_id: str,
        status: Callable[[], NodeStatus],
        model_file: Callable[[bool], Awaitable[bytes]],
        listener: socket.socket | None = None,
    ) -> None:
        """`model_file`: the model at the head, or the newest final one.

        `listener`: a bound socket to serve on, instead of a free port of this machine's loopback.
        """
        self._peer_id = peer_id
        self._listener = listener
        self._status = status
        self._model_file = model_file
        self.port = 0
        self.ready = asyncio.Event()

    async def run(self) -> None:
        """Serve until cancelled."""
        app = web.Application()
        app.on_response_prepare.append(self._say_who)
        app.router.add_get("/healthz", self._healthz)
        app.router.add_get("/v1/status", self._get_status)
        app.router.add_get("/v1/model/file", self._get_model)
        site = LocalSite(app, bound_listener() if self._listener is None else self._listener)
        async with site.serving():
            self.port = site.port
            self.ready.set()
            await asyncio.Event().wait()

    async def _say_who(self, _: web.Request, response: web.StreamResponse) -> None:
        """So that nobody takes our answer for that of a killed peer whose port we have now."""
        response.headers[PEER_HEADER] = self._peer_id

    async def _healthz(self, _: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def _get_status(self, _: web.Request) -> web.Response:
        return web.Response(body=msgspec.json.encode(self._status()), content_type="application/json")

    async def _get_model(self, request: web.Request) -> web.Response:
        try:
            data = await asyncio.wait_for(self._model_file("final" in request.query), MODEL_SECONDS_MAX)
        except TimeoutError:
            return web.Response(status=503, text="the learner did not answer in time\n")
        return web.Response(body=data, content_type="application/octet-stream")
