"""What a simulated network is like: how fast messages, disks and processors are, and who is connected. All times in ms."""

from dataclasses import dataclass
from itertools import combinations
from random import Random
from typing import assert_never

from node.lab.scenarios.scenario import Delays, Scenario
from node.lab.simulation.latency import ConstantLatency, Latency, Lognormal, Regions, Uniform
from node.lab.simulation.processor import NO_PRICES, Prices
from node.rules.network_rules import Consensus, NetworkRules


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


Pair = tuple[int, int]
"""Two peers, by number."""


def links_of(scenario: Scenario, rules: NetworkRules, seed: int) -> Links:
    """What the scenario says of links, and puzzles that take a block interval for all peers together."""
    section, work, prices = scenario.links, rules.proof_of_work, scenario.processor
    attempts_per_second = 1000 * work.start_attempts / work.block_interval_ms / scenario.insiders
    return Links(
        latency=_latency(scenario, seed),
        attempts_per_second=attempts_per_second,
        answer_ms=section.answer_ms,
        slice_ms=section.slice_ms,
        is_ordered=section.is_ordered,
        uplink_kbit_s=section.uplink_kbit_s,
        silence_ms=section.silence_ms,
        reconnect_ms=section.reconnect_ms,
        disk_ms=section.disk_ms,
        prices=Prices(prices.message_us, prices.byte_ns, prices.signature_us, prices.puzzle_us),
        consensus=scenario.consensus,
        strangers_from=scenario.insiders,
    )


def edges_of(scenario: Scenario, seed: int) -> tuple[Pair, ...]:
    """Everybody with everybody, or each peer with some others that are drawn, so that all hang together."""
    peers, count = range(scenario.peers), scenario.links.neighbours
    if not count:
        return tuple(combinations(peers, 2))
    random = Random(f"{seed}/edges")
    pairs: dict[Pair, None] = {}
    for peer in peers[1:]:
        dialled = {random.randrange(peer), *random.sample(peers, count)} - {peer}
        pairs.update(((min(peer, other), max(peer, other)), None) for other in sorted(dialled))
    return tuple(pairs)


def _latency(scenario: Scenario, seed: int) -> Latency:
    links = scenario.links
    match links.delay:
        case Delays.CONSTANT:
            return ConstantLatency(links.ms_min)
        case Delays.UNIFORM:
            return Uniform(links.ms_min, links.ms_max)
        case Delays.LOGNORMAL:
            return Lognormal(max(1, links.ms_min), float(links.sigma))
        case Delays.REGIONS:
            return Regions.drawn(scenario.peers, Random(f"{seed}/places"))
        case _:
            assert_never(links.delay)
