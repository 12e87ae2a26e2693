"""The HTTP server of one node: /healthz, /v1/status, /v1/model/file. Loopback only, read only."""

import asyncio
import socket
from collections.abc import Awaitable, Callable

import msgspec
from aiohttp import web

from node.api.local_site import LocalSite
from node.api.status import NodeStatus
from node.storage.api_address import PEER_HEADER

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
