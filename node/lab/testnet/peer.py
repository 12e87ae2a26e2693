"""One peer of a testnet, as its supervisor and the people before it see it."""

from dataclasses import dataclass
from enum import StrEnum
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from pathlib import Path

from node.api.status import NodeStatus
from node.common.address import Address
from node.lab.store_audit.log import LOG_NAME
from node.rules.settings import PeerSettings

SILENT_SECONDS = 6.0
"""Without an answer for so long a peer has no say: its last one is old. Two or three questions have timed out meanwhile."""


class PeerState(StrEnum):
    """How it is with a peer's processes."""

    ABSENT = "absent"
    """Not started yet."""
    STARTING = "starting"
    """It has not answered yet."""
    RUNNING = "running"
    SILENT = "silent"
    """It runs, and has not answered for SILENT_SECONDS."""
    PAUSED = "paused"
    KILLED = "killed"
    """Ended by a signal."""
    STOPPED = "stopped"
    """Ended by itself: its log says why."""


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
    """The last answer of its present life."""
    silent_s: float = 0.0
    """Since that answer, or since it was resumed, as its supervisor has counted."""
    waker: Connection | None = None
    """While it is paused: the pipe to who resumes it should the supervisor end."""
    fault: str = ""
    """How it misbehaves: NAME[:option=value,...] of node/lab/faults; nothing: it is honest."""
    colluders: tuple[str, ...] = ()
    """Ids of other peers that misbehave with it."""
    was_faulty: bool = False
    """It was told to misbehave in an earlier life: what it holds from then, nobody answers for."""
    was_killed: bool = False
    """By an event: it may be started again."""
    group: int | None = None
    """Its side of the partition, from 0; None while nobody is kept apart."""
    log_from: int = 0
    """Bytes of its log that earlier lives wrote."""
    namespace: Path | None = None
    """The network namespace that it lives in; None: the supervisor's own."""

    @property
    def is_honest(self) -> bool:
        """Whether it was never told to misbehave."""
        return not self.fault and not self.was_faulty

    @property
    def is_running(self) -> bool:
        """Whether its process is alive, be it paused."""
        return self.process is not None and self.process.is_alive()

    @property
    def is_paused(self) -> bool:
        """Whether its processes are stopped where they are."""
        return self.waker is not None

    @property
    def has_say(self) -> bool:
        """Whether it can tell what it holds: an honest peer, alive, not paused, and not silent."""
        return self.is_honest and self.is_running and not self.is_paused and not self.is_silent

    @property
    def is_silent(self) -> bool:
        """Whether it answered once in this life, and does so no more. Starting may take any time."""
        return self.status is not None and self.silent_s >= SILENT_SECONDS

    @property
    def state(self) -> PeerState:
        """How it is with its processes."""
        if self.process is None:
            return PeerState.ABSENT
        if not self.process.is_alive():
            return PeerState.KILLED if (self.process.exitcode or 0) < 0 else PeerState.STOPPED
        if self.is_paused:
            return PeerState.PAUSED
        if self.status is None:
            return PeerState.STARTING
        return PeerState.SILENT if self.is_silent else PeerState.RUNNING

    @property
    def address(self) -> Address:
        """Where other peers reach it."""
        return Address(self.settings.listen_host, self.settings.listen_port)


def last_error(peer: TestnetPeer) -> str | None:
    """Why a peer stopped: the last `error:` line of its log, else how its process ended; None while it runs."""
    code = None if peer.process is None else peer.process.exitcode
    if code is None:
        return None
    if code < 0:
        return f"killed by signal {-code}"
    path = peer.settings.data_dir / LOG_NAME
    log = path.read_bytes()[peer.log_from :].decode(errors="replace") if path.exists() else ""
    lines = [line for line in log.splitlines() if line.startswith("error: ")]
    return lines[-1].removeprefix("error: ") if lines else f"ended with exit code {code} ({path} may say why)"
