"""Machines for the tests of connections in memory: protocols that write down what they hear, on hosts of a virtual loop."""

import asyncio
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from contextvars import copy_context
from dataclasses import dataclass, field
from typing import TypeVar

from node.lab.simulation.links import ConstantLatency, Latency
from node.lab.simulation.sockets.internet import Host
from node.lab.simulation.sockets.loop import OWN_HOST, VirtualLoop

Result = TypeVar("Result")

PORT = 7_000

TEN_MS = ConstantLatency(10)


@contextmanager
def virtual_loop(latency: Latency = TEN_MS, uplink_kbit_s: int = 0, seed: int = 1) -> Iterator[VirtualLoop]:
    """A loop in which nothing may go wrong unnoticed."""
    mistakes: list[dict[str, object]] = []
    loop = VirtualLoop()
    loop.set_exception_handler(lambda _, context: mistakes.append(context))
    loop.internet.lay(seed, latency, uplink_kbit_s)
    try:
        yield loop
    finally:
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_for(5)
        assert not asyncio.all_tasks(loop), "a task was left behind"
        loop.close()
    assert mistakes == []


def start_on(loop: VirtualLoop, host: Host, work: Coroutine[None, None, Result]) -> asyncio.Task[Result]:
    """Let this run on a machine."""
    context = copy_context()
    context.run(OWN_HOST.set, host)
    return loop.create_task(work, context=context)


@dataclass
class Ear(asyncio.Protocol):
    """Writes down what it hears."""

    heard: bytearray = field(default_factory=bytearray)
    has_ended: bool = False
    lost: list[Exception | None] = field(default_factory=list)
    may_write: bool = True
    transport: asyncio.Transport | None = None

    def connection_made(self, transport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.heard += data

    def eof_received(self) -> None:
        self.has_ended = True

    def pause_writing(self) -> None:
        self.may_write = False

    def resume_writing(self) -> None:
        self.may_write = True

    def connection_lost(self, error: Exception | None) -> None:
        self.lost.append(error)


@dataclass
class Pair:
    """Two machines, and a connection from the first to the second."""

    loop: VirtualLoop
    hosts: tuple[Host, Host]
    dialler: Ear
    listener: Ear


def connected(loop: VirtualLoop) -> Pair:
    """A connection that has just been accepted."""
    hosts = loop.internet.host(0), loop.internet.host(1)
    dialler, listener = Ear(), Ear()

    async def listen() -> None:
        await asyncio.get_running_loop().create_server(lambda: listener, hosts[1].ip, PORT)

    async def dial() -> None:
        await asyncio.get_running_loop().create_connection(lambda: dialler, hosts[1].ip, PORT)

    start_on(loop, hosts[1], listen())
    loop.run_for(0)
    start_on(loop, hosts[0], dial())
    while dialler.transport is None:
        loop.run_for(0.01)
    return Pair(loop, hosts, dialler, listener)
