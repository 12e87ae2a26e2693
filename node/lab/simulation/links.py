"""What a simulated network is like: how fast messages, disks and processors are. All times in ms."""

from dataclasses import dataclass

from node.lab.simulation.latency import Latency, Uniform
from node.lab.simulation.processor import NO_PRICES, Prices
from node.rules.network_rules import Consensus


@dataclass(frozen=True, slots=True)
class Links:
    """The same for all peers; what is wrong with one of them is in `SimulatedPeer`."""

    delay_ms_min: int = 5
    delay_ms_max: int = 60
    """How long a message is under way, uniformly, where no other `latency` is given."""
    attempts_per_second: float = 20.0
    """Puzzle attempts of one peer."""
    answer_ms: int = 3
    """How long the learner takes for a request."""
    slice_ms: int = 50
    """How often an idle learner gets one slice of search."""
    latency: Latency | None = None
    is_ordered: bool = True
    """Messages of one connection arrive in the order in which they were sent, as TCP has it."""
    uplink_kbit_s: int = 0
    """A peer sends one message after the other at this speed; 0: at once."""
    silence_ms: int = 0
    """A cut connection is given up after so long; what was sent meanwhile arrives if it heals before. 0: given up at once."""
    reconnect_ms: int = 0
    """How long a peer waits before it dials again, on average."""
    refusal_ms: int = 600_000
    """How long a refused peer stays refused; the real node's default."""
    strangers_from: int = 10**9
    """Peers of this number and above are strangers: a refusal of theirs lasts for stranger_refusal_ms."""
    stranger_refusal_ms: int = 300
    """A new key costs nothing, so it takes no longer than to connect again and to prove it."""
    disk_ms: int = 2
    """How long a batch takes until it is durable; 0: no time."""
    prices: Prices = NO_PRICES
    """What computing costs."""
    consensus: Consensus = Consensus.PROOF_OF_WORK
    """Which messages they are priced for."""

    @property
    def delay(self) -> Latency:
        """The distribution of delays."""
        return self.latency or Uniform(self.delay_ms_min, self.delay_ms_max)
