"""Do peers agree? Read off their statuses alone, by anybody who can ask them."""

from collections.abc import Sequence
from dataclasses import dataclass

from node.api.status import NodeStatus, StepStatus


@dataclass(frozen=True, slots=True)
class Disagreement:
    """Two peers hold different steps at a height that both call final."""

    height: int
    one: str
    other: str


def agreed_step(statuses: Sequence[NodeStatus]) -> StepStatus | None:
    """The highest step of their chains that all of them hold, with one and the same state digest; None without any.

    Of equal entries the one that knows its metrics is returned.
    """
    if not statuses:
        return None
    held_by_all = set.intersection(*({_key(step) for step in _steps_of(status)} for status in statuses))
    if not held_by_all:
        return None
    highest = max(held_by_all)
    entries = [step for status in statuses for step in _steps_of(status) if _key(step) == highest]
    return max(entries, key=lambda step: (step.fitness is not None, len(step.metrics)))


def final_disagreement(statuses: Sequence[NodeStatus]) -> Disagreement | None:
    """The lowest height at which two peers hold different final steps; None when there is none to be seen."""
    seen: dict[int, tuple[str, str]] = {}
    found: list[Disagreement] = []
    for status in statuses:
        final_height = status.final_height or 0
        for step in _steps_of(status):
            if step.height > final_height:
                continue
            first_id, first_peer = seen.setdefault(step.height, (step.id, status.peer_id))
            if first_id != step.id:
                found.append(Disagreement(step.height, first_peer, status.peer_id))
    return min(found, key=lambda item: item.height, default=None)


def _steps_of(status: NodeStatus) -> tuple[StepStatus, ...]:
    """All steps that a peer tells of: those below its head, and the newest final ones, which may lie far deeper."""
    return (*status.steps, *status.final_steps)


def _key(step: StepStatus) -> tuple[int, str, str]:
    return (step.height, step.id, step.state_digest)
