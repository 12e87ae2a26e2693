"""Contributions by digest: what others and we offer on top of the head, or of a block close to it."""

from dataclasses import dataclass
from enum import Enum

from consensus.contribution import Contribution
from consensus.types import Digest, PeerId, StepId

PER_AUTHOR_MAX = 32
"""Per author and base: improvements on the best known grow like the logarithm of the candidates tried; 32 is e**32 of them."""

PER_AUTHOR_IN_ALL_MAX = 128
"""Over all bases: those that evolution keeps with 32 each, or one gradient on each of the last 128."""

POOL_MAX = 4_096
"""Twice what 64 peers may have waiting for their turn (`assessment_queue.QUEUED_PER_SOURCE_MAX`); 18 MB at most."""

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
