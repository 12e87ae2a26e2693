"""Peers in network namespaces of their own, joined by bridges: a partition makes packets vanish, and no endpoint is told.

Linux alone, and only where we may make namespaces (CAP_SYS_ADMIN) and links (CAP_NET_ADMIN). Each peer's namespace has one end
of a virtual cable (veth); its other end is plugged into the bridge of the peer's group. The bridges have no address, so no
packet ever leaves them. All names carry our process id: whatever a killed testnet has left behind is found by it.
"""

import asyncio
import ctypes
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

import psutil

from node.common.address import Address
from node.common.errors import NodeError
from node.lab.scenarios.events import PeerNumbers

NAMESPACE_FOLDER = Path("/run/netns")
"""Where iproute2 keeps namespaces by name (ip-netns(8))."""

SUBNET = "10.231.0"
"""Any private one does: it is known inside of our bridges alone. Hosts 1 to 254, more than a testnet has peers."""

PORT = 7600
"""Of every peer: each has an address of its own."""

COMMAND_SECONDS_MAX = 20.0
"""`ip` takes milliseconds; to end a namespace the kernel may take a second or two under load."""

CLONE_NEWNET = 0x40000000
"""From <linux/sched.h>."""

_PREFIX = "kubrat"
_OURS = re.compile(rf"^{_PREFIX}-(\d+)-\d+$")
_LINK_OF_OURS = re.compile(r"^k[bv](\d+)[gp]\d+$")
"""Names of links have 15 characters at most, which leaves no room for the prefix."""


BY_REFUSAL = "run as root, or use --partition-by refusal"


class NamespaceError(NodeError):
    """The machine does not let us make namespaces or links; the message holds what `ip` said."""


class Namespaces:
    """One for each peer. Implements `Divider`. Use it as a context manager: everything is removed at its end."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._owner = os.getpid()

    def __enter__(self) -> "Namespaces":
        """Raises NamespaceError, with nothing left behind."""
        try:
            _ip("link", "add", self._bridge(0), "up", "type", "bridge")
            for number in range(self._count):
                self._add(number)
        except BaseException:
            remove_of(self._owner)
            raise
        return self

    def __exit__(self, *_: object) -> None:
        remove_of(self._owner)

    def path(self, number: int) -> Path:
        """Where a process finds the peer's namespace; see `enter`."""
        return NAMESPACE_FOLDER / self._namespace(number)

    @staticmethod
    def address(number: int) -> Address:
        """Where the other peers find it."""
        return Address(f"{SUBNET}.{number + 1}", PORT)

    async def divide(self, groups: tuple[PeerNumbers, ...]) -> None:
        """A bridge for each group; a cable is plugged from one bridge into another at once. Raises NamespaceError."""
        await asyncio.to_thread(self._divide, groups)

    def _divide(self, groups: tuple[PeerNumbers, ...]) -> None:
        present = links_of(self._owner)
        for place, group in enumerate(groups):
            if self._bridge(place) not in present:
                _ip("link", "add", self._bridge(place), "up", "type", "bridge")
            for number in group:
                _ip("link", "set", self._cable(number), "master", self._bridge(place))

    def _add(self, number: int) -> None:
        namespace, cable, inner = self._namespace(number), self._cable(number), "peer"
        _ip("netns", "add", namespace)
        _ip("link", "add", cable, "up", "master", self._bridge(0), "type", "veth", "peer", "name", inner, "netns", namespace)
        _ip("-n", namespace, "addr", "add", f"{self.address(number).host}/24", "dev", inner)
        _ip("-n", namespace, "link", "set", inner, "up")
        _ip("-n", namespace, "link", "set", "lo", "up")

    def _namespace(self, number: int) -> str:
        return f"{_PREFIX}-{self._owner}-{number}"

    def _cable(self, number: int) -> str:
        return f"kv{self._owner}p{number}"

    def _bridge(self, group: int) -> str:
        return f"kb{self._owner}g{group}"


def enter(namespace: Path) -> None:
    """Move the calling thread, and all that it starts, into a namespace. Raises NodeError.

    `os.setns` is there from Python 3.12 on.
    """
    descriptor = os.open(namespace, os.O_RDONLY | os.O_CLOEXEC)
    try:
        library = ctypes.CDLL(None, use_errno=True)
        if library.setns(descriptor, CLONE_NEWNET) != 0:
            raise NamespaceError(
                f"cannot enter the network namespace {namespace}: {os.strerror(ctypes.get_errno())}", BY_REFUSAL
            )
    finally:
        os.close(descriptor)


def reason_against(count: int) -> str | None:
    """Why peers cannot have namespaces here; None where they can: it is tried."""
    try:
        with Namespaces(count):
            return None
    except NamespaceError as error:
        return error.message


# --- removing -------------------------------------------------------------------------------------------------------


def remove_of(owner: int) -> None:
    """All namespaces and links that this process has made. Processes that still run in one keep it alive until they end."""
    for name in _named(_OURS, _namespaces(), owner):
        _ip("netns", "delete", name)
    for name in sorted(links_of(owner)):
        if name in links_of(
            owner
        ):  # a cable ends with the namespace that holds its other end, as soon as the kernel comes to it
            _remove_link(name)


def remove_leftovers() -> tuple[int, ...]:
    """What testnets that run no more have left behind; their process ids."""
    names = [*((_OURS, name) for name in _namespaces()), *((_LINK_OF_OURS, name) for name in _links())]
    owners = {int(found[1]) for pattern, name in names if (found := pattern.match(name))}
    gone = tuple(sorted(owner for owner in owners if not psutil.pid_exists(owner)))
    for owner in gone:
        remove_of(owner)
    return gone


def links_of(owner: int) -> frozenset[str]:
    """The names of bridges and cables that this process has made."""
    return frozenset(_named(_LINK_OF_OURS, _links(), owner))


def _remove_link(name: str) -> None:
    try:
        _ip("link", "delete", name)
    except NamespaceError:
        if name in _links():
            raise


def _named(pattern: re.Pattern[str], names: Sequence[str], owner: int) -> Iterator[str]:
    for name in names:
        found = pattern.match(name)
        if found is not None and int(found[1]) == owner:
            yield name


def _namespaces() -> list[str]:
    return sorted(path.name for path in NAMESPACE_FOLDER.iterdir()) if NAMESPACE_FOLDER.is_dir() else []


def _links() -> list[str]:
    """Of our own namespace, where all bridges and the outer ends of all cables are."""
    return sorted(path.name for path in Path("/sys/class/net").iterdir())


def _ip(*arguments: str) -> None:
    """Run `ip`. Raises NamespaceError."""
    if shutil.which("ip") is None:
        raise NamespaceError("network namespaces need the command ip, which is not here", "install iproute2")
    command = ["ip", *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=COMMAND_SECONDS_MAX, check=False)
    except subprocess.TimeoutExpired as error:
        raise NamespaceError(f"`{' '.join(command)}` did not end within {COMMAND_SECONDS_MAX:g} s", BY_REFUSAL) from error
    if done.returncode:
        reason = done.stderr.strip() or f"exit code {done.returncode}"
        raise NamespaceError(f"`{' '.join(command)}` failed: {reason}", BY_REFUSAL)
