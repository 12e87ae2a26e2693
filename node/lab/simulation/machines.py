"""What befalls the machines that peers run on, whatever carries their messages: slow processors, wrong clocks, bad disks."""

from abc import ABC, abstractmethod

from consensus.types import Instant, PeerId
from node.lab.simulation.peer import SimulatedPeer


class Machines(ABC):
    """One for each peer; the network that connects them says how a process ends."""

    peers: dict[PeerId, SimulatedPeer]

    @property
    @abstractmethod
    def now(self) -> Instant:
        """True time."""

    @abstractmethod
    def crash(self, peer_id: PeerId) -> None:
        """Stop a peer at once, as `kill -9` or a power failure does: what is durable stays. One that is down stays down."""

    def slow_down(self, peer_id: PeerId, factor: float) -> None:
        """From now on all that it computes takes `factor` times as long, at least 1."""
        self.peers[peer_id].slowness = factor

    def set_clock(self, peer_id: PeerId, offset_ms: int, drift_ppm: int = 0) -> None:
        """Put its wall clock wrong, or right; and let both of its clocks go too fast, or too slow."""
        peer = self.peers[peer_id]
        peer.clock = peer.clock.put(self.now, offset_ms, drift_ppm)

    def wipe(self, peer_id: PeerId) -> None:
        """Crash a peer, and lose all its rows; key and guard file are kept."""
        self.crash(peer_id)
        self.peers[peer_id].disk.replace({})

    def back_up(self, peer_id: PeerId) -> None:
        """Copy its rows."""
        self.peers[peer_id].disk.keep_backup()

    def restore_backup(self, peer_id: PeerId) -> None:
        """Crash a peer, and put the copy in place of its rows; the guard file is as it was."""
        self.crash(peer_id)
        self.peers[peer_id].disk.restore_backup()

    def fill_disk(self, peer_id: PeerId) -> None:
        """Its next write fails, and ends it."""
        self.peers[peer_id].disk.is_full = True

    def lie_about_syncing(self, peer_id: PeerId, unsynced_ms: int) -> None:
        """From now on a crash loses what its disk acknowledged within so long."""
        self.peers[peer_id].disk.unsynced_ms = unsynced_ms
