"""The redo log: the newest batches of a database, and the highest round that the peer's key has ever signed for.

A batch is durable with one sync of this file; the database takes it over without one, and is synced once in many batches. What
a power cut takes from the database is put back from here at the next start. The signed round lies here and not in the
database: an old backup of that must not make an honest member sign twice. Leave this file out of backups.

A log continues one database: from the batch of its number on, of one opening of the store. A copy of the database that is
older, or of an earlier opening, is seen by that: it gets no rows from here, and the signed round counts all the same (decision
0026).
"""

import os
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from node.common.errors import NodeError, disk_error
from node.common.files import replace_file
from node.storage.tables import Row

REDO_LOG_NAME = "redo.log"
"""Beside the database, in the peer's folder."""

LOG_BATCHES_MAX = 512
"""Then the database is synced and a new log begun, which costs as much processor time as eight appended batches."""

LOG_BYTES_MAX = 2**21
"""Or so many bytes: read in a few milliseconds at a start."""

_MAGIC = b"kubrat redo log 1\n"
_FRAME = struct.Struct("<II")
"""Length and CRC-32 of what follows."""


class _Head(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    opening: str
    number: int
    signed_round: int


class LoggedBatch(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """One commit of the database. `signed_round`: the highest ever signed for, this batch included; 0: none."""

    number: int
    """Of the batch; the next one's is one more."""
    signed_round: int
    rows: tuple[Row, ...]


@dataclass(frozen=True, slots=True)
class LogContent:
    """What a log holds."""

    opening: str = ""
    """Of the store that has written it."""
    number: int = 0
    """Of the newest batch that the database held durably when the log was begun."""
    signed_round: int = 0
    batches: tuple[LoggedBatch, ...] = ()

    @property
    def last_number(self) -> int:
        """Of the newest batch."""
        return self.batches[-1].number if self.batches else self.number

    def missing_from(self, opening: str, number: int) -> tuple[LoggedBatch, ...]:
        """What a database of this opening, whose newest batch has this number, has lost; nothing where it is too old."""
        if opening != self.opening or number < self.number:
            return ()
        return tuple(batch for batch in self.batches if batch.number > number)


_HEAD_DECODER = msgspec.msgpack.Decoder(_Head)
_BATCH_DECODER = msgspec.msgpack.Decoder(LoggedBatch)
_ENCODER = msgspec.msgpack.Encoder()


def read_redo_log(path: Path) -> LogContent:
    """What lies there; nothing where there is no log. A batch that was cut off was never acknowledged.

    Raises NodeError when the log is damaged.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return LogContent()
    except OSError as error:
        raise disk_error("read the redo log", path, error) from error
    if not data.startswith(_MAGIC):
        raise _damaged(path, "it does not begin as one")
    try:
        frames = _frames(path, data)
        if not frames:
            raise _damaged(path, "its head is cut off")
        head = _HEAD_DECODER.decode(frames[0])
        batches = tuple(map(_BATCH_DECODER.decode, frames[1:]))
    except msgspec.DecodeError as error:
        raise _damaged(path, str(error)) from error
    if any(batch.number != head.number + place for place, batch in enumerate(batches, 1)):
        raise _damaged(path, "its batches are not numbered one after the other")
    signed_round = max((head.signed_round, *(batch.signed_round for batch in batches)))
    return LogContent(head.opening, head.number, signed_round, batches)


def _frames(path: Path, data: bytes) -> list[bytes]:
    found: list[bytes] = []
    place = len(_MAGIC)
    while place + _FRAME.size <= len(data):
        length, checksum = _FRAME.unpack_from(data, place)
        end = place + _FRAME.size + length
        body = data[place + _FRAME.size : end]
        if zlib.crc32(body) != checksum or not body:
            if end < len(data) and body.strip(b"\0"):
                raise _damaged(path, f"the checksum of batch {len(found)} is wrong")
            break
        found.append(body)
        place = end
    return found


def _damaged(path: Path, detail: str) -> NodeError:
    fix = "move it away: at its next start the peer asks f + 1 members for its newest block before it signs another"
    return NodeError(f"the redo log {path} is damaged: {detail}", fix)


class RedoLog:
    """Writes a log. Each method returns once what it was given is durable; all raise OSError or NodeError."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None
        self._batches = self._bytes = 0

    @property
    def is_full(self) -> bool:
        """Whether a new log should be begun."""
        return self._batches >= LOG_BATCHES_MAX or self._bytes >= LOG_BYTES_MAX

    def begin(self, opening: str, number: int, signed_round: int) -> None:
        """A new log in place of the old one: the database durably holds all batches up to this number."""
        self.close()
        content = _MAGIC + _framed(_ENCODER.encode(_Head(opening, number, signed_round)))
        replace_file(self._path, content, "write the redo log", mode=0o600)
        self._descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND)
        self._batches, self._bytes = 0, len(content)

    def append(self, number: int, signed_round: int, rows: Sequence[Row]) -> None:
        """Add the next batch."""
        assert self._descriptor is not None, "begin comes first"
        frame = _framed(_ENCODER.encode(LoggedBatch(number, signed_round, tuple(rows))))
        written = os.write(self._descriptor, frame)
        if written != len(frame):
            written += os.write(self._descriptor, frame[written:])  # raises what has cut it short
        assert written == len(frame), "a regular file takes all, or says why not"
        os.fdatasync(self._descriptor)
        self._batches, self._bytes = self._batches + 1, self._bytes + len(frame)

    def close(self) -> None:
        """Leave the file as it is."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def _framed(body: bytes) -> bytes:
    return _FRAME.pack(len(body), zlib.crc32(body)) + body
