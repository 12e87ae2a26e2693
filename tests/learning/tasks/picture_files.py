"""Files of random pictures in the forms of EMNIST and CIFAR-100."""

import gzip
import struct
from pathlib import Path

import numpy as np

from learning.tasks.cifar import RECORD_BYTES

GENERATOR = np.random.default_rng(3)


def idx_bytes(values: np.ndarray) -> bytes:
    return bytes([0, 0, 8, values.ndim]) + struct.pack(f">{values.ndim}I", *values.shape) + values.astype(np.uint8).tobytes()


def emnist_files(folder: Path, part: str, first: int, classes: int, *, ending: str = "") -> dict[str, np.ndarray]:
    """Writes the four files; 12 training samples, 5 for tests."""
    contents = {}
    for purpose, samples in (("train", 12), ("test", 5)):
        contents[f"{purpose}-images-idx3"] = GENERATOR.integers(0, 256, (samples, 28, 28))
        contents[f"{purpose}-labels-idx1"] = GENERATOR.integers(first, first + classes, samples)
    for name, values in contents.items():
        raw = idx_bytes(values)
        (folder / f"emnist-{part}-{name}-ubyte{ending}").write_bytes(gzip.compress(raw) if ending else raw)
    return contents


def cifar_files(folder: Path, train: int = 12, test: int = 5) -> dict[str, np.ndarray]:
    contents = {}
    for name, samples in (("train.bin", train), ("test.bin", test)):
        records = GENERATOR.integers(0, 256, (samples, RECORD_BYTES)).astype(np.uint8)
        records[:, 0] %= 20
        records[:, 1] %= 100
        (folder / name).write_bytes(records.tobytes())
        contents[name] = records
    return contents
