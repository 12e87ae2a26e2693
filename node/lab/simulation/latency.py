"""How long a message is under way from one peer to another: distributions to draw from, in ms.

Peers are named by their number in the network. A draw takes the random source as its argument and nothing from anywhere else.
"""

import math
from dataclasses import dataclass
from random import Random
from typing import Protocol

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
