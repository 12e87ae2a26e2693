"""The members, their fixed indices, and how many of them make a quorum (docs/protocol.md, 6)."""

from consensus.types import KEY_BYTES, PeerId

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
