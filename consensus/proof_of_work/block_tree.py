"""Blocks with proven work: what a header must keep to follow another, and the branches above the final block.

A link holds all that judging its children needs, so its ancestors may be forgotten (docs/protocol.md, 5).

The head is a pure function of what is known: the most work among blocks that are checked down to the final one, and whose
contested ancestors (or self) lie deep enough. How deep: where measurements may differ by rounding `contest_depth`; where no
rounding explains it, as deep as what is final. Else a third of the work would have a branch of a few false claims accepted
every minute, and with it the worst model that it finds. Ties: a branch without contested blocks first, then the smallest
keyed hash, so that each peer draws its own lot.
"""

from collections.abc import Container, Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from consensus.effects import Offence
from consensus.proof_of_work.header import Header
from consensus.proof_of_work.puzzle import pause_ms_max, scaled_target, start_target, work_of
from consensus.proof_of_work.rules import ContestDepths, ProofOfWorkRules
from consensus.seeded_choice import lot_of
from consensus.steps import Verdict
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


TREE_BLOCKS_MAX = 2_048
"""Four times the greatest finality depth; each block costs its sender a puzzle. About 1 MB of links."""

NO_WORTHS: Mapping[StepId, int] = MappingProxyType({})

Rank = tuple[int, bool, int]
"""Work, whether no ancestor was ever contested, and the lot; the highest wins."""


class BlockStatus(StrEnum):
    """What is known of a block whose puzzle, and all its ancestors' puzzles, are solved."""

    BODILESS = "waiting for its body"
    UNCHECKED = "waiting for its check"
    GOOD = "good"
    CONTESTED = "contested"
    REFUTED = "refuted"
    INVALID = "invalid"


_CHECKED = (BlockStatus.GOOD, BlockStatus.CONTESTED, BlockStatus.REFUTED)
_UNDECIDED = (BlockStatus.BODILESS, BlockStatus.UNCHECKED)

_STATUSES = {
    Verdict.GOOD: BlockStatus.GOOD,
    Verdict.CONTESTED: BlockStatus.CONTESTED,
    Verdict.REFUTED: BlockStatus.REFUTED,
    Verdict.INVALID: BlockStatus.INVALID,
}


