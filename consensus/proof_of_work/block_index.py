"""A header's place in the chain, and the rules that a header must keep to follow another (docs/protocol.md, 5).

A link holds all that judging its children needs, so its ancestors may be forgotten.
"""

from dataclasses import dataclass

from consensus.evidence import Offence
from consensus.proof_of_work.difficulty import pause_ms_max, scaled_target, start_target, work_of
from consensus.proof_of_work.header import Header
from consensus.proof_of_work.rules import ProofOfWorkRules
from consensus.types import Height, StepId, WallTime

MEDIAN_BLOCKS = 11
"""A block's time must be later than the median of so many before it: a majority of them moves time, one liar does not."""


@dataclass(frozen=True, slots=True)
class BlockIndex:
    """One block of a branch. Times in milliseconds since 1970 UTC; `work` is the hashes spent on the branch so far."""

    id: StepId
    parent: StepId
    height: Height
    time_ms: int
    latest_ms: int
    """The latest time on the branch so far: a leader that dates its block back moves no schedule."""
    elapsed_ms: int
    """Time since block 1 as the schedule counts it: pauses of the network are cut short."""
    work: int
    recent_times: tuple[int, ...]
    """Of the last MEDIAN_BLOCKS blocks up to this one, oldest first; genesis has no time."""

    @property
    def next_time_min(self) -> WallTime:
        """The earliest time that a child may carry."""
        if not self.recent_times:
            return WallTime(0)
        return WallTime(sorted(self.recent_times)[len(self.recent_times) // 2] + 1)


def genesis_link(genesis: StepId) -> BlockIndex:
    """The root of every branch."""
    return BlockIndex(genesis, genesis, Height(0), 0, 0, 0, 0, ())


def next_target(parent: BlockIndex, rules: ProofOfWorkRules) -> int:
    """The only target that a child of `parent` may have. Blocks 1 and 2 have the start target."""
    start = start_target(rules.start_attempts)
    if parent.height == 0:
        return start
    drift_ms = parent.elapsed_ms - rules.block_interval_ms * (parent.height - 1)
    return scaled_target(start, drift_ms, rules.half_life_ms)


def next_link(parent: BlockIndex, step: StepId, header: Header, rules: ProofOfWorkRules) -> BlockIndex:
    """The link of a header that `header_fault` finds nothing wrong with."""
    return BlockIndex(
        step,
        parent.id,
        Height(header.height),
        header.time_ms,
        max(parent.latest_ms, header.time_ms),
        next_elapsed_ms(parent, header.time_ms, rules),
        parent.work + work_of(int.from_bytes(header.target, "big")),
        (*parent.recent_times, header.time_ms)[-MEDIAN_BLOCKS:],
    )


def next_elapsed_ms(parent: BlockIndex, time_ms: int, rules: ProofOfWorkRules) -> int:
    """What the schedule has counted up to a child with this time."""
    if parent.height == 0:
        return 0
    gap_ms = max(0, time_ms - parent.latest_ms)
    return parent.elapsed_ms + min(gap_ms, pause_ms_max(rules))


def header_fault(parent: BlockIndex, header: Header, rules: ProofOfWorkRules) -> tuple[Offence, str] | None:
    """What is wrong with a header that names `parent`, if anything; the clock, signature and puzzle aside."""
    if header.height != parent.height + 1:
        return Offence.WRONG_HEIGHT, f"height is {header.height}, allowed: {parent.height + 1}"
    target, wanted = int.from_bytes(header.target, "big"), next_target(parent, rules)
    if target != wanted:
        return Offence.WRONG_TARGET, f"target is {target:#x}, allowed: {wanted:#x}"
    if header.time_ms < parent.next_time_min:
        return Offence.WRONG_TIME, f"time_ms is {header.time_ms}, allowed: {parent.next_time_min} or later"
    return None
