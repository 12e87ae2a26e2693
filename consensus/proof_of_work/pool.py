"""Contributions by digest: what others and we offer on top of the head, or of a block close to it."""

from dataclasses import dataclass
from enum import Enum

from consensus.contribution import Contribution
from consensus.types import Digest, PeerId, StepId

PER_AUTHOR_MAX = 32
"""Per author and base: improvements on the best known grow like the logarithm of the candidates tried; 32 is e**32 of them."""

POOL_MAX = 1_024
"""A hundred peers with ten improvements each; 4.4 MB at most."""

HELD_MAX = 128
"""Contributions for a block that is being checked right now, from a peer that was quicker than we."""


class Assessment(Enum):
    """What the learner says of a contribution."""

    WAITING = "waiting"
    GOOD = "good"
    REFUSED = "refused"


@dataclass(slots=True)
class Pooled:
    """A contribution, who brought it (None: ourselves), and what the learner says of it."""

    contribution: Contribution
    source: PeerId | None
    assessment: Assessment = Assessment.WAITING


@dataclass(frozen=True, slots=True)
class Held:
    """A contribution for a block that has not been checked yet."""

    digest: Digest
    contribution: Contribution
    source: PeerId


class Pool:
    """Bounded by author and base, and in total."""

    def __init__(self) -> None:
        self._pooled: dict[Digest, Pooled] = {}
        self._held: dict[Digest, Held] = {}

    def __len__(self) -> int:
        return len(self._pooled)

    def __contains__(self, digest: Digest) -> bool:
        return digest in self._pooled or digest in self._held

    def add(self, digest: Digest, contribution: Contribution, source: PeerId | None) -> bool:
        """Wait for the assessment; False when it is known, or there is no room. There is always room for our own."""
        if digest in self._pooled or (source is not None and len(self._pooled) >= POOL_MAX):
            return False
        key = (contribution.author, contribution.base)
        if (
            sum((known.contribution.author, known.contribution.base) == key for known in self._pooled.values())
            >= PER_AUTHOR_MAX
        ):
            return False
        self._pooled[digest] = Pooled(contribution, source)
        return True

    def hold(self, held: Held) -> None:
        """Keep it until its base is checked; the oldest gives way."""
        self._held[held.digest] = held
        if len(self._held) > HELD_MAX:
            del self._held[next(iter(self._held))]

    def take_held(self, base: StepId) -> tuple[Held, ...]:
        """Those for a base that is now checked."""
        found = tuple(held for held in self._held.values() if held.contribution.base == base)
        for held in found:
            del self._held[held.digest]
        return found

    def settle(self, digest: Digest, is_good: bool) -> Pooled | None:
        """Note the learner's answer; None when nobody waits for it."""
        pooled = self._pooled.get(digest)
        if pooled is None or pooled.assessment is not Assessment.WAITING:
            return None
        pooled.assessment = Assessment.GOOD if is_good else Assessment.REFUSED
        return pooled

    def good(self, digest: Digest) -> Contribution | None:
        """The contribution, if it may be listed in a block."""
        pooled = self._pooled.get(digest)
        return pooled.contribution if pooled is not None and pooled.assessment is Assessment.GOOD else None

    def keep_bases(self, bases: tuple[StepId, ...], held_bases: tuple[StepId, ...]) -> None:
        """Forget the contributions for other bases."""
        self._pooled = {digest: known for digest, known in self._pooled.items() if known.contribution.base in bases}
        self._held = {digest: held for digest, held in self._held.items() if held.contribution.base in held_bases}

    def _count(self, author: PeerId, base: StepId) -> int:
        offered = (known.contribution for known in self._pooled.values())
        return sum(contribution.author == author and contribution.base == base for contribution in offered)
