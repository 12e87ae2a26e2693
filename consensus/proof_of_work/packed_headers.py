"""Proven headers that the tree does not hold: the final chain, and branches above the tree's window or off the final chain.

Packed, 96 bytes a block: about 8 MB a day at one block a second, so that a newcomer can follow the headers of a long chain to
their end before it makes anything final.
"""

import struct

from consensus.proof_of_work.block_tree import MEDIAN_BLOCKS, BlockIndex
from consensus.types import Height, PeerId, StepId

WORK_BYTES = 40
"""2**256 hashes in each of 2**64 blocks."""

_RECORD = struct.Struct(f">32sqqq{WORK_BYTES}s")


class FinalChain:
    """Links by height, from genesis on; only ever appended to."""

    def __init__(self, genesis: BlockIndex) -> None:
        self._packed = bytearray()
        self._pack(genesis)

    @property
    def height(self) -> Height:
        """The height of the newest final block."""
        return Height(len(self._packed) // _RECORD.size - 1)

    def append(self, link: BlockIndex) -> None:
        """Make the next block final."""
        assert link.height == self.height + 1, f"block of height {link.height} after {self.height}"
        assert link.parent == self.id_at(self.height), f"block {link.id.hex()} does not follow the final one"
        self._pack(link)

    def id_at(self, height: int) -> StepId:
        """The final block at a height from 0 to `self.height`."""
        return StepId(self._record(height)[0])

    def has_at(self, height: int, step: StepId) -> bool:
        """Whether this very block is final."""
        return 0 <= height <= self.height and self.id_at(height) == step

    def height_of(self, step: StepId) -> Height | None:
        """Where the block is; looks at all of them, newest first."""
        return next((Height(height) for height in range(self.height, -1, -1) if self.id_at(height) == step), None)

    def link_at(self, height: int) -> BlockIndex:
        """The link at a height from 0 to `self.height`, as it was when it was appended."""
        step, time_ms, latest_ms, elapsed_ms, work = self._record(height)
        first_timed = max(1, height - MEDIAN_BLOCKS + 1)
        times = tuple(self._record(earlier)[1] for earlier in range(first_timed, height + 1))
        return BlockIndex(
            StepId(step),
            self.id_at(max(0, height - 1)),
            Height(height),
            time_ms,
            latest_ms,
            elapsed_ms,
            int.from_bytes(work, "big"),
            times,
        )

    def _pack(self, link: BlockIndex) -> None:
        work = link.work.to_bytes(WORK_BYTES, "big")
        self._packed += _RECORD.pack(link.id, link.time_ms, link.latest_ms, link.elapsed_ms, work)

    def _record(self, height: int) -> tuple[bytes, int, int, int, bytes]:
        step, time_ms, latest_ms, elapsed_ms, work = _RECORD.unpack_from(self._packed, height * _RECORD.size)
        return step, time_ms, latest_ms, elapsed_ms, work


BRANCHES_MAX = 8
"""That grow out of the tree: the heaviest are kept, and beside them the one that each connected peer has grown last.

Else who has shown eight cheap ones would keep the first headers of a long chain out, which have still less work than they.
"""

RIVALS_MAX = 16
"""That leave our chain below the final block. The heaviest is kept, of the others those that grew last."""

LINKS_MAX = 1 << 20
"""Of all branches together, 100 MB: six days of a chain with two blocks a second. Beyond that a newcomer goes on in parts."""


class Branch:
    """The links above `base`, a block of the tree or of the final chain.

    `fork_height`: where it leaves our chain, if that is below the final block: then it is a rival of what is final.
    """

    def __init__(self, base: BlockIndex, fork_height: Height | None) -> None:
        self.base = base
        self.fork_height = fork_height
        self.tip = base
        self.placed = base.height
        """Up to here its links have been handed to the tree."""
        self.checked = base.height
        """Of a rival: up to here its bodies have come and are sound."""
        self.grown_by: PeerId | None = None
        """Who has sent its last header, if that peer is still connected."""
        self.copied = 0
        """So many of its links are copies of another branch's."""
        self._packed = bytearray()

    def __len__(self) -> int:
        return len(self._packed) // _RECORD.size

    def id_at(self, height: int) -> StepId:
        """The block at a height from the base to the tip."""
        return self.base.id if height == self.base.height else StepId(self._record(height)[0])

    def has(self, height: int, step: StepId) -> bool:
        """Whether the block is one of the branch, above its base."""
        return self.base.height < height <= self.tip.height and self.id_at(height) == step

    def link_at(self, height: int) -> BlockIndex:
        """The link at a height from the base to the tip, as it was when it was appended."""
        if height == self.base.height:
            return self.base
        if height == self.tip.height:
            return self.tip
        step, time_ms, latest_ms, elapsed_ms, work = self._record(height)
        first_own = max(self.base.height + 1, height - MEDIAN_BLOCKS + 1)
        own_times = tuple(self._record(earlier)[1] for earlier in range(first_own, height + 1))
        times = (*self.base.recent_times, *own_times)[-MEDIAN_BLOCKS:]
        total = int.from_bytes(work, "big")
        return BlockIndex(StepId(step), self.id_at(height - 1), Height(height), time_ms, latest_ms, elapsed_ms, total, times)

    def append(self, link: BlockIndex) -> None:
        """Add the next proven header."""
        assert link.parent == self.tip.id, f"block {link.id.hex()} does not follow the tip of the branch"
        work = link.work.to_bytes(WORK_BYTES, "big")
        self._packed += _RECORD.pack(link.id, link.time_ms, link.latest_ms, link.elapsed_ms, work)
        self.tip = link

    def up_to(self, height: int) -> "Branch":
        """A copy that ends at this height, for a branch that forks off there."""
        copy = Branch(self.base, self.fork_height)
        copy._packed = self._packed[: (height - self.base.height) * _RECORD.size]
        copy.copied = len(copy)
        copy.tip = self.link_at(height)
        copy.placed = Height(min(self.placed, height))
        copy.checked = Height(min(self.checked, height))
        return copy

    def _record(self, height: int) -> tuple[bytes, int, int, int, bytes]:
        step, time_ms, latest_ms, elapsed_ms, work = _RECORD.unpack_from(
            self._packed, (height - self.base.height - 1) * _RECORD.size
        )
        return step, time_ms, latest_ms, elapsed_ms, work


class HeaderBranches:
    """A bounded number of branches, of bounded length together."""

    def __init__(self) -> None:
        self._branches: list[Branch] = []
        """Those that grow out of the tree."""
        self._rivals: list[Branch] = []
        """The one that grew last comes last."""
        self.version = 0
        """Another one after every change."""

    @property
    def branches(self) -> tuple[Branch, ...]:
        """Those that grow out of the tree, the heaviest first."""
        return tuple(sorted(self._branches, key=lambda branch: (-branch.tip.work, branch.tip.id)))

    @property
    def heaviest_rival(self) -> Branch | None:
        """The rival with most work."""
        return max(self._rivals, key=_weight, default=None)

    @property
    def has_room(self) -> bool:
        """Whether another answer full of headers can be kept: copies and rivals give way to them."""
        return sum(len(branch) - branch.copied for branch in self._branches) < LINKS_MAX

    def find(self, height: int, step: StepId) -> Branch | None:
        """The branch that holds this block above its base."""
        return next((branch for branch in (*self._branches, *self._rivals) if branch.has(height, step)), None)

    def extend(self, parent: BlockIndex, fork_height: Height | None, link: BlockIndex, source: PeerId | None = None) -> bool:
        """Keep a proven header on top of `parent`, sent by `source`; False when there is no room for it."""
        among = self._branches if fork_height is None else self._rivals
        branch = next((known for known in among if known.tip.id == parent.id), None)
        stem = self.find(parent.height, parent.id) if branch is None else branch
        if not self._make_room(stem, _links_needed(branch, stem, parent), fork_height):
            return False
        self.version += 1
        if branch is None:
            branch = Branch(parent, fork_height) if stem is None else stem.up_to(parent.height)
        else:
            among.remove(branch)
        branch.append(link)
        branch.grown_by = source
        among.append(branch)
        if fork_height is not None:
            self._forget_rivals()
        elif len(among) > BRANCHES_MAX:
            self._forget_branch()
        return branch in among

    def leave(self, peer: PeerId) -> None:
        """The peer is gone: what it has grown is kept as long as it is heavy."""
        for branch in self._branches:
            if branch.grown_by == peer:
                branch.grown_by = None

    def remove(self, branch: Branch) -> None:
        """It is all in the tree, or it can never count."""
        self.version += 1
        among = self._branches if branch in self._branches else self._rivals
        among.remove(branch)

    def _make_room(self, stem: Branch | None, links: int, fork_height: Height | None) -> bool:
        """For so many more: rivals give way to what is none, then whatever holds most copies; not the heaviest, nor `stem`."""
        while sum(len(branch) for branch in (*self._branches, *self._rivals)) + links > LINKS_MAX:
            kept = (stem, self.heaviest_rival, max(self._branches, key=_weight, default=None))
            rivals = [branch for branch in self._rivals if branch not in kept] if fork_height is None else []
            copies = [branch for branch in (*self._branches, *self._rivals) if branch not in kept and branch.copied > 0]
            if not rivals and not copies:
                return False
            self.remove(rivals[0] if rivals else max(copies, key=lambda branch: branch.copied))
        return True

    def _forget_branch(self) -> None:
        """The lightest, but neither the heaviest nor what a connected peer has grown last."""
        newest = {branch.grown_by: branch for branch in self._branches if branch.grown_by is not None}
        kept = (*newest.values(), max(self._branches, key=_weight))
        spare = [branch for branch in self._branches if branch not in kept]
        if spare:
            self._branches.remove(min(spare, key=_weight))

    def _forget_rivals(self) -> None:
        if len(self._rivals) > RIVALS_MAX:
            heaviest = self.heaviest_rival
            self._rivals.remove(next(branch for branch in self._rivals if branch is not heaviest))


def _weight(branch: Branch) -> tuple[int, StepId]:
    return branch.tip.work, branch.tip.id


def _links_needed(branch: Branch | None, stem: Branch | None, parent: BlockIndex) -> int:
    """For one block more, and a copy of what is below it where that is another branch's."""
    return 1 if branch is not None or stem is None else parent.height - stem.base.height + 1
