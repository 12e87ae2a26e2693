"""Who is honest now. A peer that turns never counts as honest again, whatever it does later."""

from collections.abc import Iterable

from consensus.types import PeerId


class HonestSet:
    """All checkers of a checker suite share one.

    What is seen under the name of a peer that is in it was signed while that peer was honest. What was signed before a peer
    turned, and is seen only later, cannot be told from what came after: nothing is held against anybody for it.
    """

    def __init__(self, peers: Iterable[PeerId]) -> None:
        self._peers = frozenset(peers)

    def __contains__(self, peer: object) -> bool:
        """Whether it has been honest up to now."""
        return peer in self._peers

    def turns(self, peer: PeerId) -> None:
        """From now on it may do anything."""
        self._peers -= {peer}
