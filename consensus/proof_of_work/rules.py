"""The rules of proof of work that all peers of a network share."""

from dataclasses import dataclass
from typing import Annotated

import msgspec
from msgspec import Meta

from consensus.steps import ATTACHMENTS_MAX, Verdict
from consensus.types import Height

FINALITY_DEPTH_MAX = 512
"""Half of what the tree holds of one branch (chain.ABOVE_FINAL_MAX): all branches above the final block are in memory."""

CONTRIBUTIONS_MAX = 64
"""In a block. Evolution lists one; gradient mode lists a few per peer and block."""

AUTHOR_WINDOW_MAX = 4_096
"""Leaders remembered, under 1 MB. A thousand peers of equal work: one in fifty has led none of so many blocks."""


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


class ChainRules(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How blocks are found and when they are final.

    Raises ValueError where the rules contradict each other; ranges are checked where the rules are read.
    """

    block_interval_ms: Annotated[int, Meta(ge=50, le=3_600_000, description="Mean time between blocks, in ms.")] = 500
    """Long enough for a block to reach everybody on a fast network; slower links want some seconds."""
    start_attempts: Annotated[
        int, Meta(ge=1, le=2**40, description="Puzzle attempts that the first block takes on average.")
    ] = 16
    puzzle_memory_kib: Annotated[
        int, Meta(ge=8, le=4_194_304, description="Memory of one puzzle attempt (Argon2id), in KiB.")
    ] = 8192
    """Argon2 wants 8 KiB per lane (RFC 9106, section 3.1)."""
    half_life_blocks: Annotated[
        int, Meta(ge=2, le=10_000, description="Blocks late after which the difficulty halves (ASERT).")
    ] = 30
    finality_depth: Annotated[
        int,
        Meta(
            ge=2,
            le=FINALITY_DEPTH_MAX,
            description="Blocks on top after which a block is never undone; docs/finality says against whom.",
        ),
    ] = 256
    """By docs/finality 30 % of the work needs more than a year to undo what lies deeper, at the default interval and
    difficulty, even where a tenth of the honest blocks is stale. It takes two minutes until a block is final."""
    contest_depth: Annotated[
        int,
        Meta(
            ge=1,
            le=FINALITY_DEPTH_MAX - 1,
            description="Blocks on top after which a contested block is accepted; below finality_depth.",
        ),
    ] = 6
    future_limit_ms: Annotated[
        int, Meta(ge=100, le=3_600_000, description="How far ahead of our clock a block's time may be, in ms.")
    ] = 5000
    minimum_work: Annotated[
        int,
        Meta(
            ge=0,
            le=2**63 - 1,
            description="Work that a chain must have to be the network's; no part of the id, so it can be raised later.",
        ),
    ] = 0
    """Nothing of a chain with less work becomes final, and nobody leads on top of it.

    As Bitcoin Core's nMinimumChainWork: it keeps a newcomer from taking a cheap chain for the real one.
    """

    def __post_init__(self) -> None:
        if self.contest_depth >= self.finality_depth:
            allowed = f"1 to {self.finality_depth - 1}, below finality_depth"
            raise ValueError(f"contest_depth is {self.contest_depth}; allowed is {allowed}")

    @property
    def contest_depths(self) -> ContestDepths:
        """How deep contested blocks must lie before they are built on."""
        return ContestDepths(self.contest_depth, self.finality_depth)

    @property
    def half_life_ms(self) -> int:
        """Deviation from the schedule that doubles or halves the difficulty, in milliseconds."""
        return self.half_life_blocks * self.block_interval_ms


class ProofOfWorkRules(ChainRules, frozen=True):
    """What every peer must hold to: the rules of the chain, and what its blocks may list. Raises ValueError.

    `base_age_max` must not exceed `finality_depth`: what lies below the final block is known by its place alone, not by its
    verdict.
    """

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

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.base_age_max <= self.finality_depth:
            allowed = f"0 to finality_depth ({self.finality_depth})"
            raise ValueError(f"base_age_max is {self.base_age_max}; allowed is {allowed}")
