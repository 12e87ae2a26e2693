"""Who may make us compute puzzles, and how many. What proves useful is free: it has cost its maker far more than us.

A peer is an outsider until it has sent a header that is solved and of use. Outsiders have a budget each, by group, and in all;
one that sends a single useless proof is an outsider again.
"""

from dataclasses import dataclass

from consensus.rate_limit import TokenBucket
from consensus.types import Instant, PeerId

PUZZLE_US_PER_MIB = 2_000
"""Of one core that has other things to do; an idle one takes 700."""

PUZZLE_US_MIN = 1_000
"""For the smallest puzzles: the way to the process that computes them and back."""

OUTSIDERS_US_PER_SECOND = 125_000
"""An eighth of a core for all outsiders together: mining keeps at least half (node/processes/puzzle.py)."""

GROUP_US_PER_SECOND = 62_500
"""Half of that for those of one subnet: fresh keys are free, subnets are not."""

OUTSIDER_US_PER_SECOND = 31_250
"""For one outsider: a quarter of what all have."""

OUTSIDERS_BURST = 16
"""Puzzles that all outsiders may have computed at once, as after a start when all peers are outsiders."""

GROUP_BURST = 8
"""Half of that for those of one subnet."""

OUTSIDER_BURST = 8
"""One whose puzzle is not solved is refused at the first. More only come from a branch that leaves the chain far below."""

GROUPS_MAX = 1_024
"""Subnets remembered, so that to leave and to come back gives no new budget; 200 kB."""

IN_FLIGHT_PER_PEER_MAX = 8
"""So that a peer that sends many headers does not keep the others waiting. An outsider's are verified one by one."""


@dataclass(frozen=True, slots=True)
class Ticket:
    """What one verification has taken from budgets."""

    budgets: tuple[TokenBucket, ...] = ()
    cost_us: int = 0

    def give_back(self) -> None:
        """Return what the puzzle has cost: it was worth it."""
        for budget in self.budgets:
            budget.give_back(self.cost_us)


FREE = Ticket()


@dataclass(slots=True)
class _PeerBudget:
    budget: TokenBucket
    group: bytes
    is_outsider: bool = True


class PuzzleBudgets:
    """The budgets for other peers' puzzles. `memory_kib`: of one puzzle."""

    def __init__(self, memory_kib: int) -> None:
        self.cost_us = max(PUZZLE_US_MIN, memory_kib * PUZZLE_US_PER_MIB // 1024)
        """What one verification is taken to cost."""
        self._peers: dict[PeerId, _PeerBudget] = {}
        self._groups: dict[bytes, TokenBucket] = {}
        self._outsiders: TokenBucket | None = None

    def join(self, peer: PeerId, group: bytes, now: Instant) -> None:
        """A peer has connected: it has nothing to show yet."""
        self._peers[peer] = _PeerBudget(self._budget(OUTSIDER_BURST, OUTSIDER_US_PER_SECOND, now), group)
        if group:
            known = self._groups.pop(group, None)
            self._groups[group] = known or self._budget(GROUP_BURST, GROUP_US_PER_SECOND, now)
            if len(self._groups) > GROUPS_MAX:
                del self._groups[next(iter(self._groups))]

    def leave(self, peer: PeerId) -> None:
        """It is gone; what its group has used is remembered."""
        self._peers.pop(peer, None)

    def is_outsider(self, peer: PeerId) -> bool:
        """Whether it has yet to send something that is proven and of use."""
        entry = self._peers.get(peer)
        return entry is None or entry.is_outsider

    def turn(self, peer: PeerId, now: Instant) -> tuple[bool, int]:
        """Lower comes first: who has shown something, then whose subnet has used least. So fresh keys, however many come of one
        subnet, are not in front of those of another."""
        if not self.is_outsider(peer):
            return False, 0
        entry = self._peers.get(peer)
        budget = None if entry is None else self._groups.get(entry.group, entry.budget)
        return True, 0 if budget is None else -budget.left(now)

    def start(self, peer: PeerId, in_flight: int, now: Instant) -> Ticket | None:
        """Leave to compute one more puzzle of this peer, which has `in_flight` under way; None: not now."""
        if not self.is_outsider(peer):
            return FREE if in_flight < IN_FLIGHT_PER_PEER_MAX else None
        if in_flight > 0:
            return None
        budgets = self._budgets_of(peer, now)
        if not all(budget.has_tokens(self.cost_us, now) for budget in budgets):
            return None
        for budget in budgets:
            budget.take(self.cost_us, now)
        return Ticket(budgets, self.cost_us)

    def settle(self, peer: PeerId, ticket: Ticket, *, is_useful: bool) -> None:
        """What the puzzle has shown: a block of a branch that may count, or nothing that anybody needs."""
        if is_useful:
            ticket.give_back()
        entry = self._peers.get(peer)
        if entry is not None:
            entry.is_outsider = not is_useful

    def _budgets_of(self, peer: PeerId, now: Instant) -> tuple[TokenBucket, ...]:
        if self._outsiders is None:
            self._outsiders = self._budget(OUTSIDERS_BURST, OUTSIDERS_US_PER_SECOND, now)
        entry = self._peers.get(peer)
        if entry is None:
            return (self._outsiders,)
        group = self._groups.get(entry.group)
        return (entry.budget, self._outsiders) if group is None else (entry.budget, group, self._outsiders)

    def _budget(self, puzzles: int, us_per_second: int, now: Instant) -> TokenBucket:
        return TokenBucket(puzzles * self.cost_us, us_per_second, 0, now)
