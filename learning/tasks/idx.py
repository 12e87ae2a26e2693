"""The idx format of the MNIST family: a magic number, the lengths of the axes, unsigned bytes (LeCun, Cortes, Burges, 1998)."""

import math

import numpy as np
import numpy.typing as npt

from learning.tasks.data_files import DataFile

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
