"""What a user chose on the command line, checked, in frozen form."""

from dataclasses import dataclass
from pathlib import Path

from node.common.address import Address

SCORE_SECONDS_DEFAULT = 30.0
"""A candidate of the largest built-in task is measured in a second; on a machine that is busy with ten others, in ten."""

DEFAULT_PORT = 7600
"""Where a peer listens unless told otherwise; no registered service uses it."""


@dataclass(frozen=True, slots=True)
class PeerSettings:
    """How one peer runs. None of it needs to be the same on two peers."""

    data_dir: Path
    network_file: Path | None
    """Checked against the folder's own copy when given."""
    listen_host: str
    listen_port: int
    """0: the system chooses."""
    peers: tuple[Address, ...]
    """Where to find others at the start."""
    is_observer: bool
    """Follows and checks, but neither searches nor works on puzzles."""
    is_searching: bool
    """Looks for candidates of its own."""
    puzzle_share: float
    """The part of one core's time that goes to the puzzle, 0.05 to 1."""
    log_level: str
    """"debug", "info", "warning" or "error"."""
    score_seconds_max: float = SCORE_SECONDS_DEFAULT
    """What a call into a task that is not built in may take; then its process is ended, and the candidate is the worst."""
    trusted_task: str = ""
    """A task that is not built in, named by whoever starts this peer: its code may run. Else what the folder remembers."""
    effort_max: int | None = None
    """Joint rule, total order: it ranks up to so many times λ mutations, where there is time; None: the usual."""
