"""The rules of proof of work that all peers of a network share."""

from dataclasses import dataclass

from consensus.contribution import ATTACHMENTS_MAX
from consensus.rule_ranges import RulesError, check_ranges
from consensus.steps import Verdict
from consensus.types import Height

FINALITY_DEPTH_MAX = 512
"""Half of what the tree holds of one branch (chain.ABOVE_FINAL_MAX): all branches above the final block are in memory."""

CONTRIBUTIONS_MAX = 64
"""In a block. Evolution lists one; gradient mode lists a few per peer and block."""

AUTHOR_WINDOW_MAX = 4_096
"""Leaders remembered, under 1 MB. A thousand peers of equal work: one in fifty has led none of so many blocks."""

_RANGES = {
    "block_interval_ms": (50, 86_400_000),
    "start_attempts": (1, 2**64),
    "puzzle_memory_kib": (8, 4_194_304),  # Argon2 wants 8 KiB per lane (RFC 9106, section 3.1)
    "half_life_blocks": (1, 100_000),
    "finality_depth": (1, FINALITY_DEPTH_MAX),
    "contest_depth": (1, FINALITY_DEPTH_MAX),
    "future_limit_ms": (0, 86_400_000),
    "base_age_max": (0, FINALITY_DEPTH_MAX),
    "author_window": (0, AUTHOR_WINDOW_MAX),
    "attachments_max": (0, ATTACHMENTS_MAX),
    "contributions_max": (0, CONTRIBUTIONS_MAX),
    "minimum_work": (0, 2**63 - 1),
}


@dataclass(frozen=True, slots=True)
class ContestDepths:
    """How deep a block must lie under more work than our branch has before we take it for the others' word against ours."""

    contested: int
    refuted: int

    def forgiven_at(self, height: Height, verdict: Verdict | None) -> int | None:
        """The height from which on a branch with this block may be the head; None: it always may."""
        match verdict:
            case Verdict.CONTESTED:
                return height + self.contested
            case Verdict.REFUTED:
                return height + self.refuted
            case _:
                return None


@dataclass(frozen=True, slots=True)
class ProofOfWorkRules:
    """What every peer must hold to. Raises RulesError when a value is out of range.

    A contested block is forgiven `contest_depth` blocks deep, so that must not exceed `finality_depth`. Nor must
    `base_age_max`: what lies below the final block is known by its place alone, not by its verdict.
    """

    block_interval_ms: int
    start_attempts: int
    """Mean number of hashes to solve block 1."""
    puzzle_memory_kib: int
    half_life_blocks: int
    """A network that is this many block intervals ahead of its schedule doubles its difficulty."""
    finality_depth: int
    contest_depth: int
    future_limit_ms: int
    """A block whose time is further ahead of the local clock waits."""
    base_age_max: int = 0
    """0: the base of a listed contribution is the block's parent. Above: a block may list one with any base.

    Between blocks a contribution is heard while its base lies at most so far, and `contribution_relay.BASES_BACK`, below the
    head. Nobody judges how old a listed base is (docs/protocol.md, section 7).
    """
    author_window: int = AUTHOR_WINDOW_MAX
    """Contributions between blocks are heard only from who led one of so many newest blocks up to their base.

    0: from anybody, for tests of what comes after: an outsider's keys cost nothing, and each contribution costs everybody a
    measurement, or room on the disk.
    """
    attachments_max: int = ATTACHMENTS_MAX
    """Large payloads that a contribution may name: what names more is refused before anything is fetched."""
    contributions_max: int = CONTRIBUTIONS_MAX
    """Contributions that a block may list: one that lists more is neither recorded nor passed on."""
    minimum_work: int = 0
    """A chain with less work is not the network's: nothing of it becomes final, and nobody leads on top of it.

    As Bitcoin Core's nMinimumChainWork: it keeps a newcomer from taking a cheap chain for the real one.
    """

    def __post_init__(self) -> None:
        check_ranges(self, _RANGES)
        if self.contest_depth > self.finality_depth:
            raise RulesError(f"contest_depth is {self.contest_depth}, allowed: 1 to finality_depth ({self.finality_depth})")
        if self.base_age_max > self.finality_depth:
            raise RulesError(f"base_age_max is {self.base_age_max}, allowed: 0 to finality_depth ({self.finality_depth})")

    @property
    def contest_depths(self) -> ContestDepths:
        """How deep contested blocks must lie before they are built on."""
        return ContestDepths(self.contest_depth, self.finality_depth)

    @property
    def half_life_ms(self) -> int:
        """Deviation from the schedule that doubles or halves the difficulty, in milliseconds."""
        return self.half_life_blocks * self.block_interval_ms
