"""What a member of the committee has, and an observer has not: blocks of its own, that it asks for at every start.

It signs nothing before enough members have answered: our records may be lost or old. Among f + 1 answers one is honest; each is
proven by our own signature, so a liar cannot silence us by naming a round that we never reached (docs/protocol.md, 6).
"""

from dataclasses import dataclass

from consensus.effects import Offence, Refuse, Send
from consensus.encoding import encode
from consensus.total_order.block import Block
from consensus.total_order.context import State
from consensus.total_order.dag import Vertex
from consensus.total_order.messages import AskOwn, OwnNewest
from consensus.total_order.peers import PeerRecord
from consensus.total_order.proposer import Proposer
from consensus.total_order.relay import Relay
from consensus.types import Instant, PeerId

ASK_AGAIN_MS = 2_000
"""Who has not answered is asked again."""


class AmnesiaRecovery:
    """Asks for our newest block, once at each start of a member."""

    def __init__(self, state: State, me: int) -> None:
        self._state = state
        self._me = me
        self._needed = 0 if state.committee.size == 1 else state.committee.validity
        self._incarnation = 0
        self._answered = 0
        self._asked_at: dict[PeerId, Instant] = {}
        self._asked = 0
        """Whom we have ever asked in this incarnation, as a set of members."""

    @property
    def is_done(self) -> bool:
        """Whether so many have answered that we may sign above what they know."""
        return self._answered.bit_count() >= self._needed

    @property
    def unanswered(self) -> int:
        """The members that have not answered, as a set."""
        return self._state.committee.everybody & ~self._answered & ~(1 << self._me)

    def start(self, now: Instant) -> None:
        """A new incarnation begins."""
        self._incarnation = max(0, now)

    def ask(self, peer: PeerId, record: PeerRecord, now: Instant) -> None:
        """Ask a connected member, unless it has answered or may still."""
        if self.is_done or record.member is None or self._answered >> record.member & 1:
            return
        if now < self._asked_at.get(peer, Instant(-ASK_AGAIN_MS)) + ASK_AGAIN_MS:
            return
        self._asked_at[peer] = now
        self._asked |= 1 << record.member
        self._state.effects.add(Send(peer, encode(AskOwn(self._incarnation))))

    def leave(self, peer: PeerId) -> None:
        """Ask again once it is back."""
        self._asked_at.pop(peer, None)

    def on_answer(self, peer: PeerId, record: PeerRecord, answer: OwnNewest) -> Block | None:
        """Count an answer; the block it shows, if there is one. A false proof is refused."""
        if record.member is None or not self._asked >> record.member & 1:
            self._state.effects.add(Refuse(peer, Offence.UNSOLICITED, "answer about our own newest block"))
            return None
        if answer.incarnation != self._incarnation:
            return None
        block = answer.block
        if block is not None and (block.content.author != self._me or not self._state.is_sound(block)):
            self._state.effects.add(Refuse(peer, Offence.WRONG_SIGNATURE, "shows a block as ours that is not"))
            return None
        self._answered |= 1 << record.member
        return block


def answer_own(state: State, peer: PeerId, record: PeerRecord, question: AskOwn) -> None:
    """Show a member the newest block of its own that we have ever seen."""
    if record.member is None:
        state.effects.add(Refuse(peer, Offence.UNKNOWN_MEMBER, "asks for blocks of its own, but is no member"))
        return
    state.effects.add(Send(peer, encode(OwnNewest(question.incarnation, state.newest_seen.get(record.member)))))


@dataclass(frozen=True, slots=True)
class Member:
    """Creates blocks, sends with them what others seem to lack, and asks at every start which it has signed."""

    proposer: Proposer
    relay: Relay
    recovery: AmnesiaRecovery

    def on_accepted(self, vertex: Vertex) -> None:
        """The graph has accepted a block."""
        self.proposer.on_accepted(vertex)
        self.relay.on_accepted(vertex)
