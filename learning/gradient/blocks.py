"""What a block does to the agreed state: its leader becomes a worker, then its contributions are judged in their order.

Others wait to be listed, in the block that we would lead next. Section 7 of docs/protocol.md.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Container, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property

from learning.aggregation.rule import GradientOutcome, Workers
from learning.following.state_tree import Array
from learning.gradient.ledger import AggregationState, Aggregator, Gradients, GradientSubmission, Judged, ledger_digest
from learning.gradient.rules import CHECK_MS_MAX_DEFAULT
from learning.learner import AuthoredPayload, ProposedStep, StepOffered, faulty_max

BLOCK_STATE_TAG = b"kubrat/block-state/1"

WARM_UP_SHARE = 4
"""Gradients count once a fourth of the window has passed. Measured on digits with a window of 64, in twelve chains with one
sign flipper of four: without waiting the first steps ruin three models for ever, after 8 blocks one, after 16 none."""

LISTED_MAX = 64
"""What a block may list, however small the model."""

VALUES_PER_MS = 25_000
"""So many values of gradients are compared in a millisecond: 40 ns each, measured under the rule `robust` with several voices a
worker, whose sorting costs most, on a core that has other things to do."""

PAST_MODEL_BYTES = 8
"""A reference in the tuple of past models, which no two versions share."""

NOBODY = Workers((), 0)


@dataclass(frozen=True, eq=False)
class BlockState:
    """The state after a block. `leaders`: of the newest blocks, this one's last; one per block, at most the window's length."""

    ledger: AggregationState
    leaders: tuple[bytes, ...]
    judged: tuple[Judged, ...] = ()
    """What became of the block's contributions; for people."""

    @cached_property
    def digest(self) -> bytes:
        """What the block commits to: BLAKE2b-256 over everything that later blocks depend on."""
        hasher = hashlib.blake2b(BLOCK_STATE_TAG + ledger_digest(self.ledger), digest_size=32)
        for leader in self.leaders:
            hasher.update(len(leader).to_bytes(8, "little") + leader)
        return hasher.digest()


def _reopen(ledger: AggregationState) -> AggregationState:
    """All may submit on the present version; on older ones what was accepted stays, or a leader could list it again."""
    present = ledger.version
    bases = tuple((author, min(base, present - 1)) for author, base in ledger.bases)
    return replace(ledger, bases=tuple((author, base) for author, base in bases if base >= 0))


class BlockTransition:
    """Applies blocks; implements `learning.following.state_tree.Transition`. Holds nothing that changes."""

    def __init__(
        self, aggregator: Aggregator, gradients: Gradients, workers_window: int, check_ms_max: int = CHECK_MS_MAX_DEFAULT
    ) -> None:
        """`check_ms_max`: about so long a core may take to check a block."""
        self._aggregator = aggregator
        self._gradients = gradients
        self._workers_window = workers_window
        self._check_ms_max = check_ms_max

    def group(self, state: BlockState) -> Workers:
        """Who led one of the newest blocks is a worker, with a voice for each: keys are free, so work is the price of a voice.

        Fewer than a third of the voices may be liars', whether they mine with one key or with a new one for each block.
        Nobody is a worker before a part of the window is full: of few blocks, liars too often lead a third.
        """
        if len(state.leaders) < self._workers_window // WARM_UP_SHARE:
            return NOBODY
        led = Counter(state.leaders)
        workers = tuple(sorted(led))
        return Workers(workers, faulty_max(len(state.leaders)), tuple(led[worker] for worker in workers))

    def begin(self, parent: BlockState, leader: bytes) -> BlockState:
        """The state after a block of this leader that lists nothing.

        When somebody's voices change, everybody may submit on the present model once more. Else those whose gradients are
        already in, and wait for a worker that is gone by now, would wait for ever.
        """
        leaders = (*parent.leaders, leader)[-self._workers_window :]
        is_same_group = Counter(leaders) == Counter(parent.leaders)
        return BlockState(parent.ledger if is_same_group else _reopen(parent.ledger), leaders)

    def listed_max(self, state: BlockState) -> int:
        """How many contributions the block may list that leads to this state; at least one, however large the model.

        Each may have the gradients of all workers compared. A leader could list so many that all others check its block for
        longer than blocks take, while it works on the next one: with a third of the work it would lead nearly all of them.
        """
        compared = state.ledger.parameters.size * max(1, len(set(state.leaders)))
        return max(1, min(LISTED_MAX, self._check_ms_max * VALUES_PER_MS // compared))

    def add_contribution(self, state: BlockState, contribution: AuthoredPayload) -> BlockState:
        """The state when the block lists this contribution next; a refused one changes nothing. Raises PayloadMissingError."""
        if _has_listed(state, contribution.author):
            repeated = Judged(contribution.author, GradientOutcome.REPEATED, None)
            return BlockState(state.ledger, state.leaders, (*state.judged, repeated))
        ledger, judged = self._aggregator.advance(state.ledger, contribution, self.group(state), self._gradients)
        return BlockState(ledger, state.leaders, (*state.judged, judged))

    def apply(self, state: BlockState, step: ProposedStep) -> BlockState:
        """The state after a block. Raises PayloadMissingError."""
        state = self.begin(state, step.leader)
        for contribution in step.contributions:
            state = self.add_contribution(state, contribution)
        return state

    def digest(self, state: BlockState) -> bytes:
        """Of everything that later blocks depend on."""
        return state.digest

    def arrays(self, state: BlockState) -> Iterator[Array]:
        """The model and those before it, and what the rule remembers."""
        ledger = state.ledger
        yield ledger.parameters
        yield from ledger.memory.vectors
        yield from (slot.gradient.values for slot in ledger.memory.slots)
        yield from (past.parameters for past in ledger.past if past.parameters is not None)

    def own_bytes(self, state: BlockState) -> int:
        """The references to past models."""
        return PAST_MODEL_BYTES * len(state.ledger.past)

    def fault_of(self, state: BlockState, author: bytes, submission: GradientSubmission) -> GradientOutcome | None:
        """Why a submission would be refused if the block listed it next, whatever its gradient is."""
        return self._aggregator.fault_of(state.ledger, author, submission, self.group(state))

    def fault_in_block(self, state: BlockState, author: bytes, submission: GradientSubmission) -> GradientOutcome | None:
        """The same of the block that leads to this state: it lists one gradient of each worker at most.

        Each moves the model by its author's share, against the newest gradients of all. A leader that lists one on each of the
        versions that it makes itself would move it again and again against those that the others have not renewed meanwhile.
        """
        return GradientOutcome.REPEATED if _has_listed(state, author) else self.fault_of(state, author, submission)


def _has_listed(state: BlockState, author: bytes) -> bool:
    return any(judged.author == author for judged in state.judged)


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
