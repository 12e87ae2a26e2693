"""The members, their fixed indices, how many of them make a quorum (docs/protocol.md, 6), and the rules that they share."""

from typing import Annotated

import msgspec
from msgspec import Meta

from consensus.types import KEY_BYTES, PeerId


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


MEMBERS_MAX = 200
"""Every block names up to every member: at 200 a round is 200 blocks of 9 kB from each member to each other."""


class CommitteeError(ValueError):
    """The list of members cannot be used; the message says why."""


def faulty_max(size: int) -> int:
    """f: so many of `size` members may do anything, and any two quorums still share an honest one."""
    return max(0, size - 1) // 3


class Committee:
    """n members, of whom `faulty_max` may do anything. A set of members is an int: bit i stands for member i.

    Any two quorums share an honest member: 2(n - f) - n > f for f = (n - 1) // 3 (`faulty_max`). Raises CommitteeError.
    """

    def __init__(self, members: tuple[PeerId, ...]) -> None:
        if not 1 <= len(members) <= MEMBERS_MAX:
            raise CommitteeError(f"members: {len(members)} keys, allowed: 1 to {MEMBERS_MAX}")
        self.members = members
        self.size = len(members)
        self.faulty_max = faulty_max(self.size)
        self.quorum = self.size - self.faulty_max
        self.validity = self.faulty_max + 1
        """Among so many members one is honest."""
        self.everybody = (1 << self.size) - 1
        self._indices: dict[PeerId, int] = {}
        for index, member in enumerate(members):
            if len(member) != KEY_BYTES:
                raise CommitteeError(f"member {index}: a key of {len(member)} bytes, allowed: {KEY_BYTES}")
            first = self._indices.setdefault(member, index)
            if first != index:
                raise CommitteeError(f"members {first} and {index} have the same key {member.hex()}")

    def index_of(self, peer: PeerId) -> int | None:
        """The member's index; None for an observer."""
        return self._indices.get(peer)

    def leader_of(self, round_number: int) -> int:
        """The member whose block of this round may be committed."""
        return round_number % self.size

    def is_quorum(self, members: int) -> bool:
        """Whether this set of members is one."""
        return members.bit_count() >= self.quorum
