"""All blocks whose work is proven: the final chain, the tree above it, and the branches of headers beyond both."""

from collections.abc import Container
from dataclasses import dataclass

from consensus.proof_of_work.block_tree import BlockIndex, BlockStatus, BlockTree
from consensus.proof_of_work.header import Header
from consensus.proof_of_work.messages import LOCATOR_MAX, Place
from consensus.proof_of_work.packed_headers import Branch, FinalChain, HeaderBranches
from consensus.types import Height, PeerId, StepId

LOCATOR_DENSE = 10
"""So many newest blocks are all named; from there on the steps double."""

WINDOW_BLOCKS = 192
"""Blocks of one branch in the tree before they are checked: the bodies that wait (block_download.BODIES_WAITING_MAX), and half
more."""

ABOVE_FINAL_MAX = 1_024
"""Blocks of one branch in the tree above the final one: twice the greatest finality depth."""

BRANCHES_PLACED_MAX = 3
"""Branches that the tree is filled from at the same time, the heaviest first."""


@dataclass(frozen=True, slots=True)
class Parent:
    """The proven block that a header names as its parent."""

    link: BlockIndex
    fork_height: Height | None
    """Where the branch leaves the main chain, if that is below the final block."""
    is_dead: bool
    """Nothing can follow it: it is invalid."""


