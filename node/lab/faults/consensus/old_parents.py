"""Never a vote for a leader: the leaders' blocks are heard only once our own next block is out."""

from collections import deque
from dataclasses import dataclass

from consensus.effects import Broadcast, SetTimer
from consensus.encoding import MalformedBytesError
from consensus.protocol import Input, Received
from consensus.total_order.messages import MESSAGE_BYTES_MAX
from consensus.types import Instant
from node.lab.faults.consensus.interceptor import Effects, is_timer
from node.lab.faults.consensus.own_blocks import contents_of
from node.lab.faults.consensus.situation import ReplicaSituation

HELD_MAX = 1_000
"""Messages not heard yet; what comes beyond them is heard at once. Some rounds' worth of 200 members."""

OLD_PARENTS_TIMER = "fault/old-parents"


@dataclass(frozen=True, slots=True)
class _Unheard:
    event: Received
    leader_round: int
    """It is heard after our own block of the round after this."""
    until: Instant


class OldParents:
    """Its blocks name the leaders' blocks when these are old: valid parents, and never a vote (total order only).

    It hears a leader's block once its own block of the next round is out, or after `hold_ms`. Source: a Byzantine validator may
    choose any quorum of parents (Babel, Chursin, Danezis, Kichidis, Kokoris-Kogias, Koshy, Sonnino, Tian, "Mysticeti", NDSS
    2025). Powers: none; the order of hearing is its own.
    """

    def __init__(self, hold_ms: int, situation: ReplicaSituation) -> None:
        self._hold_ms = hold_ms
        self._committee = situation.committee
        self._index = situation.index
        self._own_blocks = situation.own_blocks
        self._own_round = 0
        self._unheard: deque[_Unheard] = deque()

    def hear(self, event: Input, now: Instant) -> tuple[Input, ...]:
        """A leader's block later, all else now."""
        if is_timer(event, OLD_PARENTS_TIMER):
            return self._due(now)
        leader_round = self._newest_leader_round(event) if isinstance(event, Received) else 0
        if leader_round < max(1, self._own_round) or len(self._unheard) >= HELD_MAX:
            return (event,)
        assert isinstance(event, Received), "only a message brings a block"
        self._unheard.append(_Unheard(event, leader_round, Instant(now + self._hold_ms)))
        return ()

    def say(self, effects: Effects, now: Instant) -> Effects:
        """Everything; once our own block is out, what waited for it is heard."""
        for effect in effects:
            if isinstance(effect, Broadcast):
                self._own_round = max(self._own_round, self._own_blocks.pushed(effect.message) or 0)
        if not self._unheard:
            return effects
        is_due = any(unheard.leader_round < self._own_round for unheard in self._unheard)
        return (*effects, SetTimer(OLD_PARENTS_TIMER, now if is_due else self._unheard[0].until))

    def _due(self, now: Instant) -> tuple[Input, ...]:
        due = tuple(unheard for unheard in self._unheard if unheard.leader_round < self._own_round or unheard.until <= now)
        self._unheard = deque(unheard for unheard in self._unheard if unheard not in due)
        return tuple(unheard.event for unheard in due)

    def _newest_leader_round(self, event: Received) -> int:
        """The newest round of which this message brings another leader's block; 0 when it brings none."""
        if len(event.message) > MESSAGE_BYTES_MAX:
            return 0
        try:
            contents = contents_of(event.message)
        except MalformedBytesError:  # the honest machine judges it
            return 0
        rounds = (
            content.round
            for content in contents
            if content.author != self._index and content.author == self._committee.leader_of(content.round)
        )
        return max(rounds, default=0)
