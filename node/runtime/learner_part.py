"""Whether something of our learner's is to be expected: as it has said, and while it hears what others have said."""

from collections.abc import Iterator

from consensus.protocol import LearnerPartDue


class LearnerPart:
    """Remembers what was told. Nothing is, where the learner never speaks of its part."""

    def __init__(self) -> None:
        self._is_due: bool | None = None
        self._told: bool | None = None
        self._asked_at = self._applied_at = 0
        """Heights of the newest step with items that it was asked to apply, and of the newest that it has applied."""

    def on_said(self, is_due: bool) -> None:
        """The learner's own words."""
        self._is_due = is_due

    def on_asked(self, height: int) -> None:
        """It is asked to apply a step with items."""
        self._asked_at = height

    def on_applied(self, height: int) -> None:
        """It has applied a step."""
        self._applied_at = height

    def news(self) -> Iterator[LearnerPartDue]:
        """What the ordering machine has not heard yet."""
        if self._is_due is None:
            return
        is_due = self._is_due or self._applied_at < self._asked_at
        if is_due != self._told:
            self._told = is_due
            yield LearnerPartDue(is_due)
