"""What may come in at the peers' port, however it is cut into pieces, and that nothing else is served for long."""

import asyncio
import contextlib
import itertools
import time
from collections.abc import Callable
from unittest.mock import Mock

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from node.net.gate import HEAD_BYTES_MAX, REFUSING_BYTES_MAX, UNPROVEN_MESSAGES_MAX, Gate, Incoming
from node.net.rates import RateLimits
from tests.node.net.example_peers import (
    LOOPS,
    QUICK,
    LoopFactory,
    Outsider,
    identity_of,
    listener_of,
    node_of,
    outsider_at,
    play,
    running,
    until,
)

HEAD = b"GET /peer HTTP/1.1\r\nHost: x\r\n\r\n"
UPGRADE = (
    b"GET /peer HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
UPGRADED = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n"
MASK = b"mask"
PING = b"\x89\x80" + MASK
BEGUN, CONTINUED = b"\x02\x80" + MASK, b"\x00\x80" + MASK


def framed(size: int, *, is_masked: bool = True, first: int = 0x82) -> bytes:
    """A whole binary message of zeros."""
    mask_bit = 0x80 if is_masked else 0
    if size < 126:
        length = bytes((mask_bit | size,))
    elif size < 65_536:
        length = bytes((mask_bit | 126,)) + size.to_bytes(2, "big")
    else:
        length = bytes((mask_bit | 127,)) + size.to_bytes(8, "big")
    return bytes((first,)) + length + (MASK if is_masked else b"") + bytes(size)


def is_taken(pieces: list[bytes]) -> bool:
    incoming = Incoming()
    return all(incoming.is_allowed(piece, 1_000) for piece in pieces)


SIZES = st.sampled_from((0, 1, 125, 126, 127, 300, 65_535, 65_536, 70_000))
MESSAGES = st.lists(
    st.builds(framed, SIZES, is_masked=st.booleans(), first=st.sampled_from((0x81, 0x82, 0x88, 0x89))), max_size=6
)


def cut(data: bytes, cuts: list[float]) -> list[bytes]:
    places = [0, *sorted(int(part * len(data)) for part in cuts), len(data)]
    return [data[start:end] for start, end in itertools.pairwise(places)]


@given(MESSAGES, st.lists(st.floats(0, 1), max_size=12))
def test_whole_messages_are_taken_however_they_are_cut(messages: list[bytes], cuts: list[float]) -> None:
    assert is_taken([HEAD, *cut(b"".join(messages), cuts)])


@given(MESSAGES, st.sampled_from((0x02, 0x00, 0x80)), st.lists(st.floats(0, 1), max_size=12))
def test_a_fragment_is_found_wherever_it_comes(messages: list[bytes], first: int, cuts: list[float]) -> None:
    assert not is_taken([HEAD, *cut(b"".join(messages) + framed(0, first=first), cuts)])


@pytest.mark.parametrize(
    ("pieces", "is_allowed"),
    [
        ([HEAD[:9], HEAD[9:-1], HEAD[-1:]], True),
        ([HEAD + HEAD], False),
        ([HEAD + PING], False),
        ([HEAD, HEAD], False),
        ([b"GET /" + bytes(HEAD_BYTES_MAX)], False),
    ],
)
def test_one_request_comes_before_all_else(pieces: list[bytes], is_allowed: bool) -> None:
    assert is_taken(pieces) == is_allowed


@pytest.mark.parametrize("loop", LOOPS)
def test_who_asks_again_on_one_connection_is_answered_once_at_most(loop: LoopFactory) -> None:
    async def scenario() -> None:
        ann = node_of(1)
        async with running(ann):
            for requests in ([b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"] * 40, [b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * 40]):
                reader, writer = await asyncio.open_connection(*ann.address)
                answers = b""
                try:
                    for request in requests:
                        if writer.is_closing():
                            break  # uvloop says RuntimeError to who writes then
                        writer.write(request)
                        await writer.drain()
                        await asyncio.sleep(0.001)
                    answers = await reader.read()
                except ConnectionError:
                    pass  # cut off in the middle
                assert answers.count(b"HTTP/1.1") <= 1
                writer.close()

    play(scenario, loop)


@pytest.mark.parametrize("loop", LOOPS)
def test_a_peer_that_sends_empty_fragments_without_end_is_cut_off(loop: LoopFactory) -> None:
    async def scenario() -> None:
        ann = node_of(1)
        async with running(ann), outsider_at(ann) as mallory:
            await mallory.shake(identity_of(66))
            await until(lambda: ann.connected)
            transport_of(mallory)(BEGUN + CONTINUED * 1_000)
            await until(lambda: not ann.connected)
            assert ann.network.refused_peers() == frozenset()

    play(scenario, loop)


def test_of_many_frames_at_once_no_more_are_looked_at_than_may_come() -> None:
    incoming = Incoming()
    assert incoming.is_allowed(HEAD, 0)
    assert incoming.is_allowed(PING * 10, 10)
    assert not incoming.is_allowed(PING * 40_000, 10)
    assert incoming.frames == 21


@pytest.mark.parametrize(
    ("pieces", "is_allowed"),
    [
        ([UPGRADED], True),
        ([UPGRADED + framed(5, is_masked=False)], True),
        ([UPGRADED + framed(0, is_masked=False, first=0x02)], False),
        ([b"HTTP/1.1 404 Not Found\r\n\r\nwhy", b"it is so"], True),
        ([b"HTTP/1.1 404 Not Found\r\n\r\nwhy", bytes(REFUSING_BYTES_MAX + 1)], False),
        ([b"HTTP/1.1 101 " + bytes(HEAD_BYTES_MAX)], False),
    ],
)
def test_whom_we_dial_answers_once_and_then_sends_whole_messages(pieces: list[bytes], is_allowed: bool) -> None:
    incoming = Incoming(is_answer=True)
    assert all(incoming.is_allowed(piece, 1_000) for piece in pieces) == is_allowed


def connection(*, is_ours: bool) -> tuple[Gate, Mock, Mock]:
    """A gate at a clock that stands still, what it serves, and its transport."""
    served, transport = Mock(), Mock()
    transport.is_closing.return_value = False
    gate = Gate(served, RateLimits(), lambda: 0.0, transport if is_ours else None)
    if not is_ours:
        gate.connection_made(transport)
    gate.data_received(UPGRADED if is_ours else HEAD)
    return gate, served, transport


def test_who_has_not_proven_a_key_is_cut_off_for_more_messages_than_belong_to_that() -> None:
    gate, served, transport = connection(is_ours=False)
    gate.data_received(PING * UNPROVEN_MESSAGES_MAX)
    assert not transport.abort.called
    gate.data_received(PING)
    assert transport.abort.called
    assert served.data_received.call_args.args == (PING * UNPROVEN_MESSAGES_MAX,)


def test_who_has_not_proven_a_key_is_cut_off_for_more_bytes_than_belong_to_that() -> None:
    gate, _, transport = connection(is_ours=False)
    for _ in range(3):
        gate.data_received(framed(1_000_000))
    assert transport.abort.called


@pytest.mark.parametrize("is_ours", [False, True])
def test_who_has_proven_a_key_is_cut_off_only_for_more_than_any_peer_may_send(*, is_ours: bool) -> None:
    gate, _, transport = connection(is_ours=is_ours)
    if not is_ours:
        gate.prove()
    gate.data_received(PING * int(RateLimits().frames_burst))
    assert not transport.abort.called
    gate.data_received(PING * 6_000)
    assert transport.abort.called


@pytest.mark.parametrize("loop", LOOPS)
def test_whoever_is_dialled_and_sends_empty_fragments_without_end_is_cut_off(loop: LoopFactory) -> None:
    async def scenario() -> None:
        ended: list[float] = []

        async def answer(request: web.BaseRequest) -> web.StreamResponse:
            web_socket = web.WebSocketResponse(max_msg_size=0)
            await web_socket.prepare(request)
            assert request.transport is not None
            request.transport.write(b"\x02\x00" + b"\x00\x00" * 1_000)
            async for _ in web_socket:
                pass
            ended.append(time.monotonic())
            return web_socket

        async with listener_of(answer) as address:
            began = time.monotonic()
            async with running(node_of(1, (address,))):
                await until(lambda: ended, QUICK.handshake_seconds_max / 2)
            assert ended[0] - began < QUICK.handshake_seconds_max / 2

    play(scenario, loop)


@pytest.mark.parametrize("loop", LOOPS)
def test_the_smallest_messages_by_who_says_no_hello_cost_little_however_many_there_are(loop: LoopFactory) -> None:
    async def scenario() -> None:
        ann = node_of(1)
        async with running(ann):
            reader, writer = await asyncio.open_connection(*ann.address)
            writer.write(UPGRADE)
            await reader.readuntil(b"\r\n\r\n")
            writer.write(PING * 40_000)
            with contextlib.suppress(ConnectionError):
                while await reader.read(65_536):
                    pass
            assert ann.network.bytes_received <= UNPROVEN_MESSAGES_MAX * len(PING)
            writer.close()

    play(scenario, loop)


def transport_of(outsider: Outsider) -> Callable[[bytes], None]:
    """Bytes of its own making."""
    write: Callable[[bytes], None] = outsider.web_socket._writer.transport.write  # type: ignore[union-attr]  # no public way
    return write
