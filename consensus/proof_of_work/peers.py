"""What is remembered of each connected peer: what it claims, what it owes us, and how much of our time it has used."""

from collections import OrderedDict, deque
from dataclasses import dataclass, field

from consensus.proof_of_work.mempool import ASSESSED_BURST, ASSESSED_PER_SECOND
from consensus.proof_of_work.messages import Place
from consensus.rate_limit import TokenBucket
from consensus.types import Instant, PeerId, StepId

LONG_AGO = Instant(0)
"""Before anything that a peer could do."""

HEADERS_BURST = 256
"""Two full answers: what a new peer may send at once. Each costs us about 10 ms of a core to verify."""

HEADERS_PER_SECOND = 128
"""About what one core can verify at 8 MiB; a live network sends about one a second."""

CONTRIBUTIONS_BURST = 4 * ASSESSED_BURST
"""What an honest peer may send at once: the 256 newest messages to who connects, and what it has assessed in a burst."""

CONTRIBUTIONS_PER_SECOND = ASSESSED_PER_SECOND + 64
"""More than an honest peer passes on, whatever others feed it: that is what its learner was asked for, and its own. Else liars
with a voice could have honest peers refuse each other. A signature or a measurement each costs in its turn
(`mempool`)."""

FALSE_CONTRIBUTIONS_BURST = 16
"""Contributions that a peer passed on and that we measured otherwise, within a hundred tolerances: each silences its author
for the price of a block, so who is only too credulous stays below."""

FALSE_CONTRIBUTIONS_PER_SECOND = 1
"""More than a third of the work could place between two honest measurements, at two blocks a second."""

REQUESTS_BURST = 64
"""Requests for headers and blocks that a peer that syncs may send at once."""

REQUESTS_PER_SECOND = 16
"""Each costs up to 128 reads of our own records: about 2 ms."""

REQUESTS_ASKED_BURST = 48
"""What we ask of a peer stays below what it grants, so that none of our requests is refused."""

REQUESTS_ASKED_PER_SECOND = 12
"""The same, in the long run: three quarters of what it grants."""

ANSWER_TIMEOUT_MS = 5_000
"""A full answer of 256 kB over a slow home link, and a busy peer."""

OWED_MAX = 3
"""A peer that has left so many requests of one kind unanswered is not asked again for a while."""

FORGIVEN_AFTER_MS = 30_000
"""Then it is asked once more: it may have been stopped, or cut off, and come back."""

ANSWERS_LATE_MAX = 16
"""Unanswered requests of one kind that are remembered: eight minutes of silence, asked once in FORGIVEN_AFTER_MS."""

PATIENCE_MS = 60_000
"""A newcomer waits for one peer's headers for so long in all before it makes anything final without them."""

PATIENCE_EARNED_MS = 1_000
"""A whole answer of new headers earns so much again: an honest peer sends 30 kB in a second."""

DEBT_MAX = 256
"""What is over budget is ignored; a peer that goes on for so long is refused."""


SUBNETS_MAX = 1_024
"""Subnets that are remembered as asked in vain: fresh keys of one that was are not asked before everybody else."""

RESTARTED_MS = 60_000
"""So long after a restart answers may come to what an earlier incarnation has asked: a peer's disk, or ours, was busy."""

LEFT_OWING_MAX = 256
"""Peers that left while they owed an answer; one that comes back does so within seconds."""


def _unanswered() -> deque[tuple[StepId, ...]]:
    return deque(maxlen=ANSWERS_LATE_MAX)


@dataclass(slots=True)
class Requests:
    """Requests of one kind that a peer has not answered, each with what it asks for; answers come in order."""

    unanswered: deque[tuple[StepId, ...]] = field(default_factory=_unanswered)
    asked_at: Instant = LONG_AGO
    """The newest one."""
    deadline: Instant = LONG_AGO
    """Of the newest one; after it others are asked, but a late answer is still taken."""
    not_before: Instant = LONG_AGO
    """The peer was busy: nothing is asked before."""
    owed_before: int = 0
    """Over earlier connections: such an answer may have been on its way to the disk, and comes over this one."""

    @property
    def owed(self) -> int:
        """How many have not been answered."""
        return len(self.unanswered)

    def add(self, steps: tuple[StepId, ...], now: Instant) -> None:
        """One more is on its way."""
        self.unanswered.append(steps)
        self.asked_at, self.deadline = now, Instant(now + ANSWER_TIMEOUT_MS)

    def on_answer(self, steps: tuple[StepId, ...] = ()) -> tuple[StepId, ...] | None:
        """What was asked for by the oldest request that this answers; None: nobody asked for these.

        Requests before it are taken for lost.
        """
        for index, asked in enumerate(self.unanswered):
            if all(step in asked for step in steps):
                for _ in range(index + 1):
                    self.unanswered.popleft()
                return asked
        return None

    def forgive(self) -> bool:
        """Whether an answer that nobody here has asked for may belong to an earlier connection."""
        self.owed_before -= 1
        return self.owed_before >= 0

    def is_pending(self, now: Instant) -> bool:
        """Whether an answer can be expected."""
        return self.owed > 0 and now < self.deadline

    def may_ask(self, now: Instant) -> bool:
        """Whether another request may be sent now. What was owed for long is forgiven."""
        if self.is_pending(now) or now < self.not_before:
            return False
        return self.owed < OWED_MAX or now >= self.deadline + FORGIVEN_AFTER_MS


