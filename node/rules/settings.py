"""What a user chose on the command line, checked, in frozen form."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from node.common.errors import NodeError
from node.rules.strategy import Strategy

if TYPE_CHECKING:  # it imports numpy, which most commands need not
    from node.rules.network_file import GradientSection

PORT_MAX = 65_535

DEFAULT_PORT = 7600
"""Where a peer listens unless told otherwise; no registered service uses it."""


class Address(NamedTuple):
    """Where a peer can be reached. Port 0, for listening only, lets the system choose."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_address(text: str, port_min: int = 1) -> Address:
    """Reads HOST:PORT, or [HOST]:PORT for an IPv6 address. Raises NodeError naming what is wrong."""
    host, separator, port_text = text.rpartition(":")
    is_bracketed = host.startswith("[") and host.endswith("]")
    host = host[1:-1] if is_bracketed else host
    if not separator or not host or (":" in host and not is_bracketed) or not set(host).isdisjoint(" /@[]"):
        raise NodeError(f"{text!r} is not an address", "write HOST:PORT, like 10.0.0.5:7600 or [fe80::1]:7600")
    if not (port_text.isascii() and port_text.isdigit() and port_min <= int(port_text[:6]) <= PORT_MAX):
        raise NodeError(f"{text!r}: port {port_text!r} is not a whole number from {port_min} to {PORT_MAX}", None)
    return Address(host, int(port_text))


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
    trusted_task: str = ""
    """A task that is not built in, named by whoever starts this peer: its code may run. Else what the folder remembers."""


@dataclass(frozen=True, slots=True)
class TestnetSettings:
    """How a testnet on this machine runs."""

    __test__ = False  # a class called Test... that pytest should not collect

    nodes: int
    consensus: str
    learning: str
    task: str
    strategy: Strategy
    gradient: "GradientSection | None"
    """How gradients are judged, where learning is "gradient"."""
    faulty: int
    """So many peers, the last ones, misbehave."""
    fault: str
    """How: NAME[:option=value,...] of node/lab/faults."""
    network_file: Path | None
    """Rules to use instead of fresh ones; consensus, learning, task and strategy then come from it."""
    until_accuracy: float
    """The goal: every peer's test accuracy, 0 to 1."""
    until_fitness: float | None
    """The goal instead, for a task without test accuracy; higher is better."""
    is_until_interrupted: bool
    """Go on after the goal, until Ctrl-C or the deadline."""
    deadline_s: float
    data_dir: Path | None
    """Where the peers' folders are made; a temporary folder when None."""
    is_kept: bool
    """Keep the folders afterwards."""
    is_json: bool
    """Print one JSON object as the last line of stdout."""
    puzzle_share: float
    scenario: str = ""
    """The name of what is played on the peers; then there is no goal to reach."""
