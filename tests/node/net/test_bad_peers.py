"""Everything that a peer can do wrong has its exact outcome, and honest peers stay connected meanwhile."""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from consensus.types import NetworkId
from node.net.channel import ChannelClosedError
from node.net.handshake import Failed, Failure
from node.net.rates import RateLimits
from node.net.transport import NetSettings
from node.net.wire import (
    PROTOCOL_VERSION,
    Addresses,
    GetAddresses,
    GossipFrame,
    Have,
    Hello,
    OrderingFrame,
    Proof,
    Rules,
    encode_frame,
)
from tests.node.net.example_peers import (
    IMPATIENT,
    LOOPS,
    NETWORK,
    QUICK,
    Identity,
    LoopFactory,
    Node,
    Outsider,
    identity_of,
    node_of,
    outsider_at,
    play,
    running,
    until,
)

MALLORY = identity_of(66)
HAVE = encode_frame(Have((b"d" * 16,)))


@asynccontextmanager
async def honest_pair(settings: NetSettings = QUICK) -> AsyncIterator[tuple[Node, Node]]:
    """Two connected honest peers; both must still be connected, without ever having parted, when the block ends."""
    ann = node_of(1, settings=settings)
    async with running(ann):
        ben = node_of(2, (ann.address,))
        async with running(ben):
            await until(lambda: ann.connected and ben.connected)
            yield ann, ben
            ann.network.broadcast(b"flood: still here")
            await until(lambda: b"flood: still here" in ben.inbox)
            assert ann.connected == {ben.identity.peer}
            assert ben.identity.peer not in ann.left


def sealed(data: bytes) -> Callable[[Outsider], Awaitable[None]]:
    return lambda outsider: outsider.channel.send(data)


def raw(data: bytes) -> Callable[[Outsider], Awaitable[None]]:
    return lambda outsider: outsider.web_socket.send_bytes(data)


def text(outsider: Outsider) -> Awaitable[None]:
    return outsider.web_socket.send_str("hello")


@pytest.mark.parametrize(
    ("misbehave", "fault"),
    [
        (sealed(HAVE[:-1]), "malformed message: frame of 20 bytes: Input data was truncated"),
        (sealed(b"\x97\x01" + bytes(300)), "oversized message: frame of 302 bytes, limit 256"),
        (sealed(b"\x92\x63\x00"), "malformed message: frame of 3 bytes: Invalid value 99 - at `$[0]`"),
        (sealed(b"\x92\x05\xc5\x00\x01m"), "malformed message: frame of 6 bytes: the encoding is not canonical"),
        (sealed(b"\x00garbage"), "malformed message: frame of 8 bytes: Expected `array`, got `int`"),
        (sealed(b""), "malformed message: frame of 0 bytes: Input data was truncated"),
        (sealed(encode_frame(Proof(b"s" * 64))), "malformed message: Proof after the handshake"),
        (sealed(encode_frame(Rules(()))), "malformed message: Rules after the handshake"),
        (sealed(encode_frame(Addresses(()))), "answer that nobody asked for: addresses that were not asked for"),
    ],
)
def test_a_bad_frame_disconnects_and_refuses_its_sender(misbehave: Callable[[Outsider], Awaitable[None]], fault: str) -> None:
    async def scenario() -> None:
        async with honest_pair() as (ann, _):
            async with outsider_at(ann) as mallory:
                await mallory.shake(MALLORY)
                await until(lambda: MALLORY.peer in ann.connected)
                await misbehave(mallory)
                assert await mallory.end() == fault[:123]
                await until(lambda: MALLORY.peer not in ann.connected)
                name = f"peer {MALLORY.peer[:4].hex()} at 127.0.0.1:{mallory.port}"
                assert ann.notes == [f"refused {name} for 600 s: {fault}"]
            assert await outcome_of_return(ann, MALLORY) == "refused for a time"

    play(scenario)


async def too_many_pings(outsider: Outsider) -> None:
    for _ in range(70):
        await outsider.web_socket.ping(b"x" * 100)


@pytest.mark.parametrize(
    ("misbehave", "fault"),
    [
        (raw(b"unsealed garbage of some length"), "frame of 31 bytes: its seal is broken"),
        (raw(HAVE), "frame of 21 bytes: its seal is broken"),
        (text, "text message, where only binary ones are allowed"),
        (raw(bytes(1_048_600)), "Message size 1048600 exceeds limit 1048593"),
        (too_many_pings, "more than 4 pings or pongs a second"),
    ],
)
def test_what_its_sender_has_not_sealed_disconnects_and_refuses_nobody(
    misbehave: Callable[[Outsider], Awaitable[None]], fault: str
) -> None:
    async def scenario() -> None:
        async with honest_pair() as (ann, _), outsider_at(ann) as mallory:
            await mallory.shake(MALLORY)
            await until(lambda: MALLORY.peer in ann.connected)
            await misbehave(mallory)
            await until(lambda: MALLORY.peer not in ann.connected)
            name = f"peer {MALLORY.peer[:4].hex()} at 127.0.0.1:{mallory.port}"
            assert ann.notes == [f"dropped {name}: {fault}; it need not be its own doing"]
            assert ann.network.refused_peers() == frozenset()

    play(scenario)


