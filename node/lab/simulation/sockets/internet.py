"""All machines of the simulated internet, and the connections between them: refused, cut, torn down, or leading nowhere.

One incarnation of a machine's process sees its address, its doors and its connections.
"""

import asyncio
import errno
from collections import Counter
from collections.abc import Callable, Iterable
from functools import partial
from itertools import count
from random import Random
from typing import Protocol

from node.lab.simulation.links import ConstantLatency, Latency
from node.lab.simulation.sockets.connection import MemoryTransport
from node.lab.simulation.sockets.pipe import Mark, NetworkPath, Pipe, Uplink

FIRST_FREE_PORT = 49_152
"""Of the range for connections that are dialled (RFC 6335)."""

EphemeralPorts = partial(count, FIRST_FREE_PORT)

Address = tuple[str, int]
"""(IP address, port)."""


class Net(Protocol):
    """What joins the machines."""

    @property
    def accepted(self) -> Counter[int]:
        """Connections, by the number of the machine that was dialled."""
        ...

    async def connect(self, dialler: "Host", port: int, address: Address) -> MemoryTransport:
        """From a port of one machine to an address. Raises OSError."""
        ...


class Listener:
    """Where connections are accepted: each gets a protocol from `accept`."""

    def __init__(self, host: "Host", port: int, accept: Callable[[], asyncio.BaseProtocol]) -> None:
        self.accept = accept
        self._host = host
        self._port = port

    def getsockname(self) -> Address:
        """(IP address, port)."""
        return self._host.ip, self._port

    def close(self) -> None:
        """Accept no more."""
        self._host.close_listener(self._port)


class Host:
    """One machine as one incarnation of its process sees it: when that ends, all its connections do."""

    def __init__(self, net: Net, number: int) -> None:
        self.number = number
        self.ip = ip_of(number)
        self.is_up = True
        self.accepted_at_once_max = 0
        """The most connections from others that stood at one time."""
        self._net = net
        self._listeners: dict[int, Listener] = {}
        self._ends: dict[MemoryTransport, int] = {}
        """With the number of the machine at the other end."""
        self._inbound = 0
        self._free_ports = EphemeralPorts()

    def listener(self, port: int) -> Listener | None:
        """Who listens there."""
        return self._listeners.get(port)

    def listen(self, ip: str, port: int, accept: Callable[[], asyncio.BaseProtocol]) -> Listener:
        """Accept connections. Port 0: any. Raises OSError."""
        if not self.is_up:
            raise OSError(errno.ENETDOWN, "Network is down")
        if ip != self.ip:
            raise OSError(errno.EADDRNOTAVAIL, f"{ip} is no address of this machine, which is {self.ip}")
        port = port or next(self._free_ports)
        if port in self._listeners:
            raise OSError(errno.EADDRINUSE, "Address already in use")
        self._listeners[port] = Listener(self, port, accept)
        return self._listeners[port]

    def close_listener(self, port: int) -> None:
        """Nobody accepts there any more."""
        self._listeners.pop(port, None)

    async def connect(self, address: Address) -> MemoryTransport:
        """A connection that is accepted, not yet started. Raises OSError."""
        if not self.is_up:
            raise OSError(errno.ENETDOWN, "Network is down")
        return await self._net.connect(self, next(self._free_ports), address)

    def shut_down(self) -> None:
        """The process has ended: the operating system closes all that it held."""
        self.is_up = False
        self._listeners.clear()
        for end in tuple(self._ends):
            end.cut_off()

    def opened(self, end: MemoryTransport, other: int) -> None:
        """A connection stands that this machine has dialled."""
        self._ends[end] = other

    def accept(self, end: MemoryTransport, other: int) -> None:
        """A connection stands that another machine has dialled."""
        self._ends[end] = other
        self._inbound += 1
        self._net.accepted[self.number] += 1
        self.accepted_at_once_max = max(self.accepted_at_once_max, self._inbound)

    def closed(self, end: MemoryTransport, is_inbound: bool) -> bool:
        """It is over on this side; whether it stood."""
        stood = self._ends.pop(end, None) is not None
        self._inbound -= stood and is_inbound
        return stood

    def ends_to(self, other: int) -> tuple[MemoryTransport, ...]:
        """Of the connections with another machine, the oldest first."""
        return tuple(end for end, machine in self._ends.items() if machine == other)


def ip_of(number: int) -> str:
    """The address of a machine: 10.0.0.1 and so on."""
    return f"10.{number + 1 >> 16}.{(number + 1 >> 8) & 255}.{(number + 1) & 255}"


CONNECT_SECONDS_MAX = 127.0
"""Linux gives up on an address where nobody answers after six repetitions."""

Direction = tuple[int, int]
"""(sender, receiver), the numbers of two machines."""


