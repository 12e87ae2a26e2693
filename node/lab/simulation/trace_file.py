"""The file that takes a trace, a line for each entry."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from node.common.errors import NodeError, disk_error
from node.lab.simulation.trace import Sink


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
