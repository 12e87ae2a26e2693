"""How long a total order keeps large payloads and states for members that lag: in commits, derived from bytes, in one place.

Who is behind by `snapshot_behind` commits starts from a checkpoint: one of the few newest, each an interval from the next.
From there on it needs every payload. So payloads outlive the oldest checkpoint that anybody may still start from, by as much as
one may be behind without starting anew, and by the rounds in which a block that names one may still be ordered.

Proof of work keeps the payloads of all final blocks, which newcomers apply one by one, and nothing else.
"""

from dataclasses import dataclass

CHECKPOINTS_KEPT = 4
"""States that are served. A peer that starts from one has three intervals' time to fetch it."""

PAYLOAD_COMMITS = 2_048
"""Payloads are never kept for longer: some minutes."""

PAYLOADS_BYTES = 4 * 2**30
"""What payloads of delivered blocks may take on the disk, where they are large; but never less than they are needed for."""

SNAPSHOT_COMMITS = 256
"""Behind an agreed checkpoint by so many commits, its state is cheaper than the payloads of all these."""

SNAPSHOT_COMMITS_MIN = 64
"""The same where payloads are so large that fewer are kept."""


@dataclass(frozen=True, slots=True)
class Retention:
    """All in commits. `interval`: from one checkpoint to the next."""

    interval: int
    gc_depth: int
    snapshot_behind: int = SNAPSHOT_COMMITS
    payload_commits: int = PAYLOAD_COMMITS

    def __post_init__(self) -> None:
        needed = commits_needed(self.interval, self.gc_depth, self.snapshot_behind)
        assert self.payload_commits > needed, f"payloads go too early: {self}"
        assert self.snapshot_behind > self.gc_depth, f"what is older than a block may be is fetched one by one: {self}"


def commits_needed(interval: int, gc_depth: int, snapshot_behind: int) -> int:
    """How long somebody may ask for a payload, where members start anew when they are behind by `snapshot_behind`."""
    return CHECKPOINTS_KEPT * interval + snapshot_behind + gc_depth
