"""What a checker is, what it sees, what it finds, and how a run ends."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from consensus.types import Instant, PeerId
from learning.learner import LearnerAnswer
from node.runtime.replica import AskLearner, OuterEffect


@dataclass(frozen=True, slots=True)
class Started:
    """A peer is about to start again, from these rows: a crash may have cost it the newest, a wiped disk all."""

    rows: frozenset[tuple[str, bytes]]
    """The table and the key of each."""


Event = OuterEffect | LearnerAnswer | Started


@dataclass(frozen=True, slots=True)
class Seen:
    """One effect of a peer, or one answer of its learner."""

    at: Instant
    peer: PeerId
    life: int
    """Counts restarts: what an earlier life had in memory is gone, and so may be its newest records."""
    event: Event

    @property
    def kind(self) -> type:
        """What checkers name in `reads`: the type of the event; of a request to the learner, the type of the request."""
        return type(self.event.request) if isinstance(self.event, AskLearner) else type(self.event)


@dataclass(frozen=True, slots=True)
class Finding:
    """What must not happen has happened."""

    checker: str
    detail: str
    witnesses: tuple[Seen, ...]
    """The events that contradict each other, in the order in which they were seen."""


class Checker(Protocol):
    """Follows all honest peers at once."""

    @property
    def name(self) -> str:
        """What holds as long as it finds nothing; a sentence."""
        ...

    @property
    def reads(self) -> tuple[type, ...]:
        """The kinds of events that it is shown (see `Seen.kind`)."""
        ...

    def see(self, seen: Seen) -> Finding | None:
        """Take in one event of an honest peer."""
        ...


@dataclass(frozen=True, slots=True)
class Excerpt:
    """The part of a trace that shows a finding: one line an event."""

    lines: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Pass:
    """Nothing was found, and everybody moved on. `counts`: how often each rare path was taken."""

    counts: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class NoProgress:
    """All links were whole and all faults over, and yet somebody stood still."""

    detail: str
    excerpt: Excerpt
    counts: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Diverged:
    """A checker found what must never be, whatever the schedule."""

    finding: Finding
    excerpt: Excerpt
    counts: Mapping[str, int] = field(default_factory=dict)


Verdict = Pass | NoProgress | Diverged
