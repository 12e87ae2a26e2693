"""Leading: the learner's offer becomes a puzzle, and a solved puzzle a block of our own."""

from collections.abc import Callable
from dataclasses import dataclass

from consensus.effects import Effect, SetTimer, SolvePuzzle, StopPuzzle
from consensus.encoding import Signer
from consensus.proof_of_work.block_tree import BlockIndex, next_target
from consensus.proof_of_work.header import (
    Block,
    Body,
    Draft,
    NamedBlock,
    body_digest,
    fits,
    name_block,
    puzzle_prefix,
    sign_header,
)
from consensus.proof_of_work.rules import ProofOfWorkRules
from consensus.protocol import Offered, PuzzleSolved
from consensus.steps import Contribution
from consensus.types import Digest, Height, Instant, NetworkId, PeerId, StepId
from consensus.wall_clock import WallClock

REFRESH_MS = 1_000
"""How often the header's time is renewed: difficulty and the median rule need no finer clock."""

REFRESH_TIMER = "mining"

JOBS_MAX = 8
"""A solution that was found just before its puzzle was replaced still counts, for so many puzzles."""

FindContribution = Callable[[Digest], Contribution | None]


@dataclass(frozen=True, slots=True)
class _Job:
    draft: Draft
    body: Body


class Mining:
    """At most one puzzle is being worked on; it is always on top of the head."""

    def __init__(self, network_id: NetworkId, rules: ProofOfWorkRules, identity: PeerId, sign: Signer, wall: WallClock) -> None:
        self._network_id = network_id
        self._rules = rules
        self._identity = identity
        self._sign = sign
        self._wall = wall
        self._base: StepId | None = None
        self._offer: Body | None = None
        self._jobs: dict[bytes, _Job] = {}
        self._is_stale = False
        self._is_working = False
        self._own_block: StepId | None = None
        """Our own newest block, while the learner has not yet answered for it."""
        self._own_base: StepId | None = None

    def on_new_head(self, head: StepId) -> None:
        """Offers and puzzles for another head are worthless."""
        self._base, self._offer, self._is_stale = head, None, False
        self._jobs.clear()

    def on_offer(self, offer: Offered, find_good: FindContribution) -> None:
        """The learner's newest offer; ignored unless it is for the head, made of what we hold, and fits into a block."""
        contributions = tuple(found for digest in offer.contributions if (found := find_good(digest)) is not None)
        is_complete = len(contributions) == len(offer.contributions)
        may_be_older = self._rules.base_age_max > 0
        are_bases_right = may_be_older or all(found.base == offer.base for found in contributions)
        body = Body(contributions, offer.claim, offer.state_digest)
        if offer.base == self._base and is_complete and are_bases_right and fits(body):
            self._offer, self._is_stale = body, True

    def refresh(self) -> None:
        """The header's time is to be renewed."""
        self._is_stale = True

    def work(self, head: BlockIndex, may_lead: bool, now: Instant) -> tuple[Effect, ...]:
        """Start, replace or stop the puzzle, as things stand."""
        if not may_lead or self._offer is None or self._own_block is not None:
            was_working, self._is_working = self._is_working, False
            return (StopPuzzle(),) if was_working else ()
        if self._is_working and not self._is_stale:
            return ()
        self._is_working, self._is_stale = True, False
        draft = self._draft(head, self._offer, now)
        prefix = puzzle_prefix(self._network_id, draft)
        self._jobs[prefix] = _Job(draft, self._offer)
        if len(self._jobs) > JOBS_MAX:
            del self._jobs[next(iter(self._jobs))]
        return SolvePuzzle(prefix, draft.target), SetTimer(REFRESH_TIMER, Instant(now + REFRESH_MS))

    def block_of(self, solution: PuzzleSolved) -> NamedBlock | None:
        """Our signed block, or None when the puzzle is no longer ours."""
        job = self._jobs.get(solution.prefix)
        if job is None or self._own_block is not None:
            return None
        header = sign_header(self._network_id, job.draft, solution.nonce, self._sign)
        return name_block(self._network_id, Block(header, job.body))

    def on_own_block(self, step: StepId, base: StepId) -> None:
        """No new puzzle until the learner has answered for this block of ours."""
        self._own_block, self._own_base = step, base
        self._jobs.clear()

    def on_verdict(self, step: StepId) -> None:
        """The learner has answered; to offer the same once more would be of no use."""
        if step != self._own_block:
            return
        self._own_block = None
        if self._own_base == self._base:
            self._offer = None

    def _draft(self, head: BlockIndex, body: Body, now: Instant) -> Draft:
        return Draft(
            head.id,
            Height(head.height + 1),
            max(self._wall.at(now), head.next_time_min),
            self._identity,
            next_target(head, self._rules),
            body_digest(self._network_id, body),
        )
