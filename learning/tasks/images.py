"""Pictures in files that the user has: found, read, kept as bytes, and made numbers by the model's first layer.

What is wrong with a file is said with its name, its format and its source. The idx format is that of the MNIST family: a magic
number, the lengths of the axes, unsigned bytes (LeCun, Cortes, Burges, 1998).
"""

import gzip
import io
import math
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from learning.exact import permutation
from learning.task import TaskError
from learning.tasks.files import FOLDER_VARIABLE
from learning.tasks.supervised import Samples


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


UNSIGNED_BYTES = 0x08
"""The third byte of the magic number: the type of the values. The fourth one is the number of axes."""

LENGTH_BYTES = 4
"""Each axis' length is a big-endian unsigned integer, as the magic number is."""

SAMPLES_MAX = 1_000_000
"""EMNIST's largest part has 814,255. A header that says more is damaged, and must not make us ask for terabytes."""

Uint8Array = npt.NDArray[np.uint8]


def read_idx(file: DataFile, sample_shape: tuple[int, ...]) -> Uint8Array:
    """The values, shape (samples, *sample_shape): `()` for labels, (28, 28) for EMNIST's images.

    Raises TaskError naming the file when it is absent, cut off, too long, damaged, or of another format or shape.
    """
    axes = 1 + len(sample_shape)
    header_bytes = LENGTH_BYTES * (1 + axes)
    header = file.read(header_bytes)
    magic, expected = header[:LENGTH_BYTES].hex(), bytes([0, 0, UNSIGNED_BYTES, axes]).hex()
    if magic != expected:
        raise file.fault(f"starts with the bytes {magic or 'of nothing'}, expected {expected}")
    if len(header) < header_bytes:
        raise file.fault(f"has {len(header)} bytes, expected a header of {header_bytes}")
    shape = tuple(int(length) for length in np.frombuffer(header, dtype=">u4", offset=LENGTH_BYTES))
    if shape[1:] != sample_shape or not 1 <= shape[0] <= SAMPLES_MAX:
        wanted = " x ".join(["samples", *map(str, sample_shape)])
        raise file.fault(f"has the shape {' x '.join(map(str, shape))}, expected {wanted} with 1..{SAMPLES_MAX:,} samples")
    content = file.content(header_bytes + math.prod(shape))
    return np.frombuffer(content, dtype=np.uint8, offset=header_bytes).reshape(shape)


BRIGHTNESS_LEVELS = 256
"""A power of two, so the division is exact in every precision."""

TEST_SAMPLES_MAX = 2_000
"""Of the test set, at random: its accuracy is for people, is measured again and again, and has a spread of 1 % by then."""

TEST_SEED = b"kubrat/test-pictures/1"
"""Some test sets are sorted by class."""


class Brightness(nn.Module):  # type: ignore[misc]  # torch is not followed by mypy (pyproject.toml), so its classes are Any
    """Bytes 0..255 become numbers from `black` to `black` + 255/256, in the model's own precision."""

    def __init__(self, black: float) -> None:
        super().__init__()
        self.register_buffer("level", torch.tensor(1 / BRIGHTNESS_LEVELS))
        self.register_buffer("black", torch.tensor(black))

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        """Any shape."""
        return pictures * self.level + self.black


def subset_for_tests(samples: Samples) -> Samples:
    """At most TEST_SAMPLES_MAX of them."""
    chosen = np.sort(permutation(TEST_SEED, len(samples))[:TEST_SAMPLES_MAX])
    return Samples(samples.inputs[chosen], samples.labels[chosen])
