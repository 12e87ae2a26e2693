"""When to create the next block, and when to wait for a leader (docs/protocol.md, 6).

A member enters round r + 1 with a quorum of blocks of round r and its own, so it leaves out no round: free jumping is a
liveness hole of the original protocol. Rules as in Starfish (ePrint 2025/567); the wait adapts, since Delta is not known.

A leader is waited for as long as a few usual rounds take, and up to two Delta while it has not used up its share of our
patience (`Patience`). This is a matter of each member alone: whom others wait for, and what is committed, hangs on nothing but
blocks. Nor can it end progress: once nothing has been committed for some rounds, every leader is waited for in full again.

Whose learner falls behind creates its blocks more slowly: where they are needed, the order goes as fast as learners do.

A learner that works in phases says what it is at. While it is at work on its part, an empty block would only be followed by
another: ours waits for that part, at most as long as an idle order waits, and not once a quorum has gone on. When it waits for
the order, and all who are connected have spoken, a millisecond is waited.
"""

from collections import deque
from dataclasses import dataclass

from consensus.total_order.committee import TotalOrderRules
from consensus.types import Instant

SILENT_ROUNDS = 3
"""A leader that is disconnected and has no block in so many rounds is not waited for: its blocks may still come over others."""

BARREN_ROUNDS = 6
"""Beyond so many rounds (and the faulty members in a row) since the last commit, Delta is taken for too short: a commit takes
three rounds, and an undecided slot waits for three more."""

SHRINK_SHARE = 32
"""Each commit takes this share off what Delta has grown: slower than it grows (by half), so that it does not swing."""


SHORT_ROUNDS = 2
"""Whoever comes within so many usual rounds' time is as quick as the others: that long every leader is waited for."""

SHORT_DELTA_SHARE = 16
"""And never shorter than this share of the least Delta, where rounds take no time at all: 15 ms."""

PACES_KEPT = 8
"""Rounds whose duration is remembered; the usual one is that which a fourth of them were quicker than."""


BEHIND_MS = 10
"""For each delivered step that is still with our learner, while those are many, so much between two blocks of ours: a learner
that takes 20 ms for a step is nine steps behind then, and one that takes a second is a hundred. At most the longest Delta."""

PATIENCE_SHARE = 4
"""All members' turns together may cost a fourth of our time: f of n members that are waited for without end cost a twelfth."""


SAID_INTERVAL_MS = 1
"""Between two blocks of ours where all have spoken and learners wait for the order: one member alone waits for no link."""


@dataclass(frozen=True, slots=True)
class Readiness:
    """What the graph says of the round that we are in."""

    awaited: int | None
    """The member whose turn is not over: the leader of the round before, whose block is not here, or the one of two rounds
    before, for or against whose block no quorum has voted, so that our block would not help to decide. None: nobody."""
    is_late: bool
    """A quorum has blocks of this round already."""
    is_idle: bool
    """Nobody has anything to say."""
    has_own: bool = True
    """We have something to say ourselves."""
    have_all_spoken: bool = False
    """The blocks of the round before of all connected members are here."""


class Patience:
    """For whose turns we still wait: who has kept us waiting for more than its share of the time has to make up for it.

    A wait is charged to the leader that it is for, whatever became of it: one that stays mute, one that shows its block to a
    few alone, and one that is always a little too late cost the same. What is charged is paid off by the time that passes.
    Counts in 1 / (PATIENCE_SHARE * n) ms, so that a millisecond that passes pays off one.
    """

    def __init__(self, size: int) -> None:
        self._units_per_ms = PATIENCE_SHARE * size
        self._debts = [0] * size
        self._now = Instant(0)

    def charge(self, member: int, waited_ms: int) -> None:
        """We have waited so long for a turn of this member."""
        self._debts[member] += max(0, waited_ms) * self._units_per_ms

    def pay_off(self, now: Instant) -> None:
        """Time has passed. A clock that was put back pays nothing."""
        elapsed_ms = max(0, now - self._now)
        self._now = now
        self._debts = [max(0, debt - elapsed_ms) for debt in self._debts]

    def has_for(self, member: int, wait_ms: int) -> bool:
        """Whether we may wait for so long: it owes us less."""
        return self._debts[member] < wait_ms * self._units_per_ms


