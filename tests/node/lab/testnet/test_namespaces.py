"""Network namespaces: joined by bridges, parted without anybody being told, and gone in the end. As root, on Linux."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from node.lab.testnet.namespaces import NAMESPACE_FOLDER, Namespaces, enter, links_of, reason_against, remove_leftovers
from tests.node.real_peers import ROOT

WHY_NOT = reason_against(1)

pytestmark = [
    pytest.mark.processes,  # namespaces are the machine's: those of a testnet that runs beside would be seen
    pytest.mark.skipif(WHY_NOT is not None, reason=f"no network namespaces here: {WHY_NOT}"),
]

SECONDS_MAX = 20.0
"""A packet takes microseconds, and a retransmission a second or two."""

SILENCE_SECONDS = 0.3


class Outpost:
    """A datagram socket that was made in a peer's namespace."""

    def __init__(self, namespaces: Namespaces, number: int) -> None:
        self.address = tuple(namespaces.address(number))
        with ThreadPoolExecutor(1) as pool:  # a namespace is a thread's own; its sockets are everybody's
            self.socket = pool.submit(self._made, namespaces, number).result()

    def _made(self, namespaces: Namespaces, number: int) -> socket.socket:
        enter(namespaces.path(number))
        made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        made.bind(self.address)
        return made

    def reaches(self, other: "Outpost", seconds: float = SECONDS_MAX) -> bool:
        """Whether a datagram arrives within this time."""
        word, deadline = os.urandom(8), time.monotonic() + seconds
        other.socket.settimeout(0.1)
        while time.monotonic() < deadline:
            self.socket.sendto(word, other.address)
            try:
                while other.socket.recv(64) != word:
                    pass
            except TimeoutError:
                continue
            return True
        return False


@pytest.fixture
def namespaces() -> Iterator[Namespaces]:
    with Namespaces(4) as made:
        yield made


def namespaces_of(owner: int) -> list[str]:
    return [path.name for path in NAMESPACE_FOLDER.iterdir() if path.name.startswith(f"kubrat-{owner}-")]


def divide(namespaces: Namespaces, *groups: tuple[int, ...]) -> None:
    asyncio.run(namespaces.divide(groups))


def test_a_division_holds_in_both_directions_until_it_is_lifted(namespaces: Namespaces) -> None:
    posts = [Outpost(namespaces, number) for number in range(4)]
    assert all(one.reaches(other) for one in posts for other in posts if one is not other)
    divide(namespaces, (0, 2), (1, 3))
    assert posts[0].reaches(posts[2])
    assert posts[3].reaches(posts[1])
    assert not any(posts[one].reaches(posts[other], SILENCE_SECONDS) for one, other in ((0, 1), (1, 0), (2, 3), (3, 2)))
    divide(namespaces, (0, 1, 2, 3))
    assert all(one.reaches(other) for one in posts for other in posts if one is not other)
    for post in posts:
        post.socket.close()


def test_a_connection_is_not_told_of_a_division_and_goes_on_after_it(namespaces: Namespaces) -> None:
    def listener() -> socket.socket:
        enter(namespaces.path(0))
        return socket.create_server(tuple(namespaces.address(0)))

    def dialled() -> socket.socket:
        enter(namespaces.path(1))
        return socket.create_connection(tuple(namespaces.address(0)), timeout=SECONDS_MAX)

    with ExitStack() as stack:
        pools = [stack.enter_context(ThreadPoolExecutor(1)) for _ in range(2)]
        listening = stack.enter_context(pools[0].submit(listener).result())
        ours = stack.enter_context(pools[1].submit(dialled).result())
        theirs = stack.enter_context(listening.accept()[0])
        divide(namespaces, (0, 2, 3), (1,))
        ours.sendall(b"said in between")
        theirs.settimeout(SILENCE_SECONDS)
        with pytest.raises(TimeoutError):
            theirs.recv(64)
        divide(namespaces, (0, 1, 2, 3))
        theirs.settimeout(SECONDS_MAX)
        assert theirs.recv(64) == b"said in between"


def fail_within_namespaces() -> None:
    with Namespaces(2) as made:
        divide(made, (0,), (1,))
        assert (len(namespaces_of(os.getpid())), len(links_of(os.getpid()))) == (2, 4)
        raise ValueError("a mistake")


def test_nothing_is_left_behind_even_after_a_mistake() -> None:
    with pytest.raises(ValueError, match="a mistake"):
        fail_within_namespaces()
    assert (namespaces_of(os.getpid()), links_of(os.getpid())) == ([], frozenset())


def test_what_a_killed_testnet_has_left_behind_is_found_and_removed() -> None:
    code = "import time\nfrom node.lab.testnet.namespaces import Namespaces\n"
    code += "with Namespaces(2): print('up', flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, cwd=ROOT) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"up\n"
        assert child.pid not in remove_leftovers()
        child.send_signal(signal.SIGKILL)
    assert (len(namespaces_of(child.pid)), len(links_of(child.pid))) == (2, 3)
    assert child.pid in remove_leftovers()
    assert (namespaces_of(child.pid), links_of(child.pid)) == ([], frozenset())
