"""Branches of proven headers that the tree does not hold: above its window, or off the chain below the final block.

Packed, 96 bytes a block, so that a newcomer can follow the headers of a long chain to their end before it makes anything final.
"""

import struct

from consensus.proof_of_work.final_chain import WORK_BYTES
from consensus.proof_of_work.link import MEDIAN_BLOCKS, Link
from consensus.types import Height, StepId

BRANCHES_MAX = 8
"""That grow out of the tree: the heaviest are kept. Each of their blocks has cost a puzzle."""

RIVALS_MAX = 16
"""That leave our chain below the final block. The heaviest is kept, of the others those that grew last."""

LINKS_MAX = 1 << 20
"""Of all branches together, 100 MB: six days of a chain with two blocks a second. Beyond that a newcomer goes on in parts."""

_RECORD = struct.Struct(f">32sqqq{WORK_BYTES}s")


class Branch:
    """The links above `base`, a block of the tree or of the final chain.

    `fork_height`: where it leaves our chain, if that is below the final block: then it is a rival of what is final.
    """

    def __init__(self, base: Link, fork_height: Height | None) -> None:
        self.base = base
        self.fork_height = fork_height
        self.tip = base
        self.placed = base.height
        """Up to here its links have been handed to the tree."""
        self.checked = base.height
        """Of a rival: up to here its bodies have come and are sound."""
        self._packed = bytearray()

    def __len__(self) -> int:
        return len(self._packed) // _RECORD.size

    def id_at(self, height: int) -> StepId:
        """The block at a height from the base to the tip."""
        return self.base.id if height == self.base.height else StepId(self._record(height)[0])

    def has(self, height: int, step: StepId) -> bool:
        """Whether the block is one of the branch, above its base."""
        return self.base.height < height <= self.tip.height and self.id_at(height) == step

    def link_at(self, height: int) -> Link:
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
        return Link(StepId(step), self.id_at(height - 1), Height(height), time_ms, latest_ms, elapsed_ms, total, times)

    def append(self, link: Link) -> None:
        """The next proven header."""
        assert link.parent == self.tip.id, f"block {link.id.hex()} does not follow the tip of the branch"
        work = link.work.to_bytes(WORK_BYTES, "big")
        self._packed += _RECORD.pack(link.id, link.time_ms, link.latest_ms, link.elapsed_ms, work)
        self.tip = link

    def up_to(self, height: int) -> "Branch":
        """A copy that ends at this height, for a branch that forks off there."""
        copy = Branch(self.base, self.fork_height)
        copy._packed = self._packed[: (height - self.base.height) * _RECORD.size]
        copy.tip = self.link_at(height)
        copy.placed = Height(min(self.placed, height))
        copy.checked = Height(min(self.checked, height))
        return copy

    def _record(self, height: int) -> tuple[bytes, int, int, int, bytes]:
        step, time_ms, latest_ms, elapsed_ms, work = _RECORD.unpack_from(
            self._packed, (height - self.base.height - 1) * _RECORD.size
        )
        return step, time_ms, latest_ms, elapsed_ms, work


class Ahead:
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
        return max(self._rivals, key=lambda branch: (branch.tip.work, branch.tip.id), default=None)

    @property
    def has_room(self) -> bool:
        """Whether another answer full of headers can be kept."""
        return sum(len(branch) for branch in (*self._branches, *self._rivals)) < LINKS_MAX

    def find(self, height: int, step: StepId) -> Branch | None:
        """The branch that holds this block above its base."""
        return next((branch for branch in (*self._branches, *self._rivals) if branch.has(height, step)), None)

    def extend(self, parent: Link, fork_height: Height | None, link: Link) -> bool:
        """Keep a proven header on top of `parent`; False when there is no room for it."""
        if not self.has_room:
            return False
        self.version += 1
        among = self._branches if fork_height is None else self._rivals
        branch = next((known for known in among if known.tip.id == parent.id), None)
        if branch is None:
            stem = self.find(parent.height, parent.id)
            branch = Branch(parent, fork_height) if stem is None else stem.up_to(parent.height)
        else:
            among.remove(branch)
        branch.append(link)
        among.append(branch)
        if fork_height is not None:
            self._forget_rivals()
        elif len(among) > BRANCHES_MAX:
            among.remove(min(among, key=lambda known: (known.tip.work, known.tip.id)))
        return branch in among

    def remove(self, branch: Branch) -> None:
        """It is all in the tree, or it can never count."""
        self.version += 1
        among = self._branches if branch in self._branches else self._rivals
        among.remove(branch)

    def _forget_rivals(self) -> None:
        if len(self._rivals) > RIVALS_MAX:
            heaviest = self.heaviest_rival
            self._rivals.remove(next(branch for branch in self._rivals if branch is not heaviest))
