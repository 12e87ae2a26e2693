"""When a learner searches though requests wait: else who has it judge without end keeps it from finding anything itself."""

from learning.learner import DeliverRequest, LearnerRequest

SHARE = 5
"""Where deliveries never end a fifth of the time is searched. Other requests are answered first, whatever they cost: a block
that is to be checked, or a person."""


class SearchShare:
    """What our own search is owed. Times in any unit, one and the same."""

    def __init__(self) -> None:
        self._owed = 0.0

    def answered(self, request: LearnerRequest, duration: float) -> None:
        """A request has taken so long."""
        if isinstance(request, DeliverRequest):
            self._owed += duration / (SHARE - 1)

    def searched(self, duration: float) -> None:
        """A slice of search has taken so long."""
        self._owed = max(0.0, self._owed - duration)

    def rested(self) -> None:
        """No request waits: nothing is owed any more."""
        self._owed = 0.0

    def is_due(self, slice_duration: float) -> bool:
        """Whether a slice, which takes about so long, comes before the next request."""
        return self._owed > slice_duration
