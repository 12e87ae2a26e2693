"""What may come in at the peers' port, however it is cut into pieces, and that nothing else is served for long."""

import asyncio
import itertools
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.net.gate import REQUEST_BYTES_MAX, Incoming
from tests.node.net.example_peers import LOOPS, LoopFactory, Stranger, identity_of, node_of, play, running, stranger_at, until

HEAD = b"GET /peer HTTP/1.1\r\nHost: x\r\n\r\n"
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
    return all(incoming.is_allowed(piece) for piece in pieces)


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
        ([b"GET /" + bytes(REQUEST_BYTES_MAX)], False),
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
        async with running(ann), stranger_at(ann) as mallory:
            await mallory.shake(identity_of(66))
            await until(lambda: ann.connected)
            transport_of(mallory)(BEGUN + CONTINUED * 1_000)
            await until(lambda: not ann.connected)
            assert ann.network.refused_peers() == frozenset()

    play(scenario, loop)


def transport_of(stranger: Stranger) -> Callable[[bytes], None]:
    """Bytes of its own making."""
    write: Callable[[bytes], None] = stranger.web_socket._writer.transport.write  # type: ignore[union-attr]  # no public way
    return write
