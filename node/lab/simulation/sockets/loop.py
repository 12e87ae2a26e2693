"""An event loop that never waits: where a real one sleeps, time jumps; and whose connections are those of an `Internet`."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from contextvars import ContextVar
from socket import socket
from typing import Protocol, TypeVar, TypeVarTuple, cast

from consensus.types import Instant
from node.lab.simulation.sockets.connection import MemoryTransport
from node.lab.simulation.sockets.internet import Host, Internet, Listener
from node.lab.simulation.timeline import Action

Result = TypeVar("Result")
Arguments = TypeVarTuple("Arguments")
AnyProtocol = TypeVar("AnyProtocol", bound=asyncio.BaseProtocol)

BUSY_ROUNDS_MAX = 1_000_000
"""Rounds of the loop at one instant of time: what goes on for longer never ends. A flood takes thousands."""

OWN_HOST: ContextVar[Host] = ContextVar("OWN_HOST")
"""On which host a task runs; the tasks that it starts run there too."""


class StandstillError(RuntimeError):
    """Time cannot go on: everybody waits for nothing, or somebody never waits."""


class _VirtualSelector:
    """Stands where a loop waits for the operating system."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._busy_rounds = 0

    def select(self, timeout: float | None) -> tuple[()]:
        """Let so much time pass. Raises StandstillError."""
        if timeout is None:
            raise StandstillError("nobody waits for anything that could ever happen")
        self._busy_rounds = 0 if timeout > 0 else self._busy_rounds + 1
        if self._busy_rounds > BUSY_ROUNDS_MAX:
            self._busy_rounds = 0
            raise StandstillError(f"{BUSY_ROUNDS_MAX:,} rounds of the event loop have passed at one instant")
        self.seconds += timeout
        return ()


class _Sockets(Protocol):
    """What a server of asyncio tells of its sockets."""

    def getsockname(self) -> tuple[str, int]:
        """(host, port)."""
        ...


class MemoryServer:
    """As much of asyncio's server as those use who listen."""

    def __init__(self, listener: Listener) -> None:
        self._listener = listener

    @property
    def sockets(self) -> tuple[_Sockets, ...]:
        """Where it listens."""
        return (self._listener,)

    def close(self) -> None:
        """Listen no more."""
        self._listener.close()

    async def wait_closed(self) -> None:
        """It closes at once."""


class VirtualLoop(asyncio.BaseEventLoop):
    """Runs callbacks and timers as asyncio's own loop does, in the same order each time. What blocks takes no time."""

    def __init__(self) -> None:
        super().__init__()
        self._selector = _VirtualSelector()
        self.internet = Internet(self)
        self._connected: dict[socket, MemoryTransport] = {}
        """By the sockets that aiohttp makes for its dials: real ones that no packet ever leaves."""

    def time(self) -> float:
        """Seconds since the start."""
        return self._selector.seconds

    def run_for(self, seconds: float) -> None:
        """Let time pass. Raises what the loop itself raises, StandstillError among it."""
        self.call_at(self.time() + seconds, self.stop)
        self.run_forever()

    def run_in_executor(
        self, _executor: Executor | None, func: Callable[[*Arguments], Result], *args: *Arguments
    ) -> asyncio.Future[Result]:
        """Done at once: a thread would finish whenever it likes."""
        done: asyncio.Future[Result] = self.create_future()
        try:
            done.set_result(func(*args))
        except Exception as error:  # noqa: BLE001 - it is handed to whoever waits, as a thread's would be
            done.set_exception(error)
        return done

    # --- connections ---

    async def create_server(  # type: ignore[override]  # a subset: nothing listens with TLS, or on a socket of its own
        self, protocol_factory: Callable[[], asyncio.BaseProtocol], host: str, port: int, **_options: object
    ) -> asyncio.Server:
        """Listen on this task's host. Raises OSError where the port is taken, or the address is not this host's."""
        listener = OWN_HOST.get().listen(host, port, protocol_factory)
        return cast("asyncio.Server", MemoryServer(listener))  # asyncio's own class is bound to real sockets

    async def sock_connect(self, sock: socket, address: tuple[str, int]) -> None:  # type: ignore[override]  # of IPv4 only
        """Connect this task's host; the socket stands for the connection until `create_connection`. Raises OSError."""
        self._connected[sock] = await OWN_HOST.get().connect(address)

    async def create_connection(  # type: ignore[override]  # a subset: nothing dials with TLS, or from a given address
        self,
        protocol_factory: Callable[[], AnyProtocol],
        host: str = "",
        port: int = 0,
        *,
        sock: socket | None = None,
        **_options: object,
    ) -> tuple[asyncio.Transport, AnyProtocol]:
        """Over a connected socket, or to an address. Raises OSError."""
        if sock is None:
            transport = await OWN_HOST.get().connect((host, port))
        else:
            transport = self._connected.pop(sock)
            sock.close()
        protocol = protocol_factory()
        transport.start(protocol)
        return transport, protocol

    # --- what asyncio asks of a loop ---

    def _process_events(self, _events: tuple[()]) -> None:
        """There are none: whatever happens is a timer."""

    def _write_to_self(self) -> None:
        """It never sleeps, so nothing has to wake it."""


class LoopTime:
    """Implements `TrueTime`."""

    def __init__(self, loop: asyncio.AbstractEventLoop, start: Instant) -> None:
        self.start = start
        self._loop = loop

    @property
    def now(self) -> Instant:
        """Milliseconds since 1970; a timer for a whole millisecond fires within it, however its fraction is rounded."""
        return Instant(self.start + int(self._loop.time() * 1000 + 0.001))

    def after(self, delay_ms: int, action: Action) -> None:
        """Let `action` happen in `delay_ms`, at the earliest now."""
        self._loop.call_later(max(0, delay_ms) / 1000, action)
