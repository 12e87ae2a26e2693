"""Collects what one input leads to: records first, all in one batch, then the guard, then everything else in order.

So nothing that we sign or decide leaves before it is durable, whoever adds to it.
"""

from consensus.effects import Effect, Guard, Record


class Outbox:
    """The effects of the input that is being handled."""

    def __init__(self) -> None:
        self._records: list[Record] = []
        self._guard: int | None = None
        self._others: list[Effect] = []

    def record(self, record: Record) -> None:
        """To be durable before anything else."""
        self._records.append(record)

    def guard(self, round_number: int) -> None:
        """To be in the guard file before anything but the records."""
        self._guard = max(round_number, self._guard or 0)

    def add(self, effect: Effect) -> None:
        """To be done after everything added before."""
        self._others.append(effect)

    def take(self) -> tuple[Effect, ...]:
        """All effects in order; the outbox is empty afterwards."""
        guard = () if self._guard is None else (Guard(self._guard),)
        effects = (*self._records, *guard, *self._others)
        self._records, self._guard, self._others = [], None, []
        return effects
