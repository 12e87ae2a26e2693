"""The HTTP server of one node: /healthz, /v1/status, /v1/model/file. Loopback only, read only."""

import asyncio
from collections.abc import Awaitable, Callable

import msgspec
from aiohttp import web

from node.status import NodeStatus

API_HOST = "127.0.0.1"
"""Status is for the people of this machine; nothing here asks who reads."""

MODEL_SECONDS_MAX = 30.0
"""The learner answers between two slices of search; longer means that it hangs."""


class ApiServer:
    """Serves a node's status and model."""

    def __init__(self, status: Callable[[], NodeStatus], model_file: Callable[[], Awaitable[bytes]]) -> None:
        self._status = status
        self._model_file = model_file
        self.port = 0
        self.ready = asyncio.Event()

    async def run(self) -> None:
        """Serve until cancelled."""
        app = web.Application()
        app.router.add_get("/healthz", self._healthz)
        app.router.add_get("/v1/status", self._get_status)
        app.router.add_get("/v1/model/file", self._get_model)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await runner.setup()
        try:
            site = web.TCPSite(runner, API_HOST, 0)
            await site.start()
            self.port = runner.addresses[0][1]
            self.ready.set()
            await asyncio.Event().wait()
        finally:
            await runner.cleanup()

    async def _healthz(self, _: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def _get_status(self, _: web.Request) -> web.Response:
        return web.Response(body=msgspec.json.encode(self._status()), content_type="application/json")

    async def _get_model(self, _: web.Request) -> web.Response:
        try:
            data = await asyncio.wait_for(self._model_file(), MODEL_SECONDS_MAX)
        except TimeoutError:
            return web.Response(status=503, text="the learner did not answer in time\n")
        return web.Response(body=data, content_type="application/octet-stream")
