"""The part of a trace that people read: one line an event, the witnesses marked, bytes shortened."""

from collections.abc import Iterable
from dataclasses import fields, is_dataclass

from consensus.types import Instant
from node.lab.checkers.finding import Excerpt, Seen
from node.runtime.replica import AskLearner

LINES_MAX = 16
"""On one screen, with the finding above it."""

LINE_CHARACTERS_MAX = 200
"""Longer ones are cut: what matters comes first."""

_BYTES_SHOWN = 4


def excerpt_of(events: Iterable[Seen], witnesses: tuple[Seen, ...], *, start: Instant) -> Excerpt:
    """At most LINES_MAX lines, the newest; times in ms since `start`."""
    lines = tuple(_line(seen, any(seen is witness for witness in witnesses), start) for seen in events)
    return Excerpt(lines[-LINES_MAX:])


def _line(seen: Seen, is_witness: bool, start: Instant) -> str:
    mark = "*" if is_witness else " "
    event = seen.event.request if isinstance(seen.event, AskLearner) else seen.event
    life = f"/{seen.life}" if seen.life else ""
    return f"{mark} {seen.at - start:>9} ms  {seen.peer.hex()[:8]}{life}  {_shown(event)}"[:LINE_CHARACTERS_MAX]


def _shown(value: object) -> str:
    if isinstance(value, bytes):
        short = value[:_BYTES_SHOWN].hex()
        return short if len(value) == 32 else f"{short}..({len(value)} bytes)"
    if isinstance(value, tuple):
        return f"[{', '.join(_shown(item) for item in value)}]"
    if is_dataclass(value):
        parts = ", ".join(f"{field.name}={_shown(getattr(value, field.name))}" for field in fields(value))
        return f"{type(value).__name__}({parts})"
    return str(value)
