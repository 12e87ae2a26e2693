"""Find and read the data files that a user has. What is wrong with one is said with its name, its format and its source."""

import gzip
import io
import os
import zlib
from dataclasses import dataclass
from pathlib import Path

from learning.task import TaskError

FOLDER_VARIABLE = "KUBRAT_DATA"
"""The environment variable that names the folder."""

FOLDER_DEFAULT = "data"
"""Without it: this one, in the current folder."""


def data_folder() -> Path:
    """Where the user's data files lie."""
    return Path(os.environ.get(FOLDER_VARIABLE) or FOLDER_DEFAULT)


@dataclass(frozen=True, slots=True)
class DataFile:
    """One file as it should be. Also found compressed (.gz), and under `subfolder`, where its archive unpacks to."""

    task: str
    folder: Path
    subfolder: str
    name: str
    format: str
    """For people: what the file should hold."""
    source: str
    """For people: where to get it."""

    def content(self, size: int) -> bytes:
        """The whole file, uncompressed. Raises TaskError unless it has exactly `size` bytes."""
        content = self.read(size + 1)
        if len(content) != size:
            found = f"{len(content):,} bytes" if len(content) < size else f"more than {size:,} bytes"
            raise self.fault(f"has {found}, expected {size:,}")
        return content

    def read(self, size_max: int) -> bytes:
        """The first `size_max` bytes, uncompressed, or all where there are fewer. Raises TaskError when it cannot be read."""
        path = self._path()
        try:
            with _open(path) as file:
                return file.read(size_max)
        except EOFError as error:
            raise self.fault(f"is cut off: {error}") from error
        except zlib.error as error:
            raise self.fault(f"is damaged: {error}") from error
        except OSError as error:  # gzip.BadGzipFile is one
            raise self.fault(f"cannot be read: {error.strerror or error}") from error

    def fault(self, found: str) -> TaskError:
        """The error that says what is wrong with this file."""
        message = f"task {self.task!r}: {self._path()} {found}; it should be {self.format}. Get it from {self.source}"
        return TaskError(message, "put the file there again, whole")

    def _path(self) -> Path:
        """Raises TaskError when there is no such file."""
        for folder in (self.folder, self.folder / self.subfolder):
            for path in (folder / self.name, folder / f"{self.name}.gz"):
                if path.exists():
                    return path
        raise TaskError(
            f"task {self.task!r}: there is no file {self.name} or {self.name}.gz in {self.folder.absolute()}; it should be "
            f"{self.format}. Get it from {self.source}",
            f"put it there, or name another folder by {FOLDER_VARIABLE}",
        )


def _open(path: Path) -> io.BufferedIOBase:
    return gzip.open(path) if path.suffix == ".gz" else path.open("rb")
