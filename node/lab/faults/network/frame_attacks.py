"""What outsiders do who say nothing, slowly or by the dozen; and what those do who say something.

Frames that are wrong, too large, too many, replayed, or full of false addresses.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from hashlib import blake2b
from itertools import chain, cycle

from consensus.types import DIGEST_BYTES, SIGNATURE_BYTES, NetworkId
from node.common.address import Address
from node.lab.faults.network.situation import NetworkSituation
from node.lab.faults.network.unauthenticated_client import UnauthenticatedClient, Visit, outsider_at
from node.net.address_book import is_loopback
from node.net.wire import (
    ADDRESSES_MAX,
    SHORT_DIGEST_BYTES,
    WEBSOCKET_MESSAGE_BYTES_MAX,
    Addresses,
    GetAddresses,
    Have,
    Proof,
    Rules,
    encode_frame,
)

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
            log.debug("an outsider was hung up on with %d bytes", len(answer))


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


Misbehave = Callable[[UnauthenticatedClient], Awaitable[None]]

_HAVE = encode_frame(Have((bytes(SHORT_DIGEST_BYTES),)))

_TOO_LONG_A_HELLO = b"\x97\x01" + bytes(300)

FALSE_NETWORKS = ("198.51.100.", "127.13.13.")
"""Where nobody is: TEST-NET-2 (RFC 5737), and for a target on this machine a corner of its loopback."""


def _sealed(data: bytes) -> Misbehave:
    return lambda outsider: outsider.channel.send(data)


def _unsealed(data: bytes) -> Misbehave:
    return lambda outsider: outsider.web_socket.send_bytes(data)


def _text(outsider: UnauthenticatedClient) -> Awaitable[None]:
    return outsider.web_socket.send_str("hello")


MALFORMED: tuple[Misbehave, ...] = (
    _sealed(_HAVE[:-1]),  # cut short
    _sealed(b""),
    _sealed(b"\x92\x63\x00"),  # a kind of frame that there is not
    _sealed(b"\x92\x05\xc5\x00\x01m"),  # a longer length than need be: not canonical
    _sealed(b"\x00garbage"),
    _sealed(encode_frame(Proof(bytes(SIGNATURE_BYTES)))),  # out of place
    _sealed(encode_frame(Rules(()))),
    _sealed(encode_frame(Addresses(()))),  # an answer that nobody asked for
    _unsealed(_HAVE),
    _text,
)
"""One of each kind; each ends the connection."""

OVERSIZED: tuple[Misbehave, ...] = (
    _sealed(_TOO_LONG_A_HELLO),
    _unsealed(bytes(WEBSOCKET_MESSAGE_BYTES_MAX + 1_000)),
)
"""Beyond the limit of its kind of frame, and of any message."""


def misbehaving_in_turn(ways: tuple[Misbehave, ...], situation: NetworkSituation) -> Visit:
    """Shakes hands as it should, and then misbehaves in the next of these ways."""
    turns = cycle(ways)

    async def visit(target: Address) -> None:
        async with outsider_at(target, situation) as outsider:
            if await outsider.shake_hands():
                await next(turns)(outsider)
                await outsider.wait_for_the_end()

    return visit


def flooding(situation: NetworkSituation) -> Visit:
    """Asks for addresses without end."""

    async def visit(target: Address) -> None:
        async with outsider_at(target, situation) as outsider:
            if await outsider.shake_hands():
                while True:
                    await outsider.say(GetAddresses())
                    await asyncio.sleep(0)

    return visit


def crowding(situation: NetworkSituation) -> Visit:
    """Takes a place, answers pings, and does nothing with it: who would need it is kept out.

    Whoever stays would stand at the first door with all others: so the lot says at which.
    """

    async def visit(target: Address) -> None:
        door = situation.random.choice(tuple(situation.targets()) or (target,))
        async with outsider_at(door, situation) as outsider:
            if await outsider.shake_hands():
                await outsider.wait_for_the_end()

    return visit


def replaying_handshakes(situation: NetworkSituation) -> Visit:
    """Shakes hands once, and says the same bytes again over another connection: the nonces have changed, so it proves nothing.

    Source: replay of a session's messages (Krawczyk, "SIGMA", CRYPTO 2003).
    """

    async def visit(target: Address) -> None:
        async with outsider_at(target, situation) as first:
            await first.shake_hands()
        async with outsider_at(target, situation) as second:
            for data in first.said:
                await second.channel.send(data)
            await second.wait_for_the_end()

    return visit


def coming_from_elsewhere(situation: NetworkSituation) -> Visit:
    """Introduces itself as a peer of another network."""
    elsewhere = NetworkId(blake2b(situation.network_id, digest_size=DIGEST_BYTES).digest())

    async def visit(target: Address) -> None:
        async with outsider_at(target, situation) as outsider:
            await outsider.shake_hands(network_id=elsewhere)

    return visit


def poisoning_addresses(situation: NetworkSituation) -> Visit:
    """Behaves, and answers each question for addresses with ones where nobody is.

    Source: Heilman, Kendler, Zohar, Goldberg, "Eclipse Attacks on Bitcoin's Peer-to-Peer Network", USENIX Security 2015.
    """

    async def visit(target: Address) -> None:
        async with outsider_at(target, situation) as outsider:
            if not await outsider.shake_hands():
                return
            while True:
                if isinstance(await outsider.channel.receive(), GetAddresses):
                    await outsider.say(Addresses(_false_addresses(situation, is_loopback(target.host))))
                    log.debug("%s was told %d false addresses", target, ADDRESSES_MAX)

    return visit


def _false_addresses(situation: NetworkSituation, is_local: bool) -> tuple[tuple[str, int], ...]:
    random, network = situation.random, FALSE_NETWORKS[is_local]
    return tuple((f"{network}{random.randrange(256)}", random.randrange(1, 65_536)) for _ in range(ADDRESSES_MAX))
