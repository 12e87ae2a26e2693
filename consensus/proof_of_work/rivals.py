"""Branches that leave the main chain below the final block: followed by their headers alone, so that the node can stop
with a clear message when one of them has more work, instead of undoing what was final.
"""

from dataclasses import dataclass

from consensus.proof_of_work.link import Link
from consensus.types import Height, StepId

RIVALS_MAX = 256
"""Only the newest link of each rival branch is kept; beyond so many branches the lightest are forgotten."""


@dataclass(frozen=True, slots=True)
class Rival:
    """The newest solved block of a branch that left the main chain after the block at `fork_height`."""

    link: Link
    fork_height: Height


class Rivals:
    """Rival branches by their newest block, and their parents for siblings that come late."""

    def __init__(self) -> None:
        self._rivals: dict[StepId, Rival] = {}

    def __len__(self) -> int:
        return len(self._rivals)

    def get(self, step: StepId) -> Rival | None:
        """The rival of this id, if it is remembered."""
        return self._rivals.get(step)

    def add(self, rival: Rival) -> None:
        """Remember a rival whose puzzle is solved, and forget its grandparent: siblings come late, cousins hardly ever."""
        parent = self._rivals.get(rival.link.parent)
        if parent is not None:
            self._rivals.pop(parent.link.parent, None)
        self._rivals[rival.link.id] = rival
        if len(self._rivals) > RIVALS_MAX:
            lightest = min(self._rivals.values(), key=lambda known: (known.link.work, known.link.id))
            del self._rivals[lightest.link.id]