@dataclass(slots=True)
class PeerRecord:
    """What is known of one connected peer."""

    headers: TokenBucket
    contributions: TokenBucket
    false_contributions: TokenBucket
    requests: TokenBucket
    asking: TokenBucket
    """What we may ask of it."""
    group: bytes = b""
    """Its subnet; empty where only keys tell peers apart."""
    tip_work: int = 0
    """Of the heaviest branch that it claims, or has shown, to have."""
    tip_height: int = 0
    headers_asked_after: Place | None = None
    """The last header of its last full answer: there it goes on."""
    header_requests: Requests = field(default_factory=Requests)
    block_requests: Requests = field(default_factory=Requests)
    empty_answers: int = 0
    """To requests for blocks."""
    fruitless: int = 0
    """Requests for headers in a row that have brought nothing new so far."""
    asked_in_vain_before: Instant = LONG_AGO
    """What was remembered of its subnet when it was last asked."""
    ask_again_at: Instant = LONG_AGO
    """For headers."""
    turns: int = 0
    """Its answers with headers, and the seconds that they took: who has used least is asked first."""
    shown: StepId | None = None
    """The last header that it has sent when asked."""
    patience_ms: int = PATIENCE_MS
    """How much longer its headers may keep a newcomer from making anything final."""

    def note_tip(self, work: int, height: int) -> None:
        """It has sent or claimed a branch of this much work."""
        if work > self.tip_work:
            self.tip_work, self.tip_height = work, height


class Peers:
    """The connected peers. One that was refused is gone at once: what it has sent before counts no more."""

    def __init__(self) -> None:
        self._records: dict[PeerId, PeerRecord] = {}
        self._owed: OrderedDict[PeerId, tuple[int, int]] = OrderedDict()
        """Answers with headers and with blocks that peers owed when they left."""
        self._owed_by_all_until = LONG_AGO
        self._asked_in_vain: OrderedDict[bytes, Instant] = OrderedDict()
        """By subnet: the newest request for headers that has brought nothing of use so far."""

    def on_restart(self, now: Instant) -> None:
        """We have asked peers in an earlier incarnation, and do not know whom: each that comes soon may owe us answers."""
        self._owed_by_all_until = Instant(now + RESTARTED_MS)

    def join(self, peer: PeerId, now: Instant, group: bytes = b"") -> None:
        """A peer has connected, or connected anew."""
        self.leave(peer)
        owed_by_all = OWED_MAX if now < self._owed_by_all_until else 0
        headers_owed, blocks_owed = self._owed.pop(peer, (owed_by_all, owed_by_all))
        self._records[peer] = PeerRecord(
            headers=TokenBucket(HEADERS_BURST, HEADERS_PER_SECOND, DEBT_MAX, now),
            contributions=TokenBucket(CONTRIBUTIONS_BURST, CONTRIBUTIONS_PER_SECOND, DEBT_MAX, now),
            false_contributions=TokenBucket(FALSE_CONTRIBUTIONS_BURST, FALSE_CONTRIBUTIONS_PER_SECOND, DEBT_MAX, now),
            requests=TokenBucket(REQUESTS_BURST, REQUESTS_PER_SECOND, DEBT_MAX, now),
            asking=TokenBucket(REQUESTS_ASKED_BURST, REQUESTS_ASKED_PER_SECOND, 0, now),
            group=group,
            header_requests=Requests(owed_before=headers_owed),
            block_requests=Requests(owed_before=blocks_owed),
        )

    def leave(self, peer: PeerId) -> None:
        """The peer has left or was refused."""
        record = self._records.pop(peer, None)
        if record is None or record.header_requests.owed + record.block_requests.owed == 0:
            return
        self._owed[peer] = record.header_requests.owed, record.block_requests.owed
        if len(self._owed) > LEFT_OWING_MAX:
            self._owed.popitem(last=False)

    def last_vain_request_at(self, record: PeerRecord) -> Instant:
        """When a peer of its subnet, whether or not it is still here, was last asked for headers and brought none of use."""
        return self._asked_in_vain.get(record.group, LONG_AGO)

    def note_headers_asked(self, record: PeerRecord, now: Instant) -> None:
        """It was asked: in vain, until its answer shows otherwise."""
        record.fruitless += 1
        if record.group:
            record.asked_in_vain_before = self._asked_in_vain.pop(record.group, LONG_AGO)
            self._asked_in_vain[record.group] = now
            if len(self._asked_in_vain) > SUBNETS_MAX:
                self._asked_in_vain.popitem(last=False)

    def note_proven(self, peer: PeerId) -> None:
        """A header of this peer was proven, and is of use."""
        record = self._records.get(peer)
        if record is not None and record.group in self._asked_in_vain:
            self._asked_in_vain[record.group] = record.asked_in_vain_before

    def get(self, peer: PeerId) -> PeerRecord | None:
        """The record of a connected peer."""
        return self._records.get(peer)

    def sources(self) -> list[PeerId]:
        """Whom to ask for payloads (`consensus.payload_requests.Sources`), in the order in which they joined."""
        return list(self._records)

    @property
    def heaviest_tip(self) -> int:
        """The most work that a connected peer claims, or has shown, to have."""
        return max([record.tip_work for record in self._records.values()], default=0)

    def all(self) -> tuple[tuple[PeerId, PeerRecord], ...]:
        """In the order in which they joined."""
        return tuple(self._records.items())