async def outcome_of_return(node: Node, identity: Identity) -> str:
    async with outsider_at(node) as again:
        await again.shake(identity)
        return await again.end()


def test_a_flood_of_frames_disconnects_its_sender() -> None:
    async def scenario() -> None:
        rates = RateLimits(frames_per_second=50, frames_burst=100)
        async with honest_pair(replace(QUICK, rates=rates)) as (ann, _), outsider_at(ann) as mallory:
            await mallory.shake(MALLORY)
            with pytest.raises(ChannelClosedError):
                await ask_without_end(mallory)
            await until(lambda: ann.notes)
            assert ann.notes[0].endswith("for 600 s: more messages than allowed: more than 50 frames a second")

    play(scenario)


async def ask_without_end(outsider: Outsider) -> None:
    while True:
        await outsider.say(GetAddresses())
        await asyncio.sleep(0)


def test_a_flood_of_bytes_disconnects_its_sender() -> None:
    async def scenario() -> None:
        rates = RateLimits(bytes_per_second=1_000, bytes_burst=50_000)
        async with honest_pair(replace(QUICK, rates=rates)) as (ann, _), outsider_at(ann) as mallory:
            await mallory.shake(MALLORY)
            for _ in range(6):
                await mallory.say(OrderingFrame(bytes(10_000)))
            await until(lambda: ann.notes)
            assert ann.notes[0].endswith("for 600 s: more messages than allowed: more than 1000 bytes a second")

    play(scenario)


def test_a_message_that_was_pushed_twice_is_delivered_once() -> None:
    async def scenario() -> None:
        async with honest_pair() as (ann, ben), outsider_at(ann) as mallory:
            await mallory.shake(MALLORY)
            await mallory.say(GossipFrame(b"flood"))
            await mallory.say(GossipFrame(b"flood"))
            await mallory.say(OrderingFrame(b"the end"))
            await until(lambda: ben.inbox and b"the end" in ann.inbox)
            assert (ann.inbox, ben.inbox) == ([b"flood", b"the end"], [b"flood"])
            await mallory.web_socket.close()
            await until(lambda: MALLORY.peer not in ann.connected)

    play(scenario)


def test_a_message_that_was_not_looked_at_is_taken_from_another() -> None:
    async def scenario() -> None:
        async with honest_pair() as (ann, ben), outsider_at(ann) as mallory:
            await mallory.shake(MALLORY)
            ann.unheard.add(MALLORY.peer)
            await mallory.say(GossipFrame(b"flood"))
            await mallory.say(OrderingFrame(b"the end"))
            await until(lambda: MALLORY.peer in ann.connected)
            await asyncio.sleep(0.1)
            assert ann.inbox == []
            ben.network.broadcast(b"flood")
            await until(lambda: ann.inbox)
            assert ann.inbox == [b"flood"]
            await mallory.web_socket.close()
            await until(lambda: MALLORY.peer not in ann.connected)

    play(scenario)


# --- in the handshake -----------------------------------------------------------------------------------------------


def test_a_stolen_name_is_told_and_turned_away() -> None:
    async def scenario() -> None:
        async with honest_pair() as (ann, ben), outsider_at(ann) as mallory:
            await mallory.shake(Identity(ben.identity.peer, MALLORY.sign))
            assert await mallory.end() == "wrong signature"
            key = ben.identity.peer[:8].hex()
            assert ann.notes == [f"127.0.0.1:{mallory.port} did not prove that it holds the key {key}"]

    play(scenario)


@pytest.mark.parametrize("loop", LOOPS)
def test_a_replayed_handshake_is_turned_away(loop: LoopFactory) -> None:
    async def scenario() -> None:
        async with honest_pair() as (ann, _):
            async with outsider_at(ann) as cat:
                await cat.shake(identity_of(3))
                await until(lambda: identity_of(3).peer in ann.connected)
            await until(lambda: identity_of(3).peer not in ann.connected)
            async with outsider_at(ann) as mallory:
                for data in cat.said:
                    await mallory.channel.send(data)
                assert await mallory.end() == "wrong signature"
            key = identity_of(3).peer[:8].hex()
            assert ann.notes == [f"127.0.0.1:{mallory.port} did not prove that it holds the key {key}"]

    play(scenario, loop)