class Pacemaker:
    """Keeps the time of one member. All times in ms."""

    def __init__(self, rules: TotalOrderRules, size: int, faulty_max: int) -> None:
        self._rules = rules
        self._size = size
        self._barren_rounds = BARREN_ROUNDS + faulty_max
        self.delta_ms = rules.delta_ms_min
        self.learner_behind = 0
        """Delivered steps that are still with our learner, while they are many."""
        self.is_commit_awaited = False
        """Whether our learner goes on with the next commit, whatever is in it."""
        self.is_part_due: bool | None = None
        """Whether our learner is at work on what it will say next; else it waits for the order. None: it is not known."""
        self.round = 0
        """The round that we are in: its block is the next one we create, or the last one we have created."""
        self._entered_at = Instant(0)
        self._created_at: Instant | None = None
        self._rounds_since_commit = 0
        self._patience = Patience(size)
        self._paces: deque[int] = deque(maxlen=PACES_KEPT)
        """From our own block to a quorum of its round: what others need, without what we wait for leaders."""
        self._waiting: tuple[int, Instant] | None = None
        """For whose turn, and since when as far as it is not charged yet."""

    @property
    def timeout_ms(self) -> int:
        """How long a round waits for a leader at most."""
        return 2 * self.delta_ms

    @property
    def short_ms(self) -> int:
        """How long a round waits for any leader, whatever it has cost us.

        At least so long, in each of its turns, that what comes within a whole time-out finds its round above the horizon: who
        is far away has its blocks ordered, if it leads none that we wait for.
        """
        usual_ms = sorted(self._paces)[len(self._paces) // 4] if self._paces else self.delta_ms
        depth = self._rules.gc_depth
        far_ms = (self.timeout_ms - depth * usual_ms) * self._size // depth
        return min(self.timeout_ms, max(SHORT_ROUNDS * usual_ms, self._rules.delta_ms_min // SHORT_DELTA_SHARE, far_ms))

    def enter(self, round_number: int, now: Instant) -> None:
        """A quorum of the round before is here, and our own block of it."""
        self._forgive_clock(now)
        if round_number != self.round:
            if self._created_at is not None:
                self._paces.append(now - self._created_at)
            self.round = round_number
            self._entered_at = now

    def due_at(self, readiness: Readiness, now: Instant) -> Instant:
        """When to create the block of the round entered; not later than `now`: at once."""
        earliest = self._earliest(readiness, now)
        self._charge(earliest, now)
        if readiness.is_late:
            return now
        if readiness.awaited is None:
            return earliest
        self._waiting = (readiness.awaited, now)
        wait_ms = self.timeout_ms if self._is_patient_with(readiness.awaited) else self.short_ms
        return Instant(max(earliest, self._entered_at + wait_ms))

    def on_own_block(self, readiness: Readiness, now: Instant) -> None:
        """Our block of the round entered exists. If it had to wait in vain, and nothing commits, the wait was too short."""
        if self._is_barren and readiness.awaited is not None and not readiness.is_late:
            self.delta_ms = min(self._rules.delta_ms_max, self.delta_ms + (self.delta_ms + 1) // 2)
        self._created_at = now
        self._waiting = None
        self._rounds_since_commit += 1

    def on_commit(self, *, has_items: bool = True) -> None:
        """Something was committed: the wait shrinks slowly. What it brings may be our learner's turn, until that says more."""
        if has_items and self.is_part_due is not None:
            self.is_part_due = True
        self._rounds_since_commit = 0
        excess_ms = self.delta_ms - self._rules.delta_ms_min
        self.delta_ms -= (excess_ms + SHRINK_SHARE - 1) // SHRINK_SHARE

    # --- inside ---

    @property
    def _is_barren(self) -> bool:
        return self._rounds_since_commit >= self._barren_rounds

    def _is_patient_with(self, member: int) -> bool:
        return self._is_barren or self._patience.has_for(member, self.timeout_ms)

    def _earliest(self, readiness: Readiness, now: Instant) -> Instant:
        rules = self._rules
        behind_ms = min(rules.delta_ms_max, BEHIND_MS * self.learner_behind)
        interval_ms = max(behind_ms, self._interval_ms(readiness))
        return now if self._created_at is None else Instant(self._created_at + interval_ms)

    def _interval_ms(self, readiness: Readiness) -> int:
        """Between two blocks of ours, while our learner keeps up."""
        if readiness.is_idle and not self.is_commit_awaited:
            return self._rules.idle_interval_ms
        if self.is_part_due and not readiness.has_own:
            return self._rules.idle_interval_ms
        is_said = self.is_part_due is False and readiness.have_all_spoken
        return SAID_INTERVAL_MS if is_said else self._rules.round_interval_ms

    def _charge(self, earliest: Instant, now: Instant) -> None:
        """Whom we have waited for since we last looked, beyond what is waited for anybody."""
        self._patience.pay_off(now)
        if self._waiting is not None:
            member, since = self._waiting
            self._patience.charge(member, now - max(since, earliest, self._entered_at + self.short_ms))
            self._waiting = None

    def _forgive_clock(self, now: Instant) -> None:
        """A clock that was put back must not make us wait for it."""
        self._entered_at = min(self._entered_at, now)
        if self._created_at is not None:
            self._created_at = min(self._created_at, now)
