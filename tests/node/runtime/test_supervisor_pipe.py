"""The pipe between a supervisor and its peer."""

from dataclasses import dataclass, field
from multiprocessing import Pipe

from consensus.types import PeerId
from node.runtime.supervisor_pipe import KeepApart, obey, tell

ANN, BEN = PeerId(b"a" * 32), PeerId(b"b" * 32)


@dataclass
class Peer:
    """Does what it is told, and remembers it."""

    told: list[object] = field(default_factory=list)

    def request_stop(self) -> None:
        self.told.append("stop")

    def keep_apart(self, peers: frozenset[PeerId]) -> None:
        self.told.append(peers)


def test_orders_come_one_by_one_and_the_end_of_the_supervisor_is_the_last() -> None:
    above, below = Pipe()
    peer = Peer()
    tell(above, KeepApart((ANN, BEN)))
    tell(above, KeepApart(()))
    above.close()
    with below:
        assert [obey(below, peer) for _ in range(3)] == [True, True, False]
    assert peer.told == [frozenset({ANN, BEN}), frozenset(), "stop"]


def test_a_peer_that_has_ended_is_told_nothing() -> None:
    above, below = Pipe()
    below.close()
    with above:
        tell(above, KeepApart((ANN,)))
