"""What a checker is, what it sees, what it finds, how a run ends, and what of its trace a finding shows."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Protocol

from consensus.types import Instant, PeerId
from learning.learner import LearnerAnswer
from node.runtime.coupling import AskLearner, OuterEffect


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
    incarnation: int
    """Counts restarts: what an earlier incarnation had in memory is gone, and so may be its newest records."""
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
    contradicting: tuple[Seen, ...]
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


RunOutcome = Pass | NoProgress | Diverged


LINES_MAX = 16
"""On one screen, with the finding above it."""

LINE_CHARACTERS_MAX = 200
"""Longer ones are cut: what matters comes first."""

_BYTES_SHOWN = 4


def excerpt_of(events: Iterable[Seen], contradicting: tuple[Seen, ...], *, start: Instant) -> Excerpt:
    """At most LINES_MAX lines, the newest; times in ms since `start`."""
    lines = tuple(_line(seen, any(seen is earlier for earlier in contradicting), start) for seen in events)
    return Excerpt(lines[-LINES_MAX:])


def _line(seen: Seen, is_marked: bool, start: Instant) -> str:
    mark = "*" if is_marked else " "
    event = seen.event.request if isinstance(seen.event, AskLearner) else seen.event
    incarnation = f"/{seen.incarnation}" if seen.incarnation else ""
    return f"{mark} {seen.at - start:>9} ms  {seen.peer.hex()[:8]}{incarnation}  {_text_of(event)}"[:LINE_CHARACTERS_MAX]


def _text_of(value: object) -> str:
    if isinstance(value, bytes):
        short = value[:_BYTES_SHOWN].hex()
        return short if len(value) == 32 else f"{short}..({len(value)} bytes)"
    if isinstance(value, tuple):
        return f"[{', '.join(_text_of(item) for item in value)}]"
    if is_dataclass(value):
        parts = ", ".join(f"{field.name}={_text_of(getattr(value, field.name))}" for field in fields(value))
        return f"{type(value).__name__}({parts})"
    return str(value)
