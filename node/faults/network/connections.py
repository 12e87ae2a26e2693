"""What strangers do who say nothing: they take up connections, slowly or by the dozen."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from itertools import chain, cycle

from node.faults.network.raid import Visit
from node.net.peers import Address

REQUEST = b"GET /peer HTTP/1.1\r\nHost: peer\r\n"
"""The beginning of an upgrade; its end never comes."""


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
