"""A partition by the peers' own refusal: each is told whom to have no connection to."""

from collections.abc import Sequence

from node.lab.scenarios.events import PeerNumbers
from node.lab.testnet.peer import TestnetPeer
from node.runtime.supervisor_pipe import KeepApart, tell


class RefusalDivider:
    """A `Divider` for any system. A peer that does not run, or is paused, has to be told again when it runs."""

    def __init__(self, peers: Sequence[TestnetPeer]) -> None:
        self._peers = peers

    async def divide(self, groups: tuple[PeerNumbers, ...]) -> None:
        """Tell each peer to keep apart from all that are not in its group."""
        for group in groups:
            others = KeepApart(
                tuple(bytes.fromhex(peer.peer_id) for number, peer in enumerate(self._peers) if number not in group)
            )
            for peer in (self._peers[number] for number in group):
                if peer.lifeline is not None and peer.is_running and not peer.is_paused:
                    tell(peer.lifeline, others)
