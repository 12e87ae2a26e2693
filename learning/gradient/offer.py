"""The block that we would lead next: it grows as contributions come, so that each is judged once."""

from dataclasses import dataclass

from learning.gradient.blocks import BlockState, Scribe
from learning.gradient.pending import Waiting
from learning.learner import StepOffered

LISTED_MAX = 64
"""What a block may list."""


@dataclass(frozen=True, slots=True)
class Offer:
    """On top of `base`; `state`: after the block, ourselves being its leader."""

    base: bytes
    state: BlockState
    listed: tuple[bytes, ...] = ()

    def extended(self, waiting: Waiting, scribe: Scribe) -> "Offer | None":
        """With one more contribution; None when the block is full, or would gain nothing by it. Raises PayloadMissingError."""
        contribution = waiting.contribution
        if len(self.listed) == LISTED_MAX or scribe.fault_of(self.state, contribution.author, waiting.submission) is not None:
            return None
        return Offer(self.base, scribe.listed(self.state, contribution), (*self.listed, contribution.digest))

    def told(self) -> StepOffered:
        """For the ordering machine; a block of gradients claims nothing."""
        return StepOffered(self.base, self.listed, b"", self.state.digest)
