"""Contributions on their way to the learner: so many a second, each source in its turn, of each source the best claim first."""

from bisect import insort
from collections.abc import Callable
from dataclasses import dataclass

from consensus.contribution import Contribution
from consensus.effects import Assess
from consensus.rate_limit import TokenBucket
from consensus.types import Digest, Instant, PeerId

UNDER_WAY_MAX = 4
"""Asked of the learner at once: enough that it never waits for us, few enough that a block's check does not wait for many."""

QUEUED_PER_SOURCE_MAX = 32
"""One a second for the half minute that a learner may be busy. Who sends more than it has turns delays its own."""

ASSESSED_BURST = 128
"""A generation's improvements from a whole network, as one peer may pass them on."""

ASSESSED_PER_SECOND = 128
"""For all peers together: each costs the loop half a millisecond with its signature, so a sixteenth of a core. What costs the
learner a measurement is useful, or costs its author a block. With 64 peers that all send without end each has two a second."""

Rank = Callable[[bytes], int]
"""How much a contribution's payload claims, whatever it is worth: of one source, what claims most is assessed first."""


def equal_claims(payload: bytes) -> int:  # noqa: ARG001 - nothing is claimed
    """The rank where contributions claim nothing: first come, first assessed."""
    return 0


@dataclass(frozen=True, slots=True)
class _Queued:
    order: tuple[int, int]
    """The best claim first, then in the order of arrival."""
    digest: Digest
    contribution: Contribution


class AssessmentQueue:
    """One queue for each source, None being ourselves; a peer that sends many delays its own."""

    def __init__(self, rank: Rank) -> None:
        self._rank = rank
        self._turns = TokenBucket(ASSESSED_BURST, ASSESSED_PER_SECOND, 1, Instant(0))
        self._arrivals = 0
        self._queues: dict[PeerId | None, list[_Queued]] = {}
        """None of them is empty; the source whose turn is next comes first."""
        self._under_way: dict[Digest, None] = {}

    def has_room(self, source: PeerId) -> bool:
        """Whether another one of this source can be queued: asked before anything is spent on it."""
        return len(self._queues.get(source, ())) < QUEUED_PER_SOURCE_MAX

    def add(self, digest: Digest, contribution: Contribution, source: PeerId | None) -> Digest | None:
        """Queue it; what the source's queue has no room for any more, perhaps this very one."""
        self._arrivals += 1
        queue = self._queues.setdefault(source, [])
        order = (-self._rank(contribution.payload), self._arrivals)
        insort(queue, _Queued(order, digest, contribution), key=lambda queued: queued.order)
        return queue.pop().digest if len(queue) > QUEUED_PER_SOURCE_MAX else None

    def keep(self, is_wanted: Callable[[Digest], bool]) -> None:
        """Forget all but those that are still wanted."""
        kept = {source: [queued for queued in queue if is_wanted(queued.digest)] for source, queue in self._queues.items()}
        self._queues = {source: queue for source, queue in kept.items() if queue}

    def on_answer(self, digest: Digest) -> None:
        """The learner has answered for it."""
        self._under_way.pop(digest, None)

    def start(self, is_wanted: Callable[[Digest], bool], now: Instant) -> tuple[Assess, ...]:
        """What to ask the learner now; what nobody wants any more is dropped on the way. Our own needs no turn."""
        effects: list[Assess] = []
        while self._queues and len(self._under_way) < UNDER_WAY_MAX:
            is_own = None in self._queues
            if not is_own and not self._turns.has_tokens(1, now):
                break
            queued = self._next()
            if is_wanted(queued.digest):
                if not is_own:
                    self._turns.spend(now)
                self._under_way[queued.digest] = None
                effects.append(Assess(queued.digest, queued.contribution))
        return tuple(effects)

    def _next(self) -> _Queued:
        """Our own first: it costs nobody else anything. Then the source that has waited longest."""
        source = None if None in self._queues else next(iter(self._queues))
        queue = self._queues.pop(source)
        queued = queue.pop(0)
        if queue:
            self._queues[source] = queue
        return queued