class BlockTree:
    """Grows by links and verdicts; shrinks by finality. The root is the final block, and good.

    `forgiven_at`: the height from which on the contested blocks up to the root are deep enough; matters after a restart.
    """

    def __init__(self, root: BlockIndex, depths: ContestDepths, seed: bytes, forgiven_at: int | None = None) -> None:
        self._depths = depths
        self._seed = seed
        self._links = {root.id: root}
        self._status = {root.id: BlockStatus.GOOD}
        self._undecided: dict[StepId, BlockIndex] = {}
        """Those that wait for their body or their check: few, and asked for after every input."""
        self._children: dict[StepId, list[StepId]] = {root.id: []}
        self._forgiven_at: dict[StepId, int | None] = {root.id: forgiven_at}
        self.root = root
        self.head = root
        self.version = 0
        """Another one after every change."""

    def __len__(self) -> int:
        return len(self._links)

    def __contains__(self, step: StepId) -> bool:
        return step in self._links

    def link(self, step: StepId) -> BlockIndex | None:
        """The block's link, if it is in the tree."""
        return self._links.get(step)

    def status(self, step: StepId) -> BlockStatus | None:
        """What is known of the block, if it is in the tree."""
        return self._status.get(step)

    def links(self) -> tuple[BlockIndex, ...]:
        """All links, parents before children."""
        return tuple(self._links.values())

    def links_with_status(self, status: BlockStatus) -> tuple[BlockIndex, ...]:
        """The blocks of one status, parents before children."""
        among = self._undecided if status in _UNDECIDED else self._links
        return tuple(link for link in among.values() if self._status[link.id] is status)

    def undecided(self) -> tuple[BlockIndex, ...]:
        """The blocks that wait for their body or their check, parents before children."""
        return tuple(self._undecided.values())

    def is_checked(self, step: StepId) -> bool:
        """Whether the block was found to be one that can be applied, so that its children can be checked."""
        return self._status.get(step) in _CHECKED

    @property
    def is_full(self) -> bool:
        """Whether another block has to give way to a new one."""
        return len(self._links) >= TREE_BLOCKS_MAX

    def insert(self, link: BlockIndex, lost: Container[StepId] = (), worths: Mapping[StepId, int] = NO_WORTHS) -> bool:
        """Add a block with solved puzzle above a block of the tree; False when it is dropped.

        It is dropped on top of an invalid block, or when the tree is full and no other leaf has less work. `lost`: blocks
        that are no longer expected to be checked; they make room first, whatever their work. `worths`: of leaves that more is
        known to follow, and of this block.
        """
        if self._status[link.parent] is BlockStatus.INVALID or not self._has_room(link, lost, worths):
            return False
        self.version += 1
        self._links[link.id] = link
        self._status[link.id] = BlockStatus.BODILESS
        self._undecided[link.id] = link
        self._children[link.id] = []
        self._children[link.parent].append(link.id)
        return True

    def give_body(self, step: StepId) -> tuple[StepId, ...]:
        """The block's body has come; the blocks that can now be checked."""
        assert self._status[step] is BlockStatus.BODILESS, f"block {step.hex()} has a body"
        self.version += 1
        self._status[step] = BlockStatus.UNCHECKED
        return (step,) if self.is_checked(self._links[step].parent) else ()

    def judge(self, step: StepId, verdict: Verdict) -> tuple[StepId, ...]:
        """The learner's verdict on a block with a checked parent; the blocks that can now be checked."""
        if verdict is Verdict.INVALID:
            self.condemn(step)
            return ()
        link = self._links[step]
        assert self._status[step] is BlockStatus.UNCHECKED, f"block {step.hex()} is {self._status[step]}"
        assert self.is_checked(link.parent), f"the parent of {step.hex()} is not checked"
        self.version += 1
        self._status[step] = _STATUSES[verdict]
        del self._undecided[step]
        known = (self._forgiven_at[link.parent], self._depths.forgiven_at(link.height, verdict))
        self._forgiven_at[step] = max((height for height in known if height is not None), default=None)
        if self._is_eligible(link) and self._rank(link) > self._rank(self.head):
            self.head = link
        return tuple(child for child in self._children[step] if self._status[child] is BlockStatus.UNCHECKED)

    def condemn(self, step: StepId) -> None:
        """The block can never be applied, and so none on top of it."""
        assert not self.is_checked(step), f"block {step.hex()} was checked before"
        self.version += 1
        for doomed in self._descendants(step):
            self._status[doomed] = BlockStatus.INVALID
            self._undecided.pop(doomed, None)

    def above(self, step: StepId) -> tuple[BlockIndex, ...]:
        """The block and all on top of it."""
        return tuple(self._links[known] for known in self._descendants(step))

    def path(self, tip: BlockIndex) -> tuple[BlockIndex, ...]:
        """The links above the root down to `tip`, lowest first."""
        upwards = []
        while tip.id != self.root.id:
            upwards.append(tip)
            tip = self._links[tip.parent]
        return tuple(reversed(upwards))

    def finalise(self, height: Height) -> tuple[BlockIndex, ...]:
        """Make the head's ancestor at `height` the root, and drop all that does not follow from it; the newly final links."""
        newly_final = tuple(link for link in self.path(self.head) if link.height <= height)
        if newly_final:
            self.version += 1
            self.root = newly_final[-1]
            kept = dict.fromkeys(self._descendants(self.root.id))
            for step in [step for step in self._links if step not in kept]:
                self._forget(step)
        return newly_final

    def _is_eligible(self, link: BlockIndex) -> bool:
        forgiven_at = self._forgiven_at[link.id]
        return forgiven_at is None or link.height >= forgiven_at

    def _rank(self, link: BlockIndex) -> Rank:
        return link.work, self._forgiven_at[link.id] is None, -lot_of(self._seed, link.id)

    def _descendants(self, step: StepId) -> list[StepId]:
        """The block and all on top of it."""
        found = [step]
        for known in found:
            found.extend(self._children[known])
        return found

    def _has_room(self, link: BlockIndex, lost: Container[StepId], worths: Mapping[StepId, int]) -> bool:
        if not self.is_full:
            return True

        def worth(leaf: BlockIndex) -> int:
            return max(leaf.work, worths.get(leaf.id, 0))

        precious = {self.root.id, self.head.id, link.parent}
        leaves = [leaf for leaf in self._links.values() if not self._children[leaf.id] and leaf.id not in precious]
        least = min(leaves, key=lambda leaf: (leaf.id not in lost, worth(leaf), leaf.id), default=link)
        if least.id not in lost and worth(least) >= worth(link):
            return False
        self._children[least.parent].remove(least.id)
        self._forget(least.id)
        return True

    def _forget(self, step: StepId) -> None:
        del self._links[step], self._status[step], self._children[step]
        self._forgiven_at.pop(step, None)
        self._undecided.pop(step, None)
