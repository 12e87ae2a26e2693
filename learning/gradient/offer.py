"""The block that we would lead next: it grows as contributions come, so that each is judged once."""

from dataclasses import dataclass

from learning.gradient.blocks import BlockState, Scribe
from learning.gradient.pending import Waiting
from learning.learner import StepOffered
from learning.rules.rule import Outcome

OF_NO_USE = frozenset({Outcome.COPY, Outcome.OUT_OF_RANGE})
"""What leaves the state as it is: it takes no other's place."""


@dataclass(frozen=True, slots=True)
class Offer:
    """On top of `base`; `state`: after the block, ourselves being its leader."""

    base: bytes
    state: BlockState
    listed: tuple[bytes, ...] = ()

    def extended(self, waiting: Waiting, scribe: Scribe) -> "Offer | None":
        """With one more contribution; None when the block is full, or would gain nothing by it. Raises PayloadMissingError."""
        contribution = waiting.contribution
        if len(self.listed) >= scribe.listed_max(self.state):
            return None
        if scribe.fault_in_block(self.state, contribution.author, waiting.submission) is not None:
            return None
        state = scribe.listed(self.state, contribution)
        if state.judged[-1].outcome in OF_NO_USE:
            return None
        return Offer(self.base, state, (*self.listed, contribution.digest))

    def told(self) -> StepOffered:
        """For the ordering machine; a block of gradients claims nothing."""
        return StepOffered(self.base, self.listed, b"", self.state.digest)
