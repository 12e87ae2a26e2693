"""Wall time, for block times alone: what this machine's wall clock shows, and by how much other peers' seem to differ.

The `now` of a machine is monotonic and serves every deadline; a wall clock may be put right or wrong by hours at any moment.
"""

from consensus.types import Instant, PeerId, WallTime


class WallClock:
    """The wall clock as the shell has last told of it. Without news it shows what `now` shows."""

    def __init__(self) -> None:
        self._offset_ms = 0

    def set_offset(self, offset_ms: int) -> None:
        """From here on it reads `now + offset_ms`."""
        self._offset_ms = offset_ms

    def at(self, now: Instant) -> WallTime:
        """The wall time that it shows at this instant."""
        return WallTime(now + self._offset_ms)


class PeerClocks:
    """By how much the newest block that each connected peer pushed to us is ahead of our wall clock.

    A warning for people and never an input to a rule: who moves the clock that rules use moves the chain. One peer has one
    entry, whatever it sends, so a minority of the connected peers moves the median only within what the others show.
    """

    def __init__(self) -> None:
        self._ahead_ms: dict[PeerId, int] = {}

    def note(self, peer: PeerId, time_ms: int, wall: WallTime) -> None:
        """A connected peer has pushed a new block with this time."""
        self._ahead_ms[peer] = time_ms - wall

    def leave(self, peer: PeerId) -> None:
        """Forget a peer that is gone."""
        self._ahead_ms.pop(peer, None)

    def forget_all(self) -> None:
        """Our wall clock was put elsewhere: what was noted before says nothing any more."""
        self._ahead_ms.clear()

    @property
    def median_ms(self) -> int | None:
        """The lower median, so it is some peer's; None while nobody has pushed a block. Positive: they are ahead of us."""
        if not self._ahead_ms:
            return None
        ordered = sorted(self._ahead_ms.values())
        return ordered[(len(ordered) - 1) // 2]
