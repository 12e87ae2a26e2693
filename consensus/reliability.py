"""How well each peer gives the payloads that it is asked for: who failed or was late is asked after the others, for a time."""

from collections import Counter, deque
from collections.abc import Sequence

from consensus.types import Instant, PeerId

SUSPECT_MS = 600_000
"""Who did not give what it must hold is for so long asked after the other holders, those that failed least often first: to
withhold costs those who wait a few seconds in ten minutes for each liar. An honest peer may fail, too, when it is busy.

So does who took longer than LATE_MS_MAX to give nothing, whether it must hold it or not: who has a payload not says so at once.
Else those who keep silent would fill all places with what nobody has."""

FAILURES_MAX = 64
"""Counted of one peer at most: long before, it is asked last and for one payload at a time."""


LATE_MS = 250
"""Where another holder is known, who has not given a payload in so long, and a millisecond more for each kilobyte, is late: the
other is asked instead, and first the next time. Else one that takes its time would set the pace of all."""

LATE_SHARE = 2
"""Or, where that is longer, twice as long as a fourth of the last gifts took at most: who is far from all others waits for
everybody for longer, and would else ask for everything three times."""

GIFTS_KEPT = 16
"""The last ones, whose times are remembered."""

LATE_MS_MAX = 1_250
"""But not later: the length is what somebody says."""


class GiftTimes:
    """How long the last gifts took: who takes much longer is late."""

    def __init__(self) -> None:
        self._without_length_ms: deque[int] = deque(maxlen=GIFTS_KEPT)

    def note(self, took_ms: int, length: int) -> None:
        """One of so many bytes has come, so long after somebody was first asked for it."""
        self._without_length_ms.append(took_ms - length // 1_000)

    def late_ms(self, length: int) -> int:
        """After so long whoever holds so many bytes, and has not given them, is late."""
        taken = sorted(self._without_length_ms)
        quick_ms = taken[(len(taken) - 1) // 4] if taken else 0
        return min(LATE_MS_MAX, max(LATE_MS, LATE_SHARE * quick_ms) + length // 1_000)


class Reliability:
    """Counts failures by peer. All of one peer's are forgotten some time after the newest of them."""

    def __init__(self) -> None:
        self._failures: dict[PeerId, int] = {}
        """How often holders did not give what they hold, and others took long to give nothing."""
        self._late: dict[PeerId, int] = {}
        """How often holders were late."""
        self._in_vain: Counter[PeerId] = Counter()
        """How often each connected peer was asked since it last gave something: an outsider may relay what it never gives."""
        self._suspected: dict[PeerId, Instant] = {}
        """Until when that is remembered."""

    def rank_of(self, peer: PeerId) -> tuple[int, int]:
        """Lower comes first. Where payloads are large everybody is late now and then, and nobody fails."""
        return self._failures.get(peer, 0), self._late.get(peer, 0)

    def failures(self, peer: PeerId) -> int:
        """How often it failed."""
        return self._failures.get(peer, 0)

    def in_vain(self, peer: PeerId) -> int:
        """How often it was asked since it last gave something."""
        return self._in_vain[peer]

    def note_nothing_given(self, peer: PeerId) -> None:
        """It has given nothing once more."""
        self._in_vain[peer] += 1

    def note_failure(self, peer: PeerId, now: Instant) -> None:
        """It did not give what it holds, or took long to give nothing."""
        self._blame(self._failures, peer, now)

    def note_late(self, peer: PeerId, now: Instant) -> None:
        """It holds what it was asked for, and has not given it in time."""
        self._blame(self._late, peer, now)

    def note_gift(self, peer: PeerId) -> None:
        """It has given something: what failed while we could not reach it is soon forgotten, and what it keeps back is not."""
        del self._in_vain[peer]
        for counts in (self._failures, self._late):
            if peer in counts:
                counts[peer] //= 2

    def keep_connected(self, peers: Sequence[PeerId]) -> None:
        """How often others were asked in vain does not matter any more."""
        self._in_vain = Counter({peer: count for peer, count in self._in_vain.items() if peer in peers})

    def forget_old(self, now: Instant) -> None:
        """What lies long back does not count any more."""
        for peer in [peer for peer, until in self._suspected.items() if until <= now]:
            del self._suspected[peer]
            self._failures.pop(peer, None)
            self._late.pop(peer, None)

    def _blame(self, counts: dict[PeerId, int], peer: PeerId, now: Instant) -> None:
        counts[peer] = min(FAILURES_MAX, counts.get(peer, 0) + 1)
        self._suspected[peer] = Instant(now + SUSPECT_MS)
