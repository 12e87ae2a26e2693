"""Networks on real sockets: they find each other, flood, survive each other, and stop without a trace."""

import asyncio
from contextlib import AsyncExitStack
from dataclasses import replace

import psutil
import pytest
from aiohttp import web

from node.net.address_book import Backoff
from node.net.handshake import Role
from node.net.transport import ListenError, NetSettings, PortInUseError
from node.net.wire import GossipFrame, OrderingFrame
from tests.node.net.example_peers import (
    LOOPS,
    QUICK,
    LoopFactory,
    Node,
    Outsider,
    channel_of,
    identity_of,
    listener_of,
    node_of,
    outsider_at,
    play,
    running,
    until,
)
from tests.node.real_peers import free_port


def open_files() -> int:
    return psutil.Process().num_fds()


def is_full_mesh(nodes: list[Node]) -> bool:
    everybody = {node.identity.peer for node in nodes}
    return all(node.connected == everybody - {node.identity.peer} for node in nodes)


def test_two_networks_exchange_messages_and_know_each_other() -> None:
    async def scenario() -> None:
        ann = node_of(1)
        async with running(ann):
            ben = node_of(2, (ann.address,), settings=replace(QUICK, user_agent="ben/1"))
            async with running(ben):
                await until(lambda: ann.connected and ben.connected)
                ben.network.send(ann.identity.peer, b"to ann")
                ann.network.send(ben.identity.peer, b"to ben")
                ann.network.send(identity_of(9).peer, b"to nobody")
                await until(lambda: ann.inbox and ben.inbox)
                (at_ann,), (at_ben,) = ann.network.peers(), ben.network.peers()
                assert (at_ann.address, at_ann.is_outbound, at_ann.user_agent) == (
                    f"127.0.0.1:{ben.network.port}",
                    False,
                    "ben/1",
                )
                assert (at_ben.address, at_ben.is_outbound, at_ben.user_agent) == (
                    f"127.0.0.1:{ann.network.port}",
                    True,
                    "kubrat",
                )
            await until(lambda: not ann.connected)
        assert (ann.inbox, ben.inbox) == ([b"to ann"], [b"to ben"])
        assert ann.joined == ann.left == [ben.identity.peer]
        assert ben.joined == ben.left == [ann.identity.peer]
        assert ann.notes == ben.notes == []

    play(scenario)


@pytest.mark.parametrize("loop", LOOPS)
def test_four_networks_find_each_other_from_one_address_and_flood_every_message_once(
    loop: LoopFactory,
) -> None:
    async def scenario() -> None:
        seed = node_of(1)
        async with running(seed):
            others = [node_of(number, (seed.address,)) for number in (2, 3, 4)]
            nodes = [seed, *others]
            async with running(*others):
                await until(lambda: is_full_mesh(nodes))
                await asyncio.sleep(0.3)  # simultaneous dials are sorted out
                assert is_full_mesh(nodes)
                before = sum(node.network.bytes_sent for node in nodes)
                messages = [b"flood %d " % number + bytes(10_000) for number in range(20)]
                for number, message in enumerate(messages):
                    nodes[number % 4].network.broadcast(message)
                await until(lambda: all(len(node.inbox) == 15 for node in nodes))
                await asyncio.sleep(0.2)
                copies_per_link = (sum(node.network.bytes_sent for node in nodes) - before) / (20 * 10_000 * 6)
        for number, node in enumerate(nodes):
            assert sorted(node.inbox) == sorted(message for index, message in enumerate(messages) if index % 4 != number)
        assert 0.5 <= copies_per_link < 0.75

    play(scenario, loop)


def test_a_message_crosses_peers_that_are_not_connected_to_its_origin() -> None:
    async def scenario() -> None:
        alone = replace(QUICK, outbound_target=1)
        ann, ben, cat = node_of(1, settings=replace(QUICK, outbound_target=0)), None, None
        async with running(ann):
            ben = node_of(2, (ann.address,), settings=alone)
            async with running(ben):
                cat = node_of(3, (ben.address,), settings=alone)
                async with running(cat):
                    await until(lambda: len(ben.connected) == 2)
                    ann.network.broadcast(b"flood")
                    await until(lambda: cat.inbox)
                    assert (ann.inbox, ben.inbox, cat.inbox) == ([], [b"flood"], [b"flood"])
                    assert cat.connected == {ben.identity.peer}

    play(scenario)


