"""The dialling side: open a WebSocket to an address, and say in words why it cannot be opened."""

import time
from types import SimpleNamespace

import aiohttp
from aiohttp.connector import Connection
from aiohttp.tracing import Trace
from yarl import URL

from node.common.address import Address
from node.net.channel import CLOSE_SECONDS_MAX, MESSAGE_SIZE_SETTING, Clock, WebSocket
from node.net.gate import Gate
from node.net.listener import PEER_PATH
from node.net.rates import RateLimits


class UnreachableError(Exception):
    """Nobody of our kind answers there; the message says why, in words."""


class _RedirectedError(aiohttp.ClientError):
    """A listener tried to send us elsewhere."""


async def _refuse_redirect(
    _session: aiohttp.ClientSession, _context: SimpleNamespace, _redirect: aiohttp.TraceRequestRedirectParams
) -> None:
    raise _RedirectedError


class _GatedConnector(aiohttp.TCPConnector):
    """What comes from whom we dial passes the same gate as what comes from those who dial us."""

    def __init__(self, rates: RateLimits, clock: Clock, local_addr: tuple[str, int] | None) -> None:
        super().__init__(limit=0, force_close=True, local_addr=local_addr)
        self._rates = rates
        self._clock = clock

    async def connect(  # the names are those of the class above
        self,
        req: aiohttp.ClientRequest,
        traces: list[Trace],
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109
    ) -> Connection:
        """A new connection, behind its gate."""
        connection = await super().connect(req, traces, timeout)
        transport, served = connection.transport, connection.protocol
        if transport is not None and served is not None:
            transport.set_protocol(Gate(served, self._rates, self._clock, transport))
        return connection


def client_session(
    source: str | None = None, rates: RateLimits | None = None, clock: Clock = time.monotonic
) -> aiohttp.ClientSession:
    """A session for dialling: no cookies, no redirects, no proxy, no limit of its own. Close it after use.

    `source`: the address of ours to dial from; None: the system chooses. `rates`: what each connection may bring.
    """
    trace = aiohttp.TraceConfig()
    trace.on_request_redirect.append(_refuse_redirect)
    return aiohttp.ClientSession(
        connector=_GatedConnector(rates or RateLimits(), clock, None if source is None else (source, 0)),
        cookie_jar=aiohttp.DummyCookieJar(),
        trace_configs=[trace],
    )


async def open_web_socket(session: aiohttp.ClientSession, address: Address, heartbeat_seconds: float) -> WebSocket:
    """Connect and upgrade; the caller sets the time limit. Raises UnreachableError."""
    try:
        return await session.ws_connect(
            URL.build(scheme="ws", host=address.host, port=address.port, path=PEER_PATH),
            heartbeat=heartbeat_seconds,
            max_msg_size=MESSAGE_SIZE_SETTING,
            compress=0,
            autoping=False,
            timeout=aiohttp.ClientWSTimeout(ws_close=CLOSE_SECONDS_MAX),
        )
    except (aiohttp.ClientError, OSError, ValueError) as error:
        raise UnreachableError(_in_words(error)) from error


def _in_words(error: Exception) -> str:
    match error:
        case aiohttp.ClientConnectorDNSError():
            return "the host name is not known"
        case aiohttp.ClientConnectorError(os_error=ConnectionRefusedError()):
            return "connection refused"
        case aiohttp.ClientConnectorError(os_error=os_error):
            return (os_error.strerror or str(os_error)).lower()
        case aiohttp.WSServerHandshakeError(status=status):
            return f"what answers there is no peer (HTTP status {status})"
        case _RedirectedError():
            return "what answers there is no peer (it sends us elsewhere)"
        case aiohttp.ClientResponseError() | aiohttp.InvalidURL():
            return "what answers there is no peer"
        case aiohttp.ServerDisconnectedError() | ConnectionError():
            return "it closed the connection at once"
        case _:
            return str(error) or type(error).__name__
