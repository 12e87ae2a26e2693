"""People are told of outsiders, and no outsider fills a log.

Who gets into a listener before it is known who they are; over real sockets. By other hosts: node/lab/simulation/sockets.
"""

import asyncio
import logging
import os
from dataclasses import replace

import pytest

from node.net.listener import SeldomNotes
from node.net.network_interface import NetSettings
from tests.node.net.example_peers import QUICK, identity_of, node_of, play, running


def test_what_is_left_out_is_counted_and_told_with_the_next_one() -> None:
    told: list[str] = []
    now = [0.0]
    notes = SeldomNotes(told.append, lambda: now[0], burst=2)
    for number in range(5):
        notes.say(f"note {number}")
    now[0] = 10.0
    notes.say("note 5")
    assert told == ["note 0", "note 1", "note 5 (and 3 more like it)"]


def test_refusals_of_a_thousand_fresh_keys_leave_few_lines() -> None:
    async def scenario() -> None:
        ann = node_of(1)
        async with running(ann):
            for number in range(1_000):
                ann.network.refuse(identity_of(1_000 + number).peer, "more messages than allowed", os.urandom(8).hex())
            assert len(ann.notes) <= 65
            assert len(ann.network.refused_peers()) == 1_000

    play(scenario)


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


def test_what_outsiders_write_reaches_no_log(caplog: pytest.LogCaptureFixture) -> None:
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
