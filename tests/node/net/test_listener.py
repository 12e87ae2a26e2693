"""Whom a listener lets in before it is known who they are; over real sockets. By other hosts: node/lab/simulation/sockets."""

import asyncio
import logging
from dataclasses import replace

import pytest

from node.net.network_interface import NetSettings
from tests.node.net.example_peers import QUICK, node_of, play, running


async def held(count: int, settings: NetSettings) -> int:
    """How many of so many connections from this machine, that say nothing, are not turned away."""
    ann = node_of(1, settings=settings)
    async with running(ann):
        connections = [await asyncio.open_connection(*ann.address) for _ in range(count)]
        await asyncio.sleep(0.2)
        standing = sum(not reader.at_eof() for reader, _ in connections)
        for _, writer in connections:
            writer.close()
            await writer.wait_closed()
    return standing


def test_this_machine_is_not_one_host_but_all_its_peers_and_yet_has_a_limit() -> None:
    async def scenario() -> None:
        assert await held(12, replace(QUICK, unauthenticated_per_group_max=2)) == 12
        assert await held(12, replace(QUICK, unauthenticated_max=5)) == 5

    play(scenario)


def test_what_strangers_write_reaches_no_log(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        ann = node_of(1)
        async with running(ann):
            for head in (b"GET /peer HTTP/9.z", b"G\x00T /peer HTTP/1.1", b"\x16\x03\x01\x02", b"GET //[ HTTP/1.1"):
                for _ in range(10):
                    reader, writer = await asyncio.open_connection(*ann.address)
                    writer.write(head + b"\r\nHost: x\r\nLong: %s\r\n\r\n" % (b"\x01y" * 3_500))
                    await reader.read()
                    writer.close()
                    await writer.wait_closed()
            assert ann.notes == []

    caplog.set_level(logging.INFO)
    play(scenario)
    assert caplog.records == []