class Chain:
    """Answers where a block is, and what lies on the main chain (from genesis to the head)."""

    def __init__(self, final: FinalChain, tree: BlockTree) -> None:
        self.final = final
        self.tree = tree
        self.ahead = HeaderBranches()
        self._path = tree.path(tree.head)
        self._path_tip = tree.head.id

    def __contains__(self, place: Place) -> bool:
        step = StepId(place.id)
        return step in self.tree or self.final.has_at(place.height, step) or self.ahead.find(place.height, step) is not None

    def parent_of(self, header: Header) -> Parent | None:
        """The proven parent of a header, or None when it is unknown (or only staged)."""
        step = StepId(header.parent)
        link = self.tree.link(step)
        if link is not None:
            return Parent(link, None, self.tree.status(step) is BlockStatus.INVALID)
        if self.final.has_at(header.height - 1, step):
            return Parent(self.final.link_at(header.height - 1), Height(header.height - 1), False)
        branch = self.ahead.find(header.height - 1, step)
        return None if branch is None else Parent(branch.link_at(header.height - 1), branch.fork_height, False)

    def extend(self, parent: Parent, link: BlockIndex, lost: Container[StepId], source: PeerId | None = None) -> bool:
        """Add a proven header; whether it may ever count. `lost`: what makes room first. `source`: who has sent it."""
        if parent.fork_height is not None:
            self.ahead.extend(parent.link, parent.fork_height, link, source)
            return False
        if parent.link.id in self.tree:
            if self.tree.status(parent.link.id) is BlockStatus.INVALID:
                return False
            if self._fits(link, self.tree.head.height) and self._insert(link, lost, link.work):
                return True
        return self.ahead.extend(parent.link, None, link, source)

    def work_above(self, step: StepId) -> int:
        """Of the heaviest proven branch that holds this block of the tree."""
        above = {link.id: link.work for link in self.tree.above(step)}
        ahead = [branch.tip.work for branch in self.ahead.branches if self.newest_placed(branch) in above]
        return max(*above.values(), *ahead, 0)

    def newest_placed(self, branch: Branch) -> StepId:
        """The last block of a branch ahead that is in the tree, if any still is."""
        placed = branch.id_at(branch.placed)
        return placed if placed in self.tree else branch.base.id

    def place(self, lost: Container[StepId]) -> None:
        """Fill the tree from the heaviest branches ahead, as far as its window goes."""
        living = [branch for branch in self.ahead.branches if branch.id_at(branch.placed) not in lost]
        for branch in living[:BRANCHES_PLACED_MAX]:
            if not self._place(branch, lost) or branch.placed == branch.tip.height:
                self.ahead.remove(branch)

    def _place(self, branch: Branch, lost: Container[StepId]) -> bool:
        """False when nothing of the branch can follow any more."""
        while branch.checked < branch.placed and self._is_decided(branch.checked + 1, branch.id_at(branch.checked + 1)):
            branch.checked = Height(branch.checked + 1)
        while branch.placed < branch.tip.height:
            link = branch.link_at(branch.placed + 1)
            if link.id not in self.tree:
                if self.tree.status(link.parent) in (None, BlockStatus.INVALID):
                    return False
                if not self._fits(link, branch.checked) or not self._insert(link, lost, branch.tip.work):
                    return True
            branch.placed = link.height
        return True

    def _insert(self, link: BlockIndex, lost: Container[StepId], worth: int) -> bool:
        """Into the tree. Where that is full each block is worth the work of the heaviest branch that holds it."""
        if not self.tree.is_full:
            return self.tree.insert(link, lost)
        worths: dict[StepId, int] = {}
        for branch in self.ahead.branches:  # the heaviest first
            worths.setdefault(self.newest_placed(branch), branch.tip.work)
        return self.tree.insert(link, lost, {**worths, link.id: worth})

    def _fits(self, link: BlockIndex, checked: Height) -> bool:
        return link.height <= min(checked + WINDOW_BLOCKS, self.tree.root.height + ABOVE_FINAL_MAX)

    def _is_decided(self, height: int, step: StepId) -> bool:
        return self.tree.is_checked(step) or self.final.has_at(height, step)

    def is_main(self, place: Place) -> bool:
        """Whether the block lies on the main chain."""
        return place.height <= self.head_height and self.main_id(Height(place.height)) == place.id

    @property
    def head_height(self) -> Height:
        """The height of the head."""
        return self.tree.head.height

    def main_id(self, height: Height) -> StepId:
        """The main chain's block at a height from 0 to the head's."""
        if height <= self.final.height:
            return self.final.id_at(height)
        return self._main_path()[height - self.final.height - 1].id

    def locator(self, tip: BlockIndex) -> tuple[Place, ...]:
        """Places on the branch up to `tip`: the newest ten, then in doubling steps down to genesis."""
        ahead = self.ahead.find(tip.height, tip.id)
        base = tip if ahead is None else ahead.base
        path = self.tree.path(base) if base.id in self.tree else ()
        height, stride = int(tip.height), 1
        places: list[Place] = []
        while height > 0 and len(places) < LOCATOR_MAX - 2:
            if ahead is not None and height > base.height:
                step = ahead.id_at(height)
            else:
                above_final = height - self.final.height
                step = path[above_final - 1].id if above_final > 0 else self.final.id_at(height)
            places.append(Place(height, step))
            stride = stride if len(places) < LOCATOR_DENSE else stride * 2
            height -= stride
        return (*places, Place(0, self.final.id_at(0)))

    def is_on_branch(self, place: Place, tip: BlockIndex) -> bool:
        """Whether a block of the head's branch is an ancestor of `tip`, or `tip` itself."""
        ahead = self.ahead.find(tip.height, tip.id)
        if ahead is not None and place.height > ahead.base.height:
            return ahead.id_at(place.height) == place.id
        base = tip if ahead is None else ahead.base
        if base.id not in self.tree:
            return self.final.has_at(place.height, StepId(place.id))
        return any(link.id == place.id for link in self.tree.path(base))

    def finalise(self, height: Height) -> tuple[BlockIndex, ...]:
        """The head's ancestors up to this height will never be undone; those newly so."""
        newly_final = self.tree.finalise(height)
        for link in newly_final:
            self.final.append(link)
        self._path_tip = StepId(b"")
        return newly_final

    def _main_path(self) -> tuple[BlockIndex, ...]:
        if self._path_tip != self.tree.head.id:
            self._path, self._path_tip = self.tree.path(self.tree.head), self.tree.head.id
        return self._path