def test_an_outsider_of_another_network_is_told_which_field_differs() -> None:
    async def scenario() -> None:
        async with honest_pair() as (ann, _), outsider_at(ann) as cat:
            rules = (("name", "digits"), ("proof_of_work.block_interval_ms", "1000"))
            outcome = await cat.shake(identity_of(3), NetworkId(b"o" * 32), rules)
            assert outcome == Failed(
                Failure.OTHER_NETWORK,
                "runs another network: proof_of_work.block_interval_ms is 1000 here, 500 there",
                is_offence=False,
            )
            assert await cat.end() == "another network"
            detail = "runs another network: proof_of_work.block_interval_ms is 500 here, 1000 there"
            assert ann.notes == [f"127.0.0.1:{cat.port} {detail}"]

    play(scenario)


def test_an_outsider_of_another_version_is_told_the_numbers() -> None:
    async def scenario() -> None:
        async with honest_pair() as (ann, _), outsider_at(ann) as cat:
            await cat.say(Hello(PROTOCOL_VERSION + 1, NETWORK, MALLORY.peer, os.urandom(32), 0, "cat"))
            answer = await cat.hear(Hello)
            assert isinstance(answer, Hello)
            assert answer.version == PROTOCOL_VERSION
            assert await cat.end() == "another protocol version"
            versions = f"speaks protocol version {PROTOCOL_VERSION + 1}, this peer speaks {PROTOCOL_VERSION}"
            assert ann.notes == [f"127.0.0.1:{cat.port} {versions}"]

    play(scenario)


@pytest.mark.parametrize(
    ("misbehave", "detail"),
    [
        (raw(b"garbage"), "broke the handshake: frame of 7 bytes: Expected `array`, got `int`"),
        (raw(b"\x97\x01" + bytes(300)), "broke the handshake: frame of 302 bytes, limit 256"),
        (raw(bytes(1_048_600)), "broke the handshake: Message size 1048600 exceeds limit 1048593"),
        (text, "broke the handshake: text message, where only binary ones are allowed"),
        (raw(encode_frame(OrderingFrame(b"x"))), "sent OrderingFrame in the handshake, where Hello was due"),
    ],
)
def test_nonsense_in_the_handshake_is_told_and_turned_away(
    misbehave: Callable[[Outsider], Awaitable[None]], detail: str
) -> None:
    async def scenario() -> None:
        async with honest_pair() as (ann, _), outsider_at(ann) as mallory:
            await misbehave(mallory)
            await mallory.end()
            assert ann.notes == [f"127.0.0.1:{mallory.port} {detail}"]
            assert ann.connected == {identity_of(2).peer}

    play(scenario)


def test_notes_about_outsiders_do_not_fill_the_log() -> None:
    async def scenario() -> None:
        async with honest_pair() as (ann, _):
            for _ in range(15):
                async with outsider_at(ann) as mallory:
                    await mallory.web_socket.send_bytes(b"garbage")
                    await mallory.end()
            assert len(ann.notes) == 10

    play(scenario)


def test_a_silent_outsider_is_disconnected_when_its_time_is_up() -> None:
    async def scenario() -> None:
        async with honest_pair(IMPATIENT) as (ann, _), outsider_at(ann) as mallory:
            async with asyncio.timeout(3.0):
                assert await mallory.end() == ""
            assert ann.notes == []

    play(scenario)


@pytest.mark.parametrize(
    "request_bytes", [b"", b"GET /peer HT", b"GET /peer HTTP/1.1\r\nHost: x\r\n", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"]
)
def test_a_connection_that_never_becomes_a_peer_is_cut_off(request_bytes: bytes) -> None:
    async def scenario() -> None:
        async with honest_pair(IMPATIENT) as (ann, _):
            reader, writer = await asyncio.open_connection(*ann.address)
            writer.write(request_bytes)
            async with asyncio.timeout(3.0):
                while await reader.read(1_000):
                    pass
            writer.close()
            await writer.wait_closed()

    play(scenario)


@pytest.mark.parametrize("loop", LOOPS)
def test_where_the_allowed_number_of_outsiders_has_come_the_oldest_makes_room_for_another(loop: LoopFactory) -> None:
    async def scenario() -> None:
        async with honest_pair(replace(QUICK, unauthenticated_max=3)) as (ann, _):
            held = [await asyncio.open_connection(*ann.address) for _ in range(3)]
            async with asyncio.timeout(2.0):  # well before their time is up
                async with outsider_at(ann) as cat:
                    await cat.shake(identity_of(3))
                    await until(lambda: identity_of(3).peer in ann.connected)
                assert [await is_hung_up_on(reader) for reader, _ in held[:1]] == [True]
            assert not any(reader.at_eof() for reader, _ in held[1:])
            for _, writer in held:
                writer.close()
            await until(lambda: identity_of(3).peer not in ann.connected)

    play(scenario, loop)


async def is_hung_up_on(reader: asyncio.StreamReader) -> bool:
    try:
        return await reader.read(1) == b""
    except ConnectionResetError:
        return True
