"""What one peer is told to do wrong, as it crosses to its process."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PeerFaults:
    """What one peer is told."""

    fault: str
    """NAME[:option=value,...] of the catalogue, several joined by +."""
    colluders: tuple[str, ...] = ()
    """Ids of other peers that misbehave with it, in hex."""
