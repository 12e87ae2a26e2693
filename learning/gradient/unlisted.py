"""Contributions that wait to be listed in a block, and the block that we would lead next."""

from collections import Counter
from collections.abc import Callable, Container, Iterable, Iterator
from dataclasses import dataclass

from learning.aggregation.rule import GradientOutcome
from learning.gradient.blocks import BlockState, BlockTransition
from learning.gradient.submission import GradientSubmission
from learning.learner import AuthoredPayload, StepOffered

PENDING_MAX = 256
"""Four full blocks."""

PENDING_PER_AUTHOR_MAX = 8
"""An honest worker waits until its gradient is listed; after a reorganisation some of its older ones may wait again, as far as
there was room to remember them."""


@dataclass(frozen=True, slots=True)
class UnlistedContribution:
    """A contribution, and what it says."""

    contribution: AuthoredPayload
    submission: GradientSubmission


def in_turns(waiting: Iterable[UnlistedContribution], last_arrival: Callable[[bytes], int]) -> list[UnlistedContribution]:
    """One of each author before a second of anybody, whoever was heard longest ago first; of an author in their order.

    Where a block has room for few, who sends more than others keeps nobody waiting but itself.
    """
    rounds: Counter[bytes] = Counter()
    turns: list[tuple[int, int, UnlistedContribution]] = []
    for known in waiting:
        author = known.contribution.author
        turns.append((rounds[author], last_arrival(author), known))
        rounds[author] += 1
    return [known for _, _, known in sorted(turns, key=lambda turn: turn[:2])]


class UnlistedContributions:
    """Bounded in total and by author; of one author on one model only the first waits, until it is listed."""

    def __init__(self) -> None:
        self._waiting: dict[bytes, UnlistedContribution] = {}

    def __iter__(self) -> Iterator[UnlistedContribution]:
        return iter(tuple(self._waiting.values()))

    def __len__(self) -> int:
        return len(self._waiting)

    def __contains__(self, digest: bytes) -> bool:
        return digest in self._waiting

    def add(self, waiting: UnlistedContribution, listed: Container[bytes]) -> bool:
        """Whether there was room for it; those of `listed`, kept for a reorganisation alone, make room, the oldest first."""
        author, base = waiting.contribution.author, waiting.submission.base_digest
        own = [known for known in self._waiting.values() if known.contribution.author == author]
        if any(known.submission.base_digest == base and known.contribution.digest not in listed for known in own):
            return False
        if len(own) >= PENDING_PER_AUTHOR_MAX and not self._forget_one(own, listed):
            return False
        if len(self._waiting) >= PENDING_MAX and not self._forget_one(self, listed):
            return False
        self._waiting[waiting.contribution.digest] = waiting
        return True

    def _forget_one(self, candidates: Iterable[UnlistedContribution], listed: Container[bytes]) -> bool:
        digest = next((known.contribution.digest for known in candidates if known.contribution.digest in listed), None)
        return digest is not None and self._waiting.pop(digest, None) is not None

    def keep(self, is_kept: Callable[[UnlistedContribution], bool]) -> None:
        """Forget the others."""
        self._waiting = {digest: known for digest, known in self._waiting.items() if is_kept(known)}


OF_NO_USE = frozenset({GradientOutcome.COPY, GradientOutcome.OUT_OF_RANGE})
"""What leaves the state as it is: it takes no other's place."""


@dataclass(frozen=True, slots=True)
class Offer:
    """The block that we would lead next; it grows as contributions come, so that each is judged once.

    On top of `base`; `state`: after the block, ourselves being its leader.
    """

    base: bytes
    state: BlockState
    listed: tuple[bytes, ...] = ()

    def extend(self, waiting: UnlistedContribution, transition: BlockTransition) -> "Offer | None":
        """With one more contribution; None when the block is full, or would gain nothing by it. Raises PayloadMissingError."""
        contribution = waiting.contribution
        if len(self.listed) >= transition.listed_max(self.state):
            return None
        if transition.fault_in_block(self.state, contribution.author, waiting.submission) is not None:
            return None
        state = transition.add_contribution(self.state, contribution)
        if state.judged[-1].outcome in OF_NO_USE:
            return None
        return Offer(self.base, state, (*self.listed, contribution.digest))

    def answer(self) -> StepOffered:
        """For the ordering machine; a block of gradients claims nothing."""
        return StepOffered(self.base, self.listed, b"", self.state.digest)
