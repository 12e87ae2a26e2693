"""The pipe between a supervisor and a peer that it has started: orders go down, and its end is the peer's end."""

from multiprocessing.connection import Connection
from typing import Protocol

import msgspec

from consensus.types import PeerId


class KeepApart(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag=True):
    """Have no connection to these peers, instead of an earlier such order."""

    peers: tuple[bytes, ...]


class Obedient(Protocol):
    """Who is at the lower end."""

    def request_stop(self) -> None:
        """Ask for a clean stop."""
        ...

    def keep_apart(self, peers: frozenset[PeerId]) -> None:
        """Have no connection to these peers."""
        ...


_decoder = msgspec.msgpack.Decoder(KeepApart)


def tell(lifeline: Connection, order: KeepApart) -> None:
    """Give an order; a peer that has ended needs none.

    It would wait where a peer leaves a hundred orders unread: a pipe takes 200 kB, and an order to keep 63 peers apart 2 kB.
    """
    try:
        lifeline.send_bytes(msgspec.msgpack.encode(order))
    except ConnectionError:
        return


def obey(lifeline: Connection, peer: Obedient) -> bool:
    """Take the order that waits in the pipe; whether more may come."""
    try:
        order = _decoder.decode(lifeline.recv_bytes())
    except (EOFError, ConnectionError):
        peer.request_stop()
        return False
    peer.keep_apart(frozenset(PeerId(peer_id) for peer_id in order.peers))
    return True
