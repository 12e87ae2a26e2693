"""Real peers that are forked from the tests' own server, as a testnet's are: none of them imports anything before it starts."""

import asyncio
import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from node.lab.store_audit.log import LOG_NAME
from node.lab.testnet import process
from node.lab.testnet.peer import TestnetPeer, last_error
from tests.node.lab.testnet.example_testnet import made
from tests.node.real_peers import Watched


@dataclass
class ForkedPeer(Watched):
    """One of them; killed and started as often as a test likes, at the same port."""

    peer: TestnetPeer

    def start(self) -> None:
        process.start(self.peer)

    def kill(self) -> None:
        """kill -9 of all its processes, as a crash."""
        asyncio.run(process.kill(self.peer))

    def fault(self) -> str | None:
        return None if self.peer.is_running else f"{self.peer.name}: {last_error(self.peer)}\n{self.log}"

    @property
    def log(self) -> str:
        return (self.folder / LOG_NAME).read_text()[-3_000:]


@contextlib.contextmanager
def forked_members(folder: Path, count: int) -> Iterator[list[ForkedPeer]]:
    """Members of a total order who learn to read digits."""
    _, peers = made(folder, nodes=count)
    members = [ForkedPeer(peer.settings.data_dir, peer) for peer in peers]
    try:
        for member in members:
            member.start()
        yield members
    finally:
        for member in members:
            member.kill()


__all__ = ["ForkedPeer", "forked_members"]
