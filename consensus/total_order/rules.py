"""The rules of total order that all members of a network share."""

from dataclasses import dataclass

from consensus.rule_ranges import RulesError, check_ranges

GC_DEPTH_MIN = 3
"""A joiner needs more rounds than one decision takes (shared by tests, which run with so few)."""

_RANGES = {
    "gc_depth": (GC_DEPTH_MIN, 1_000),
    "round_interval_ms": (1, 60_000),
    "idle_interval_ms": (1, 600_000),
    "delta_ms_min": (1, 60_000),
    "delta_ms_max": (1, 600_000),
}


@dataclass(frozen=True, slots=True)
class TotalOrderRules:
    """What every member must hold to. Raises RulesError when a value is out of range."""

    gc_depth: int = 60
    """Rounds below the leader of the last commit that are still ordered. Later blocks are lost, their payloads sent again."""
    round_interval_ms: int = 1
    """The least time between two blocks of one member, while somebody has something to say."""
    idle_interval_ms: int = 1_000
    """The same while nobody has."""
    delta_ms_min: int = 250
    """Delta starts here: an honest block is expected within so long. The wait for a leader is two of them."""
    delta_ms_max: int = 10_000

    def __post_init__(self) -> None:
        check_ranges(self, _RANGES)
        if self.delta_ms_min > self.delta_ms_max:
            raise RulesError(f"delta_ms_min is {self.delta_ms_min}, allowed: 1 to delta_ms_max ({self.delta_ms_max})")
        if self.idle_interval_ms < self.round_interval_ms:
            low = self.round_interval_ms
            raise RulesError(f"idle_interval_ms is {self.idle_interval_ms}, allowed: round_interval_ms ({low}) or more")
