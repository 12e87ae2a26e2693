"""The wire: one frame, one encoding, and a limit for each."""

from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.net.wire import (
    FRAME_BYTES_MAX,
    GOSSIP_BYTES_MAX,
    ORDERING_BYTES_MAX,
    PROTOCOL_VERSION,
    WEBSOCKET_MESSAGE_BYTES_MAX,
    Addresses,
    Frame,
    FrameError,
    GetAddresses,
    GossipFrame,
    Have,
    Hello,
    MalformedFrameError,
    OrderingFrame,
    OversizedFrameError,
    Proof,
    Rules,
    Want,
    decode_frame,
    encode_frame,
    printable,
)

TEXT = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=64)
PORTS = st.integers(0, 65_535)
DIGESTS = st.lists(st.binary(min_size=16, max_size=16), min_size=1, max_size=256).map(tuple)


def key(size: int) -> st.SearchStrategy[bytes]:
    return st.binary(min_size=size, max_size=size)


FRAMES = cast(
    st.SearchStrategy[Frame],
    st.one_of(
        st.builds(Hello, st.integers(0, 65_535), key(32), key(32), key(32), PORTS, TEXT),
        st.builds(Proof, key(64)),
        st.builds(Rules, st.lists(st.tuples(TEXT, TEXT), max_size=8).map(tuple)),
        st.builds(OrderingFrame, st.binary(max_size=300)),
        st.builds(GossipFrame, st.binary(max_size=300)),
        st.builds(Have, DIGESTS),
        st.builds(Want, DIGESTS),
        st.just(GetAddresses()),
        st.builds(Addresses, st.lists(st.tuples(st.ip_addresses().map(str), PORTS), max_size=64).map(tuple)),
    ),
)
LARGEST: tuple[Frame, ...] = (
    Hello(65_535, b"k" * 32, b"k" * 32, b"k" * 32, 65_535, "u" * 64),
    Proof(b"s" * 64),
    Rules((("f" * 64, "v" * 256),) * 128),
    OrderingFrame(b"m" * ORDERING_BYTES_MAX),
    GossipFrame(b"m" * GOSSIP_BYTES_MAX),
    Have((b"d" * 16,) * 256),
    Want((b"d" * 16,) * 256),
    GetAddresses(),
    Addresses((("f" * 45, 65_535),) * 64),
)


@given(FRAMES)
def test_what_is_encoded_decodes_to_itself(frame: Frame) -> None:
    assert decode_frame(encode_frame(frame)) == frame


@given(
    st.one_of(st.binary(max_size=200), st.builds(lambda tag, rest: bytes([0x92, tag]) + rest, st.integers(0, 12), st.binary()))
)
def test_any_bytes_are_a_canonical_frame_or_a_frame_error(data: bytes) -> None:
    try:
        frame = decode_frame(data)
    except FrameError:
        return
    assert encode_frame(frame) == data


@given(FRAMES, st.data())
def test_a_truncated_frame_is_malformed(frame: Frame, data: st.DataObject) -> None:
    encoded = encode_frame(frame)
    with pytest.raises(MalformedFrameError):
        decode_frame(encoded[: data.draw(st.integers(0, len(encoded) - 1))])


@pytest.mark.parametrize("frame", LARGEST, ids=lambda frame: type(frame).__name__)
def test_the_largest_frame_of_each_kind_fits_its_limit_and_one_byte_more_does_not(frame: Frame) -> None:
    encoded = encode_frame(frame)
    limit = FRAME_BYTES_MAX[encoded[1]]
    assert decode_frame(encoded) == frame
    assert len(encoded) <= limit < WEBSOCKET_MESSAGE_BYTES_MAX
    with pytest.raises(OversizedFrameError, match=rf"^frame of {limit + 1} bytes, limit {limit}$"):
        decode_frame(encoded + b"\0" * (limit + 1 - len(encoded)))


@pytest.mark.parametrize(
    "data",
    [
        b"\x92\x63\x01",  # an unknown tag
        b"\x92\x08\x00",  # a field too many
        b"\x92\x04\xc5\x00\x01m",  # a length in two bytes where one suffices
        b"\x92\x05\xa1m",  # text where bytes are due
        b"\x92\x09\x91\x92\xa1\xff\x01",  # text that is not UTF-8
        encode_frame(Have((b"d" * 16,))).replace(b"d" * 16, b"d" * 15).replace(b"\xc4\x10", b"\xc4\x0f"),
        b"\x92\x06\x90",  # no digest at all
        b"\x92" * 50_000,  # nested deeper than any frame
    ],
)
def test_what_is_not_a_canonical_frame_is_malformed(data: bytes) -> None:
    with pytest.raises(MalformedFrameError):
        decode_frame(data)


@pytest.mark.parametrize("text", ["a\nb", "\x1b[2J", "naïve", "a\n"])
def test_text_that_could_forge_a_line_of_a_log_is_malformed(text: str) -> None:
    hello = Hello(PROTOCOL_VERSION, b"k" * 32, b"k" * 32, b"k" * 32, 1, text)
    with pytest.raises(MalformedFrameError):
        decode_frame(encode_frame(hello))


@given(st.text())
def test_our_own_text_is_always_fit_to_be_sent(text: str) -> None:
    hello = Hello(PROTOCOL_VERSION, b"k" * 32, b"k" * 32, b"k" * 32, 1, printable(text, 64))
    assert decode_frame(encode_frame(hello)) == hello


def test_a_hello_has_the_same_bytes_in_every_version_so_that_another_one_can_be_told() -> None:
    hello = Hello(7, b"n" * 32, b"k" * 32, b"x" * 32, 7600, "kubrat")
    of_32_bytes = b"\xc4\x20"
    assert encode_frame(hello) == b"".join(
        (b"\x97\x01\x07", of_32_bytes, b"n" * 32, of_32_bytes, b"k" * 32, of_32_bytes, b"x" * 32, b"\xcd\x1d\xb0\xa6kubrat")
    )
