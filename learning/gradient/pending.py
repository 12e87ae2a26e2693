"""Contributions that wait to be listed in a block, in the order in which they came."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from learning.gradient.submission import Submission
from learning.learner import SignedPayload

PENDING_MAX = 256
"""Four full blocks."""

PENDING_PER_AUTHOR_MAX = 8
"""An honest worker waits until its gradient is listed; after a reorganisation some of its older ones may wait again."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """A contribution, and what it says."""

    contribution: SignedPayload
    submission: Submission


class Pending:
    """Bounded in total and by author; of one author on one model only the first."""

    def __init__(self) -> None:
        self._waiting: dict[bytes, Waiting] = {}

    def __iter__(self) -> Iterator[Waiting]:
        return iter(tuple(self._waiting.values()))

    def __len__(self) -> int:
        return len(self._waiting)

    def __contains__(self, digest: bytes) -> bool:
        return digest in self._waiting

    def add(self, waiting: Waiting) -> bool:
        """Whether there was room for it."""
        author, base = waiting.contribution.author, waiting.submission.base_digest
        own = [known for known in self._waiting.values() if known.contribution.author == author]
        is_second = any(known.submission.base_digest == base for known in own)
        if is_second or len(own) >= PENDING_PER_AUTHOR_MAX or len(self._waiting) >= PENDING_MAX:
            return False
        self._waiting[waiting.contribution.digest] = waiting
        return True

    def keep(self, is_kept: Callable[[Waiting], bool]) -> None:
        """Forget the others."""
        self._waiting = {digest: known for digest, known in self._waiting.items() if is_kept(known)}