class Internet:
    """All machines. What is random about the way from one to another comes from a stream of its own."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.connections_lost = 0
        self.accepted: Counter[int] = Counter()
        """Connections, by the number of the machine that was dialled."""
        self.dials_to_nowhere = 0
        """To addresses that no machine has."""
        self._loop = loop
        self._seed = 0
        self._latency: Latency = ConstantLatency(1)
        self._uplink_kbit_s = 0
        self._hosts: dict[str, Host] = {}
        """Who is up, or was."""
        self._uplinks: dict[int, Uplink] = {}
        self._ways: dict[Direction, NetworkPath] = {}
        self._pipes: dict[MemoryTransport, tuple[Pipe, Pipe]] = {}
        """Of connections that stand, by the dialler's end."""
        self._split: dict[int, int] = {}
        self._cuts: frozenset[Direction] = frozenset()

    def lay(self, seed: int, latency: Latency, uplink_kbit_s: int) -> None:
        """What it is like; before anybody is connected."""
        assert not self._ways, "it has been used"
        self._seed, self._latency, self._uplink_kbit_s = seed, latency, uplink_kbit_s

    def host(self, number: int) -> Host:
        """A machine whose process starts, in place of the one that it was."""
        host = Host(self, number)
        self._hosts[host.ip] = host
        return host

    def bytes_sent(self, number: int) -> int:
        """By this machine, over all its incarnations; what TCP and IP add is not counted."""
        return self._uplink(number).bytes_sent

    # --- what is done to it ---

    def split(self, groups: Iterable[Iterable[int]]) -> None:
        """Cut between machines of different groups, instead of an earlier split; those in no group are one more group."""
        self._split = {number: place for place, group in enumerate(groups, 1) for number in group}
        self._cut_ways()

    def cut(self, directions: Iterable[Direction]) -> None:
        """Cut these, too."""
        self._cuts |= frozenset(directions)
        self._cut_ways()

    def heal(self) -> None:
        """Nothing is cut any more, and what was held arrives."""
        self._split, self._cuts = {}, frozenset()
        self._cut_ways()

    def reset(self, one: int, other: int) -> None:
        """Tear down all connections of two machines, in the middle of what is under way."""
        for number in (one, other):
            host = self._hosts.get(ip_of(number))
            for end in host.ends_to(other if number == one else one) if host is not None else ():
                for pipe in self._pipes.pop(end, ()):
                    pipe.tear()

    def _cut_ways(self) -> None:
        for direction, way in self._ways.items():
            way.cut(self._is_cut(direction))

    def _is_cut(self, direction: Direction) -> bool:
        one, other = (self._split.get(number) for number in direction)
        return one != other or direction in self._cuts

    # --- connections ---

    async def connect(self, dialler: Host, port: int, address: Address) -> MemoryTransport:
        """From a port of one machine to an address. Raises OSError."""
        target = self._hosts.get(address[0])
        if target is None:
            self.dials_to_nowhere += 1
            await asyncio.sleep(CONNECT_SECONDS_MAX)
            raise TimeoutError(errno.ETIMEDOUT, "Connection timed out")
        there, back = self._way(dialler.number, target.number), self._way(target.number, dialler.number)
        to_listener, to_dialler = Pipe(there, back), Pipe(back, there)
        own = (dialler.ip, port)
        end = MemoryTransport(self._loop, to_listener, to_dialler, _names(own, address), partial(self._lost, dialler))
        to_listener.arrive = partial(self._knocked, to_listener, to_dialler, own, address)
        to_listener.mark(Mark.OPEN)
        await end.opened
        if not dialler.is_up:
            end.abort()
        if not end.is_closing():
            self._pipes[end] = to_listener, to_dialler
            dialler.opened(end, target.number)
        return end

    def _knocked(self, to_listener: Pipe, to_dialler: Pipe, dialler: Address, address: Address, _mark: object) -> None:
        """At the machine that is dialled."""
        target = self._hosts[address[0]]
        listener = target.listener(address[1])
        to_listener.arrive = _ignored
        if listener is None:
            to_dialler.mark(Mark.RESET)
            return
        end = MemoryTransport(self._loop, to_dialler, to_listener, _names(address, dialler), partial(_left, target))
        end.opened.set_result(None)
        to_dialler.mark(Mark.OPEN)
        target.accept(end, self._hosts[dialler[0]].number)
        end.start(listener.accept())

    def _lost(self, dialler: Host, end: MemoryTransport) -> None:
        """Each connection counts once: at the dialler's end."""
        self._pipes.pop(end, None)
        self.connections_lost += dialler.closed(end, is_inbound=False)

    def _way(self, sender: int, receiver: int) -> NetworkPath:
        direction = sender, receiver
        if direction not in self._ways:
            random = Random(f"{self._seed}/way/{sender}/{receiver}")
            self._ways[direction] = NetworkPath(self._loop, random, self._latency, sender, receiver, self._uplink(sender))
            self._ways[direction].cut(self._is_cut(direction))
        return self._ways[direction]

    def _uplink(self, number: int) -> Uplink:
        return self._uplinks.setdefault(number, Uplink(self._uplink_kbit_s))


def _names(own: Address, other: Address) -> dict[str, Address]:
    return {"sockname": own, "peername": other}


def _left(target: Host, end: MemoryTransport) -> None:
    target.closed(end, is_inbound=True)


def _ignored(_segment: object) -> None:
    """Nobody is there."""