@pytest.mark.parametrize("attempt", range(5))
def test_two_that_dial_each_other_at_the_same_time_keep_one_connection(attempt: int) -> None:
    async def scenario() -> None:
        ports = free_port(), free_port()
        ann = node_of(2 * attempt + 1, (("127.0.0.1", ports[1]),), settings=replace(QUICK, listen_port=ports[0]))
        ben = node_of(2 * attempt + 2, (("127.0.0.1", ports[0]),), settings=replace(QUICK, listen_port=ports[1]))
        async with running(ann, ben):
            await until(lambda: ann.connected and ben.connected)
            await asyncio.sleep(0.2)
            (at_ann,), (at_ben,) = ann.network.peers(), ben.network.peers()
            assert at_ann.is_outbound is not at_ben.is_outbound
            ann.network.send(ben.identity.peer, b"one way")
            ben.network.send(ann.identity.peer, b"and back")
            await until(lambda: ann.inbox and ben.inbox)

    play(scenario)


def test_a_peer_that_comes_back_is_connected_again() -> None:
    async def scenario() -> None:
        port = free_port()
        ann = node_of(1, (("127.0.0.1", port),))
        async with running(ann):
            for _ in range(2):
                ben = node_of(2, settings=replace(QUICK, listen_port=port))
                async with running(ben):
                    await until(lambda: ann.connected)
                await until(lambda: not ann.connected)
        assert ann.joined == ann.left == [identity_of(2).peer] * 2

    play(scenario)


@pytest.mark.parametrize("loop", LOOPS)
def test_a_port_in_use_is_named(loop: LoopFactory) -> None:
    async def scenario() -> None:
        ann = node_of(1)
        async with running(ann):
            ben = node_of(2, settings=replace(QUICK, listen_port=ann.network.port))
            message = f"^cannot listen on 127.0.0.1:{ann.network.port}: the port is in use by another program or peer$"
            with pytest.raises(PortInUseError, match=message):
                await ben.network.run()

    play(scenario, loop)


def test_an_address_of_another_machine_cannot_be_listened_on() -> None:
    async def scenario() -> None:
        with pytest.raises(ListenError, match=r"^cannot listen on 203\.0\.113\.1:0: "):
            await node_of(1, settings=NetSettings(listen_host="203.0.113.1")).network.run()

    play(scenario)


def test_a_refused_peer_is_disconnected_and_stays_out_until_the_refusal_expires() -> None:
    async def scenario() -> None:
        ann = node_of(1, settings=replace(QUICK, refusal_seconds=0.8))
        async with running(ann):
            ben = node_of(2, (ann.address,))
            async with running(ben):
                await until(lambda: ann.connected)
                ann.network.refuse(ben.identity.peer, "wrong target", "bits 7, 9 expected")
                ann.network.send(ben.identity.peer, b"after the refusal")
                await until(lambda: not ann.connected)
                await asyncio.sleep(0.5)
                assert ann.connected == set()
                await until(lambda: ann.connected)
        name = f"peer {ben.identity.peer[:4].hex()} at 127.0.0.1:{ben.network.port}"
        assert ann.notes == [f"refused {name} for 0.8 s: wrong target: bits 7, 9 expected"]
        assert ben.inbox == []

    play(scenario)


@pytest.mark.parametrize("loop", LOOPS)
def test_a_peer_that_does_not_read_is_dropped_and_the_others_are_served(loop: LoopFactory) -> None:
    async def scenario() -> None:
        ann = node_of(1, settings=replace(QUICK, outbox_bytes_max=1_000_000, outbound_target=0))
        async with running(ann):
            ben = node_of(2, (ann.address,))
            async with running(ben), outsider_at(ann) as slow:
                await slow.shake(identity_of(3))
                await until(lambda: len(ann.connected) == 2)
                sent: list[bytes] = []
                while identity_of(3).peer in ann.connected:
                    sent.append(b"flood" + len(sent).to_bytes(4, "big") + bytes(200_000))
                    ann.network.broadcast(sent[-1])
                    await until(lambda: len(ben.inbox) == len(sent))
                assert ann.connected == {ben.identity.peer}
                (note,) = ann.notes
                name = f"peer {identity_of(3).peer[:4].hex()} at 127.0.0.1:{slow.port}"
                assert note.startswith(f"dropped {name}: too slow: ")
                assert note.endswith(", limits 2048 and 1000000")

    play(scenario, loop)


