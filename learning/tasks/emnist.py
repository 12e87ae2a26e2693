"""Read handwritten letters and digits: EMNIST (Cohen, Afshar, Tapson, van Schaik, arXiv 1702.05373), from the user's files."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import nn

from learning.tasks.files import data_folder
from learning.tasks.images import Brightness, DataFile, Uint8Array, read_idx, subset_for_tests
from learning.tasks.supervised import Samples, SupervisedTask

SIDE = 28
"""Pixels."""

SOURCE = (
    "https://www.nist.gov/itl/products-and-services/emnist-dataset "
    "(the archive in MNIST's binary format; the data folder may hold its folder gzip/ as it is)"
)


@dataclass(frozen=True, slots=True)
class Split:
    """One of the data set's splits. Its labels in the files are `first_label`, first_label + 1, ..."""

    task: str
    file_name: str
    classes: int
    first_label: int = 0


BALANCED = Split("emnist", "balanced", 47)
LETTERS = Split("emnist-letters", "letters", 26, first_label=1)
DIGITS = Split("emnist-digits", "digits", 10)


def emnist_balanced() -> SupervisedTask:
    """112,800 pictures of 47 letters and digits, those that look alike in one class; 189,327 parameters."""
    return emnist_task(BALANCED, data_folder())


def emnist_letters() -> SupervisedTask:
    """124,800 pictures of 26 letters, large and small in one class; 178,806 parameters."""
    return emnist_task(LETTERS, data_folder())


def emnist_digits() -> SupervisedTask:
    """240,000 pictures of 10 digits; 170,790 parameters."""
    return emnist_task(DIGITS, data_folder())


def emnist_task(part: Split, folder: Path) -> SupervisedTask:
    """This part of the data from idx files in `folder`. Raises TaskError naming the file that is absent or not as expected."""
    train, test = (_samples(part, folder, purpose) for purpose in ("train", "test"))
    return SupervisedTask(part.task, convolutional(part.classes), "cross_entropy", train, subset_for_tests(test))


def convolutional(classes: int) -> nn.Sequential:
    """Two convolutions with pooling and two dense layers, the kind of network of Kardam's experiments (arXiv 1802.07928, 5)."""
    return nn.Sequential(
        Brightness(black=0.0),
        nn.Conv2d(1, 10, 5),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(10, 20, 5),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(20 * 4 * 4, 500),
        nn.ReLU(),
        nn.Linear(500, classes),
    )


def _samples(part: Split, folder: Path, purpose: str) -> Samples:
    """Pictures (samples, 1, 28, 28), upright: in the files they are transposed."""
    images_file = _file(part, folder, f"{purpose}-images-idx3-ubyte", f"idx images of {SIDE} x {SIDE} unsigned bytes")
    labels_file = _file(part, folder, f"{purpose}-labels-idx1-ubyte", "idx labels, unsigned bytes, as many as images")
    images, labels = read_idx(images_file, (SIDE, SIDE)), read_idx(labels_file, ())
    if len(labels) != len(images):
        raise labels_file.fault(
            f"has {len(labels):,} labels, expected {len(images):,}, as many as {images_file.name} has images"
        )
    return Samples(images.transpose(0, 2, 1)[:, None].copy(), _classes(part, labels_file, labels))


def _file(part: Split, folder: Path, ending: str, content: str) -> DataFile:
    return DataFile(part.task, folder, "gzip", f"emnist-{part.file_name}-{ending}", content, SOURCE)


def _classes(part: Split, file: DataFile, labels: Uint8Array) -> Uint8Array:
    last_label = part.first_label + part.classes - 1
    wrong = np.flatnonzero((labels < part.first_label) | (labels > last_label))
    if len(wrong):
        allowed = f"{part.first_label}..{last_label}"
        raise file.fault(f"has the label {labels[wrong[0]]} for sample {wrong[0]:,}, expected {allowed}")
    return labels - np.uint8(part.first_label)
