"""What an entry of the catalogue is, how a fault with its parameters is written, and what one peer is told to do wrong."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Generic, TypeVar

from learning.evolution.rules import Strategy
from node.rules.network_rules import Consensus, Learning

FRESH = "fresh"
"""The modifier that any gradient fault takes: it names the newest model that it knows, so its staleness is always least."""

EFFORT = "effort"
"""The parameter of an evolutionary fault that searches so many times as much as others do."""

Values = Mapping[str, float]
"""The parameters of a fault, by name; all of them."""

Make_co = TypeVar("Make_co", covariant=True)
"""How a family makes its faults."""


class FaultError(ValueError):
    """A text that names no fault, or one that does not fit; the message names what was found and what is allowed."""


class Family(StrEnum):
    """What of a peer is faulty."""

    GRADIENT = "gradient"
    """The worker that computes gradients."""
    CONSENSUS = "consensus"
    """The replica: what it sends, when, and to whom."""
    EVOLUTION = "evolution"
    """The evolutionary learner: what it offers, claims and scores."""
    NETWORK = "network"
    """Connections and frames, below all messages."""


@dataclass(frozen=True, slots=True)
class FaultParameter:
    """A number that a fault takes."""

    name: str
    default: float
    lowest: float
    highest: float
    is_whole: bool = False

    @property
    def allowed(self) -> str:
        """For people."""
        kind = "a whole number" if self.is_whole else "a number"
        return f"{kind} {self.lowest:g} to {self.highest:g}"


@dataclass(frozen=True, slots=True)
class FaultSpec:
    """A fault with its parameters, ready to be made. `values`: all of them, in the order of the catalogue."""

    name: str
    values: tuple[tuple[str, float], ...] = ()
    is_fresh: bool = False

    def __str__(self) -> str:
        """As `parse_fault` reads it."""
        parts = [f"{name}={value:.12g}" for name, value in self.values] + ([FRESH] if self.is_fresh else [])
        return f"{self.name}:{','.join(parts)}" if parts else self.name


@dataclass(frozen=True, slots=True)
class Fault(Generic[Make_co]):
    """An entry of the catalogue. `powers`: what it knows or holds beyond an honest peer."""

    name: str
    family: Family
    description: str
    powers: str
    make: Make_co
    parameters: tuple[FaultParameter, ...] = ()
    consensus: Consensus | None = None
    """The only kind that it is for; None: either."""
    learning: Learning | None = None
    """The only kind that it is for; None: either."""
    is_of_lists: bool | None = None
    """Whether it needs ranked lists, or what is there without them alone: claims; None: neither."""


def has_lists(consensus: Consensus, learning: Learning, strategy: Strategy) -> bool:
    """Whether members of such a network submit ranked lists, and claim nothing."""
    return learning is Learning.EVOLUTION and consensus is Consensus.TOTAL_ORDER and strategy is Strategy.JOINT


@dataclass(frozen=True, slots=True)
class PeerFaults:
    """What one peer is told."""

    fault: str
    """NAME[:option=value,...] of the catalogue, several joined by +."""
    colluders: tuple[str, ...] = ()
    """Ids of other peers that misbehave with it, in hex."""
