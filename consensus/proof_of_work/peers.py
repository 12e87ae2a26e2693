"""What is remembered of each connected peer: what it claims, what it owes us, and how much of our time it has used."""

from dataclasses import dataclass, field

from consensus.budget import Budget
from consensus.proof_of_work.messages import Place
from consensus.types import Instant, PeerId, StepId

LONG_AGO = Instant(0)
"""Before anything that a peer could do."""

HEADERS_BURST = 256
"""Two full answers: what a new peer may send at once. Each costs us about 10 ms of a core to verify."""

HEADERS_PER_SECOND = 128
"""About what one core can verify at 8 MiB; a live network sends about one a second."""

CONTRIBUTIONS_BURST = 128
"""A generation's improvements from a whole network, passed on by one peer."""

CONTRIBUTIONS_PER_SECOND = 32
"""Each costs a signature check and one measurement of the learner: a few milliseconds."""

FALSE_CONTRIBUTIONS_BURST = 16
"""Contributions that a peer passed on and that we measured otherwise, within a hundred tolerances: each silences its author
for the price of a block, so who is only too credulous stays below."""

FALSE_CONTRIBUTIONS_PER_SECOND = 1
"""More than a third of the work could place between two honest measurements, at two blocks a second."""

REQUESTS_BURST = 64
"""Requests for headers and blocks that a peer that syncs may send at once."""

REQUESTS_PER_SECOND = 16
"""Each costs up to 128 reads of our own records: about 2 ms."""

DEBT_MAX = 256
"""What is over budget is ignored; a peer that goes on for so long is refused."""


@dataclass(slots=True)
class Requests:
    """Requests of one kind that a peer has not answered; answers come in order."""

    owed: int = 0
    deadline: Instant = LONG_AGO
    """Of the newest one; after it others are asked, but a late answer is still taken."""

    def sent(self, deadline: Instant) -> None:
        """One more is on its way."""
        self.owed += 1
        self.deadline = deadline

    def is_pending(self, now: Instant) -> bool:
        """Whether an answer can be expected."""
        return self.owed > 0 and now < self.deadline


@dataclass(slots=True)
class PeerRecord:
    """One connected peer."""

    headers: Budget
    contributions: Budget
    false_contributions: Budget
    requests: Budget
    tip_work: int = 0
    """Of the heaviest branch that it claims, or has shown, to have."""
    tip_height: int = 0
    headers_asked_after: Place | None = None
    """The last header of its last full answer: there it goes on."""
    header_requests: Requests = field(default_factory=Requests)
    block_requests: Requests = field(default_factory=Requests)
    blocks_asked: dict[StepId, None] = field(default_factory=dict)
    """All that it may still answer with, late answers included."""
    empty_answers: int = 0
    """To requests for blocks."""
    fruitless: int = 0
    """Requests for headers in a row that have brought nothing new so far."""
    ask_again_at: Instant = LONG_AGO
    """For headers."""

    def has_shown(self, work: int, height: int) -> None:
        """It has sent or claimed a branch of this much work."""
        if work > self.tip_work:
            self.tip_work, self.tip_height = work, height


class Peers:
    """The connected peers. One that was refused is gone at once: what it has sent before counts no more."""

    def __init__(self) -> None:
        self._records: dict[PeerId, PeerRecord] = {}

    def join(self, peer: PeerId, now: Instant) -> None:
        """A peer has connected, or connected anew."""
        self._records[peer] = PeerRecord(
            headers=Budget(HEADERS_BURST, HEADERS_PER_SECOND, DEBT_MAX, now),
            contributions=Budget(CONTRIBUTIONS_BURST, CONTRIBUTIONS_PER_SECOND, DEBT_MAX, now),
            false_contributions=Budget(FALSE_CONTRIBUTIONS_BURST, FALSE_CONTRIBUTIONS_PER_SECOND, DEBT_MAX, now),
            requests=Budget(REQUESTS_BURST, REQUESTS_PER_SECOND, DEBT_MAX, now),
        )

    def leave(self, peer: PeerId) -> None:
        """The peer has left or was refused."""
        self._records.pop(peer, None)

    def get(self, peer: PeerId) -> PeerRecord | None:
        """The record of a connected peer."""
        return self._records.get(peer)

    def sources(self) -> list[PeerId]:
        """Whom to ask for payloads (`consensus.wanted.Sources`), in the order in which they joined."""
        return list(self._records)

    @property
    def heaviest_tip(self) -> int:
        """The most work that a connected peer claims, or has shown, to have."""
        return max([record.tip_work for record in self._records.values()], default=0)

    def all(self) -> tuple[tuple[PeerId, PeerRecord], ...]:
        """In the order in which they joined."""
        return tuple(self._records.items())
