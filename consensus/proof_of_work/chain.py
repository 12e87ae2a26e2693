"""All blocks whose work is proven: the final chain, the tree above it, and the rivals of both."""

from dataclasses import dataclass

from consensus.proof_of_work.block_tree import BlockTree, Standing
from consensus.proof_of_work.final_chain import FinalChain
from consensus.proof_of_work.header import Header
from consensus.proof_of_work.link import Link
from consensus.proof_of_work.messages import LOCATOR_MAX, Place
from consensus.proof_of_work.rivals import Rival, Rivals
from consensus.types import Height, StepId

LOCATOR_DENSE = 10
"""So many newest blocks are all named; from there on the steps double."""


@dataclass(frozen=True, slots=True)
class Parent:
    """The proven block that a header names as its parent."""

    link: Link
    fork_height: Height | None
    """Where the branch leaves the main chain, if that is below the final block."""
    is_dead: bool
    """Nothing can follow it: it is invalid."""


class Chain:
    """Answers where a block is, and what lies on the main chain (from genesis to the head)."""

    def __init__(self, final: FinalChain, tree: BlockTree) -> None:
        self.final = final
        self.tree = tree
        self.rivals = Rivals()
        self._path = tree.path(tree.head)
        self._path_tip = tree.head.id

    def __contains__(self, place: Place) -> bool:
        step = StepId(place.id)
        return step in self.tree or self.final.has_at(place.height, step) or self.rivals.get(step) is not None

    def parent_of(self, header: Header) -> Parent | None:
        """The proven parent of a header, or None when it is unknown (or only staged)."""
        step = StepId(header.parent)
        link = self.tree.link(step)
        if link is not None:
            return Parent(link, None, self.tree.standing(step) is Standing.INVALID)
        if self.final.has_at(header.height - 1, step):
            return Parent(self.final.link_at(header.height - 1), Height(header.height - 1), False)
        rival = self.rivals.get(step)
        return None if rival is None else Parent(rival.link, rival.fork_height, False)

    def add_rival(self, rival: Rival) -> str | None:
        """Follow a rival branch; the reason to stop when it has more work than the head."""
        self.rivals.add(rival)
        head = self.tree.head
        if rival.link.work <= head.work:
            return None
        return (
            f"the branch that ends in block {rival.link.id.hex()} (height {rival.link.height}) has more work than our head "
            f"{head.id.hex()} (height {head.height}), but leaves our chain after height {rival.fork_height}, below our final "
            f"block {self.final.id_at(self.final.height).hex()} (height {self.final.height}): following it would undo what "
            "was final"
        )

    def is_main(self, place: Place) -> bool:
        """Whether the block lies on the main chain."""
        return place.height <= self.head_height and self.main_id(Height(place.height)) == place.id

    @property
    def head_height(self) -> Height:
        """Of the head."""
        return self.tree.head.height

    def main_id(self, height: Height) -> StepId:
        """The main chain's block at a height from 0 to the head's."""
        if height <= self.final.height:
            return self.final.id_at(height)
        return self._main_path()[height - self.final.height - 1].id

    def locator(self) -> tuple[Place, ...]:
        """Places on the heaviest branch: the newest ten, then in doubling steps down to genesis."""
        path = self.tree.path(self.tree.heaviest())
        height = self.final.height + len(path)
        places: list[Place] = []
        stride = 1
        while height > 0 and len(places) < LOCATOR_MAX - 2:
            above_final = height - self.final.height
            places.append(Place(height, path[above_final - 1].id if above_final > 0 else self.final.id_at(height)))
            stride = stride if len(places) < LOCATOR_DENSE else stride * 2
            height -= stride
        return (*places, Place(0, self.final.id_at(0)))

    def finalise(self, height: Height) -> tuple[Link, ...]:
        """The head's ancestors up to this height will never be undone; those newly so."""
        newly_final = self.tree.finalise(height)
        for link in newly_final:
            self.final.append(link)
        self._path_tip = StepId(b"")
        return newly_final

    def _main_path(self) -> tuple[Link, ...]:
        if self._path_tip != self.tree.head.id:
            self._path, self._path_tip = self.tree.path(self.tree.head), self.tree.head.id
        return self._path
