"""One machine of the simulated internet, as one incarnation of its process sees it: its address, its doors, its connections."""

import asyncio
import errno
from collections import Counter
from collections.abc import Callable
from functools import partial
from itertools import count
from typing import Protocol

from node.lab.simulation.sockets.connection import MemoryTransport

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