def test_what_waits_for_all_outsiders_is_bounded_and_the_one_that_reads_is_served() -> None:
    async def scenario() -> None:
        ann = node_of(1, settings=replace(QUICK, outsiders_outbox_bytes_max=4_000_000, outbound_target=0))
        async with running(ann), AsyncExitStack() as stack:
            ben = node_of(2, (ann.address,))
            await stack.enter_async_context(running(ben))
            slow = [identity_of(number) for number in range(3, 7)]
            for identity in slow:
                await (await stack.enter_async_context(outsider_at(ann))).shake(identity)
            await until(lambda: len(ann.connected) == 5)
            for number in range(60):
                for identity in slow:
                    ann.network.send(identity.peer, bytes(250_000))
                ann.network.send(ben.identity.peer, b"%d" % number)
                await until(lambda: len(ben.inbox) == number + 1)  # noqa: B023 - awaited at once
            assert ann.connected == {ben.identity.peer}
            assert all(": too slow: " in note for note in ann.notes)
            assert any("for all outsiders" in note for note in ann.notes)

    play(scenario)


@pytest.mark.parametrize("loop", LOOPS)
def test_a_listener_that_does_not_read_is_cut_off(loop: LoopFactory) -> None:
    """Its full buffers must not keep our socket open."""
    given_up = asyncio.Event()

    async def read_no_more(request: web.BaseRequest) -> web.StreamResponse:
        web_socket = web.WebSocketResponse()
        await web_socket.prepare(request)
        async with channel_of(web_socket, Role.LISTENER) as channel:
            await Outsider(web_socket, channel, 0).shake(identity_of(2))
            await given_up.wait()
        return web_socket

    async def scenario() -> None:
        async with listener_of(read_no_more) as address:
            ann = node_of(1, (address,), settings=replace(QUICK, outbox_bytes_max=1_000_000, backoff=Backoff(60.0, 60.0)))
            async with running(ann):
                await until(lambda: ann.connected)
                files = open_files()
                while ann.connected:
                    ann.network.send(identity_of(2).peer, bytes(200_000))
                    await asyncio.sleep(0.005)
                await until(lambda: open_files() == files - 2)  # our socket, and our handle to it
                assert ann.notes[0].startswith(
                    f"dropped peer {identity_of(2).peer[:4].hex()} at 127.0.0.1:{address[1]}: too slow: "
                )
            given_up.set()

    play(scenario, loop)


def test_places_are_limited_and_the_peer_that_finds_none_says_why() -> None:
    async def scenario() -> None:
        ann = node_of(1, settings=replace(QUICK, inbound_max=1, outbound_target=0))
        async with running(ann):
            ben = node_of(2, (ann.address,))
            async with running(ben):
                await until(lambda: ann.connected)
                async with outsider_at(ann) as outsider:
                    await outsider.shake(identity_of(3))
                    assert await outsider.end() == "no free place: 1 inbound connections"
                assert ann.connected == {ben.identity.peer}

    play(scenario)


def test_messages_of_the_largest_size_pass() -> None:
    async def scenario() -> None:
        ann = node_of(1)
        async with running(ann), outsider_at(ann) as outsider:
            await outsider.shake(identity_of(2))
            await outsider.say(OrderingFrame(bytes(1_047_552)))
            await outsider.say(GossipFrame(bytes(262_144)))
            await until(lambda: len(ann.inbox) == 2)
            assert [len(message) for message in ann.inbox] == [1_047_552, 262_144]

    play(scenario)


def test_bytes_are_counted_alike_on_both_sides() -> None:
    async def scenario() -> None:
        ann = node_of(1)
        async with running(ann):
            ben = node_of(2, (ann.address,), settings=replace(QUICK, backoff=Backoff(10.0, 10.0)))
            async with running(ben):
                await until(lambda: ann.connected and ben.connected)
                for size in (0, 100, 1_000, 100_000):
                    ben.network.send(ann.identity.peer, bytes(size))
                    ann.network.send(ben.identity.peer, bytes(size))
                await until(lambda: len(ann.inbox) == len(ben.inbox) == 4)
                await asyncio.sleep(0.3)  # a dial of ann's, which gives way to this connection, has ended
                (at_ann,), (at_ben,) = ann.network.peers(), ben.network.peers()
                assert (at_ann.bytes_sent, at_ann.bytes_received) == (at_ben.bytes_received, at_ben.bytes_sent)
                assert at_ben.bytes_sent > at_ann.bytes_sent > 101_100
                assert (ann.network.bytes_sent, ann.network.bytes_received) == (
                    ben.network.bytes_received,
                    ben.network.bytes_sent,
                )

    play(scenario)
