"""One peer of a testnet, as its supervisor and the people before it see it."""

from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess

from node.cli.live_view import PeerView
from node.settings import PeerSettings
from node.status import NodeStatus, StepStatus

LOG_NAME = "node.log"

ACCURACY = "test_accuracy"


@dataclass(slots=True)
class TestnetPeer:
    """One peer, as its supervisor sees it."""

    __test__ = False

    name: str
    settings: PeerSettings
    peer_id: str
    process: ForkServerProcess | None = None
    lifeline: Connection | None = None
    status: NodeStatus | None = None

    @property
    def is_honest(self) -> bool:
        """Whether it was not told to misbehave."""
        return not self.settings.fault

    @property
    def is_running(self) -> bool:
        """Whether its process is alive."""
        return self.process is not None and self.process.is_alive()


def bytes_per_block_and_link(statuses: list[NodeStatus]) -> float | None:
    """Mean over the peers of bytes sent, for each block of the chain and each link of the peer."""
    shares = [status.bytes_sent / (status.height * len(status.peers)) for status in statuses if status.height and status.peers]
    return round(sum(shares) / len(shares), 1) if shares else None


def accepted_share(status: NodeStatus, worker: str) -> float | None:
    """The share of a worker's gradients that had, or may still have, a part in the model; None without any."""
    workers = () if status.gradients is None else status.gradients.workers
    found = next((one for one in workers if one.peer_id == worker and one.delivered), None)
    return None if found is None else found.accepted / found.delivered


def peer_view(peer: TestnetPeer) -> PeerView:
    """A peer as the screen shows it."""
    status = peer.status
    error = None if peer.is_running else last_error(peer)
    if status is None:
        return PeerView(name=peer.name, state="starting" if peer.is_running else "stopped", last_error=error)
    return PeerView(
        name=peer.name,
        state="running" if peer.is_running else "stopped",
        height=status.height,
        head=status.head,
        fitness=status.fitness,
        test_accuracy=status.metrics.get(ACCURACY),
        candidates_per_second=status.candidates_per_second,
        blocks_led=status.blocks_led,
        accepted=accepted_share(status, peer.peer_id),
        peers_connected=len(status.peers),
        last_error=error or status.last_error or (None if peer.is_honest else f"faulty: {peer.settings.fault}"),
    )


def peer_document(peer: TestnetPeer, agreed: StepStatus | None) -> dict[str, object]:
    """A peer at the agreed step, if it holds it, else at its head."""
    status = peer.status
    if status is None:
        return {"id": peer.peer_id, "name": peer.name, "is_running": peer.is_running, "last_error": last_error(peer)}
    holds = agreed is not None and any(step.id == agreed.id for step in status.steps)
    return {
        "id": peer.peer_id,
        "name": peer.name,
        "is_running": peer.is_running,
        "fault": peer.settings.fault or None,
        "height": agreed.height if holds and agreed else status.height,
        "state_digest": agreed.state_digest if holds and agreed else status.state_digest,
        "test_accuracy": agreed.metrics.get(ACCURACY) if holds and agreed else status.metrics.get(ACCURACY),
        "head_height": status.height,
        "head": status.head,
        "final_height": status.final_height,
        "blocks_led": status.blocks_led,
        "blocks_contested": status.blocks_contested,
        "gradients_accepted": accepted_share(status, peer.peer_id),
        "candidates_per_second": status.candidates_per_second,
        "peers_connected": len(status.peers),
        "bytes_sent": status.bytes_sent,
        "loop_lag_p99_ms": status.loop_lag_p99_ms,
        "rss_mb": status.rss_mb,
        "pss_mb": status.pss_mb,
        "last_error": last_error(peer) or status.last_error,
    }


def last_error(peer: TestnetPeer) -> str | None:
    """Why a peer stopped: the last `error:` line of its log, else how its process ended; None while it runs."""
    code = None if peer.process is None else peer.process.exitcode
    if code is None:
        return None
    path = peer.settings.data_dir / LOG_NAME
    log = path.read_text(errors="replace") if path.exists() else ""
    lines = [line for line in log.splitlines() if line.startswith("error: ")]
    if lines:
        return lines[-1].removeprefix("error: ")
    return f"killed by signal {-code}" if code < 0 else f"ended with exit code {code} ({path} may say why)"
