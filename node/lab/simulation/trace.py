"""What happened, in order: a hash that two equal runs share, the last lines for people, and all of them in a file."""

import hashlib
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TextIO

from consensus.effects import Broadcast, Record, Send, SetTimer, SolvePuzzle
from consensus.proof_of_work.puzzle import TARGET_BYTES
from consensus.types import Instant, PeerId
from learning.learner import (
    AdoptRequest,
    AssessRequest,
    CheckRequest,
    ContributionAssessed,
    DeliverRequest,
    FinaliseRequest,
    LearnerAnswer,
    LearnerRequest,
    ReplayRequest,
    RestoreRequest,
    StateKept,
)
from node.common.errors import NodeError, disk_error
from node.runtime.coupling import AskLearner, OuterEffect

Happening = OuterEffect | LearnerAnswer

Entry = tuple[Instant, PeerId, Happening]

ENTRIES_KEPT = 4_096
"""For an excerpt: some seconds of a small network. Entries are references, the messages exist anyway."""

TEXT_CHARACTERS_MAX = 160
"""A line of a trace fits into a terminal or two."""

Sink = Callable[[str], None]


class Trace:
    """Takes one entry after the other. `sink`, where there is one, is handed each as a line of text."""

    def __init__(self, sink: Sink | None = None) -> None:
        self._hasher = hashlib.blake2b(digest_size=16)
        self._sink = sink
        self.count = 0
        self.newest: deque[Entry] = deque(maxlen=ENTRIES_KEPT)

    @property
    def digest(self) -> str:
        """Hash of all entries, with their times and peers."""
        return self._hasher.hexdigest()

    def add(self, now: Instant, peer: PeerId, happening: Happening) -> None:
        """The next entry."""
        self.count += 1
        self.newest.append((now, peer, happening))
        self._hasher.update(b"%d %b %b " % (now, peer, _name_of(happening)) + _content(happening))
        if self._sink is not None:
            self._sink(entry_text((now, peer, happening)))


def entry_text(entry: Entry) -> str:
    """One line: the time in ms, the peer, what it did."""
    now, peer, happening = entry
    text = repr(happening)
    return f"{now} {peer.hex()[:8]} {text if len(text) <= TEXT_CHARACTERS_MAX else text[: TEXT_CHARACTERS_MAX - 3] + '...'}"


def _content(happening: Happening) -> bytes:
    """What identifies it; the frequent ones without the detour of their text, which would take a third of the time."""
    match happening:
        case Send(peer, message):
            return peer + message
        case Broadcast(message):
            return message
        case Record(table, key, value):
            return b"%b %b %b" % (table.encode(), key, value)
        case AskLearner(request):
            return _name_of(request) + _subject(request)
        case SetTimer(name, at):
            return b"%b %d" % (name.encode(), at)
        case ContributionAssessed(digest, verdict, is_useful, detail):
            return b"%b %b %d %b" % (digest, verdict.value.encode(), is_useful, detail.encode())
        case SolvePuzzle(prefix, target):
            return prefix + target.to_bytes(TARGET_BYTES, "big")
        case StateKept():
            return happening.step + happening.state_digest + happening.memory
        case _:
            return repr(happening).encode()


def _name_of(value: object) -> bytes:
    kind: type = type(value)
    return _name(kind)


@cache
def _name(kind: type) -> bytes:
    return kind.__name__.encode()


def _subject(request: LearnerRequest) -> bytes:
    """The digest that names what is asked about: it covers the rest."""
    match request:
        case AssessRequest(contribution):
            return contribution.digest
        case CheckRequest(step) | ReplayRequest(step):
            return step.id
        case DeliverRequest(delivered):
            return delivered.id
        case AdoptRequest(step) | FinaliseRequest(step):
            return step
        case RestoreRequest(state):
            return state.step + state.state_digest
        case _:
            return b""


class TraceFileError(NodeError):
    """The file takes no more lines: the world's failure, and no mistake of a simulated peer."""


@contextmanager
def lines_into(path: Path | None) -> Iterator[Sink | None]:
    """What takes the lines; None where no file is wanted. Raises TraceFileError, from the sink and at the end, too."""
    if path is None:
        yield None
        return
    try:
        file = path.open("w", encoding="utf-8")
    except OSError as error:
        raise _refused(path, error) from error
    try:
        yield lambda line: _write(file, path, line)
    finally:
        _close(file, path)


def _write(file: TextIO, path: Path, line: str) -> None:
    try:
        file.write(f"{line}\n")
    except OSError as error:
        raise _refused(path, error) from error


def _close(file: TextIO, path: Path) -> None:
    """The last lines are written only now."""
    try:
        file.close()
    except OSError as error:
        raise _refused(path, error) from error


def _refused(path: Path, error: OSError) -> TraceFileError:
    told = disk_error("write the trace", path, error)
    return TraceFileError(told.message, told.fix)
