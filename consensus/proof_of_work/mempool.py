"""Contributions that wait: for the learner, each source in its turn, and then, by digest, for a block that lists them."""

from bisect import insort
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from consensus.effects import Assess
from consensus.rate_limit import TokenBucket
from consensus.steps import Contribution
from consensus.types import Digest, Instant, PeerId, StepId

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


PER_AUTHOR_MAX = 32
"""Per author and base: improvements on the best known grow like the logarithm of the candidates tried; 32 is e**32 of them."""

PER_AUTHOR_IN_ALL_MAX = 128
"""Over all bases: those that evolution keeps with 32 each, or one gradient on each of the last 128."""

POOL_MAX = 4_096
"""Twice what 64 peers may have waiting for their turn (`QUEUED_PER_SOURCE_MAX`); 18 MB at most."""

LACKING_MAX = 256
"""Contributions that wait for their large payloads, of all peers: sixteen rounds of as many workers."""

LACKING_PER_SOURCE_MAX = 64
"""Of those, brought by one peer: so that it takes four that withhold payloads to keep others' contributions out."""

LACKING_PER_AUTHOR_MAX = 8
"""Of those, by one author: an honest one computes its next gradient while the last is on its way, not ten."""

HELD_MAX = 128
"""Contributions for a block that is being checked right now, from a peer that was quicker than we."""

HELD_PER_SOURCE_MAX = 32
"""Of those, from one peer: their signatures are not verified yet, so it must not take all the room in others' names."""


class Assessment(Enum):
    """What the learner says of a contribution, once it can be asked."""

    LACKING = "waiting for its large payloads"
    WAITING = "waiting"
    GOOD = "good"
    REFUSED = "refused"


@dataclass(slots=True)
class Pooled:
    """A contribution, who brought it (None: ourselves), and what the learner says of it."""

    contribution: Contribution
    source: PeerId | None
    assessment: Assessment


@dataclass(frozen=True, slots=True)
class Held:
    """A contribution for a block that has not been checked yet."""

    digest: Digest
    contribution: Contribution
    source: PeerId


class Mempool:
    """Bounded by author and base, by author, and in total; what lacks payloads also by who brought it."""

    def __init__(self) -> None:
        self._pooled: dict[Digest, Pooled] = {}
        self._held: dict[tuple[Digest, PeerId], Held] = {}
        """By source, too: signatures are not verified yet, and a forged one must not keep out what its author has signed."""
        self._bases: dict[bytes, list[bytes]] = {}
        """By author: the bases of those that are pooled."""
        self._refused: dict[bytes, None] = {}
        """The oldest first."""
        self._lacking: dict[bytes, Pooled] = {}
        """Those that wait for their large payloads."""

    def __len__(self) -> int:
        return len(self._pooled)

    def __contains__(self, digest: Digest) -> bool:
        return digest in self._pooled

    def add(self, digest: Digest, contribution: Contribution, source: PeerId | None) -> bool:
        """Wait for the assessment; False when it is known, or there is no room. In all there is always room for our own."""
        if digest in self._pooled or not self._has_room(contribution, source):
            return False
        self._add(digest, Pooled(contribution, source, Assessment.WAITING))
        return True

    def add_lacking(self, digest: Digest, contribution: Contribution, source: PeerId) -> bool:
        """Wait for the large payloads; False when it is known, or there is no room."""
        if digest in self._pooled or not (self._has_room(contribution, source) and self._may_lack(contribution, source)):
            return False
        self._lacking[digest] = Pooled(contribution, source, Assessment.LACKING)
        self._add(digest, self._lacking[digest])
        return True

    def complete(self, digest: Digest) -> Pooled | None:
        """Its large payloads are here: it waits for the assessment from now on. None when nobody waits for them."""
        pooled = self._lacking.pop(digest, None)
        if pooled is not None:
            pooled.assessment = Assessment.WAITING
        return pooled

    def waiting(self, digest: Digest) -> Pooled | None:
        """The contribution, if it waits for its assessment."""
        pooled = self._pooled.get(digest)
        return pooled if pooled is not None and pooled.assessment is Assessment.WAITING else None

    def drop(self, digest: Digest) -> None:
        """Forget one that waits for its assessment, as if it had never come."""
        if self.waiting(digest) is not None:
            self._remove(digest)

    def hold(self, held: Held) -> None:
        """Keep it until its base is checked; the oldest gives way, of the same source where that has its share."""
        if (held.digest, held.source) in self._held:
            return
        same = [place for place in self._held if place[1] == held.source]
        if len(same) >= HELD_PER_SOURCE_MAX:
            del self._held[same[0]]
        self._held[held.digest, held.source] = held
        if len(self._held) > HELD_MAX:
            del self._held[next(iter(self._held))]

    def take_held(self, base: StepId) -> tuple[Held, ...]:
        """Those for a base that is now checked."""
        found = tuple(held for held in self._held.values() if held.contribution.base == base)
        for held in found:
            del self._held[held.digest, held.source]
        return found

    def settle(self, digest: Digest, is_good: bool) -> Pooled | None:
        """Note the learner's answer; None when nobody waits for it."""
        pooled = self.waiting(digest)
        if pooled is None:
            return None
        pooled.assessment = Assessment.GOOD if is_good else Assessment.REFUSED
        if not is_good:
            self._refused[digest] = None
        return pooled

    def good(self, digest: Digest) -> Contribution | None:
        """The contribution, if it may be listed in a block."""
        pooled = self._pooled.get(digest)
        return pooled.contribution if pooled is not None and pooled.assessment is Assessment.GOOD else None

    def keep_bases(self, bases: tuple[StepId, ...], held_bases: tuple[StepId, ...]) -> tuple[Digest, ...]:
        """Forget the contributions for other bases; those that leave."""
        kept, held_kept = frozenset(bases), frozenset(held_bases)
        leaving = tuple(digest for digest, known in self._pooled.items() if known.contribution.base not in kept)
        for digest in leaving:
            self._remove(digest)
        self._held = {place: held for place, held in self._held.items() if held.contribution.base in held_kept}
        return leaving

    def _add(self, digest: Digest, pooled: Pooled) -> None:
        self._pooled[digest] = pooled
        self._bases.setdefault(pooled.contribution.author, []).append(pooled.contribution.base)

    def _remove(self, digest: Digest) -> None:
        contribution = self._pooled.pop(digest).contribution
        self._refused.pop(digest, None)
        self._lacking.pop(digest, None)
        bases = self._bases[contribution.author]
        bases.remove(contribution.base)
        if not bases:
            del self._bases[contribution.author]

    def _has_room(self, contribution: Contribution, source: PeerId | None) -> bool:
        if source is not None and len(self._pooled) >= POOL_MAX and not self._forget_refused():
            return False
        bases = self._bases.get(contribution.author, [])
        return len(bases) < PER_AUTHOR_IN_ALL_MAX and bases.count(contribution.base) < PER_AUTHOR_MAX

    def _forget_refused(self) -> bool:
        """Make room: a refused one is only remembered so that it is not assessed again. The oldest goes."""
        refused = next(iter(self._refused), None)
        if refused is not None:
            self._remove(Digest(refused))
        return refused is not None

    def _may_lack(self, contribution: Contribution, source: PeerId) -> bool:
        lacking = self._lacking.values()
        by_source = sum(known.source == source for known in lacking)
        by_author = sum(known.contribution.author == contribution.author for known in lacking)
        is_within = by_source < LACKING_PER_SOURCE_MAX and by_author < LACKING_PER_AUTHOR_MAX
        return is_within and len(lacking) < LACKING_MAX
