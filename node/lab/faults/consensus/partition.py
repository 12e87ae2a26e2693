"""The other peers, dealt out into two parts: those who are told one thing, and those who are told another, or nothing."""

from consensus.protocol import Input, PeerJoined, PeerLeft
from consensus.types import PeerId
from node.common.bounded import BoundedMap

PEERS_MAX = 4_096
"""Remembered of an open network; one that is forgotten and returns may find itself in the other part."""

_PARTS = 1_000_000


class Audience:
    """Deals in the order of first meetings; the first peer belongs to the chosen ones, unless nobody does."""

    def __init__(self, share: float) -> None:
        """`share` of all peers are chosen, 0 to 1."""
        self._parts = round(share * _PARTS)
        self._met = 0
        self._is_chosen: BoundedMap[PeerId, bool] = BoundedMap(PEERS_MAX)
        self._connected: dict[PeerId, None] = {}

    def note(self, event: Input) -> None:
        """Somebody may have come or gone."""
        match event:
            case PeerJoined(peer):
                self._deal(peer)
                self._connected[peer] = None
            case PeerLeft(peer):
                self._connected.pop(peer, None)
            case _:
                pass

    def is_chosen(self, peer: PeerId) -> bool:
        """Whether this peer, once met, is one of the chosen."""
        return bool(self._is_chosen.get(peer))

    def connected(self, *, chosen: bool) -> tuple[PeerId, ...]:
        """Those of one part who are connected, in the order in which they came."""
        return tuple(peer for peer in self._connected if self.is_chosen(peer) is chosen)

    def _deal(self, peer: PeerId) -> None:
        if peer in self._is_chosen:
            return
        self._is_chosen[peer] = self._chosen_of(self._met + 1) > self._chosen_of(self._met)
        self._met += 1

    def _chosen_of(self, peers: int) -> int:
        """How many of the first so many are chosen, rounded up."""
        return -(-peers * self._parts // _PARTS)
