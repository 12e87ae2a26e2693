"""The rules of total order that all members of a network share."""

from typing import Annotated

import msgspec
from msgspec import Meta


class TotalOrderRules(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """At what pace members decide, and what they keep.

    Raises ValueError where the rules contradict each other; ranges are checked where the rules are read.
    """

    round_interval_ms: Annotated[
        int, Meta(ge=1, le=60_000, description="Least time between two blocks of one member, while there is something to say.")
    ] = 25
    idle_interval_ms: Annotated[int, Meta(ge=1, le=600_000, description="The same while there is nothing to say.")] = 1000
    gc_depth: Annotated[
        int, Meta(ge=3, le=1_000, description="Rounds below the last commit that are still ordered; older blocks are lost.")
    ] = 60
    """What blocks that came too late carried is sent again. A joiner needs more rounds than one decision takes."""
    delta_ms_min: Annotated[
        int,
        Meta(ge=1, le=60_000, description="Within so long a block is expected to arrive, in ms; grows while nothing commits."),
    ] = 250
    """The wait for a leader is two of them."""
    delta_ms_max: Annotated[int, Meta(ge=1, le=600_000, description="Up to this.")] = 10_000

    def __post_init__(self) -> None:
        if self.delta_ms_min > self.delta_ms_max:
            raise ValueError(f"delta_ms_min is {self.delta_ms_min}; allowed is 1 to delta_ms_max ({self.delta_ms_max})")
        if self.idle_interval_ms < self.round_interval_ms:
            allowed = f"round_interval_ms ({self.round_interval_ms}) or more"
            raise ValueError(f"idle_interval_ms is {self.idle_interval_ms}; allowed is {allowed}")
