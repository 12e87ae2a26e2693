"""What a simulated network is like: how fast messages, disks and processors are, and who is connected. All times in ms.

Peers are named by their number in the network. A draw takes the random source as its argument and nothing from anywhere else.
"""

import math
from dataclasses import dataclass
from itertools import combinations
from random import Random
from typing import Protocol, assert_never

from node.lab.scenarios.scenario import Delays, Scenario
from node.lab.simulation.timeline import NO_PRICES, Prices
from node.rules.network_rules import Consensus, NetworkRules

LATENCY_MS_MAX = 60_000
"""A heavy tail ends here: TCP gives up on a segment after about so long."""


class Latency(Protocol):
    """A distribution for each pair of peers."""

    def sample(self, random: Random, sender: int, receiver: int) -> int:
        """One way, in ms, 0 to LATENCY_MS_MAX."""
        ...

    @property
    def typical_ms(self) -> int:
        """Longer than most draws: what a peer that asks for something should wait at least."""
        ...


@dataclass(frozen=True, slots=True)
class ConstantLatency:
    """Always the same."""

    delay_ms: int

    def sample(self, random: Random, sender: int, receiver: int) -> int:  # noqa: ARG002 - as the contract has it
        """The delay."""
        return self.delay_ms

    @property
    def typical_ms(self) -> int:
        """The delay."""
        return self.delay_ms


@dataclass(frozen=True, slots=True)
class Uniform:
    """Each whole number of milliseconds from `ms_min` to `ms_max` alike."""

    ms_min: int
    ms_max: int

    def sample(self, random: Random, sender: int, receiver: int) -> int:  # noqa: ARG002 - as the contract has it
        """A draw."""
        return random.randint(self.ms_min, self.ms_max)

    @property
    def typical_ms(self) -> int:
        """The longest."""
        return self.ms_max


@dataclass(frozen=True, slots=True)
class Lognormal:
    """A median and a heavy tail: exp(N(log median, sigma)). Sigma 0.5: one in a hundred takes 3.2 medians."""

    median_ms: int
    sigma: float

    def sample(self, random: Random, sender: int, receiver: int) -> int:  # noqa: ARG002 - as the contract has it
        """A draw."""
        return min(LATENCY_MS_MAX, round(random.lognormvariate(math.log(self.median_ms), self.sigma)))

    @property
    def typical_ms(self) -> int:
        """About the 98th percentile."""
        return min(LATENCY_MS_MAX, round(self.median_ms * math.exp(2 * self.sigma)))


REGION_NAMES = ("North America", "Europe", "South America", "Asia Pacific", "Japan", "Australia")

REGION_SHARES = (0.3316, 0.4998, 0.0090, 0.1177, 0.0224, 0.0195)
"""Of all peers: where the nodes of Bitcoin were in 2019 (SimBlock, arXiv 1901.09777, its settings of 2019)."""

REGION_MS = (
    (32, 124, 184, 198, 151, 189),
    (124, 11, 227, 237, 252, 294),
    (184, 227, 88, 325, 301, 322),
    (198, 237, 325, 85, 58, 198),
    (151, 252, 301, 58, 12, 126),
    (189, 294, 322, 198, 126, 16),
)
"""Mean one-way latency between regions, in ms, measured in 2019 (the same source)."""

REGION_SHAPE = 5.0
"""Of the Pareto tail round the mean: a fifth of it is left to chance, as in the same source."""


@dataclass(frozen=True, slots=True)
class Regions:
    """A measured map of the world: `places` holds each peer's region, an index into REGION_NAMES."""

    places: tuple[int, ...]

    @classmethod
    def drawn(cls, peers: int, random: Random) -> "Regions":
        """Every peer in a region, drawn by REGION_SHARES."""
        return cls(tuple(random.choices(range(len(REGION_NAMES)), REGION_SHARES, k=peers)))

    def sample(self, random: Random, sender: int, receiver: int) -> int:
        """Pareto with the map's mean: scale / u^(1/shape), scale = mean (shape - 1) / shape."""
        mean = REGION_MS[self.places[sender]][self.places[receiver]]
        scale = mean * (REGION_SHAPE - 1) / REGION_SHAPE
        return min(LATENCY_MS_MAX, round(scale * random.paretovariate(REGION_SHAPE)))

    @property
    def typical_ms(self) -> int:
        """The longest mean, with some of its tail."""
        return 500


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
    outsiders_from: int = 10**9
    """Peers of this number and above are outsiders: a refusal of theirs lasts for outsider_refusal_ms."""
    outsider_refusal_ms: int = 300
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
        outsiders_from=scenario.insiders,
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
