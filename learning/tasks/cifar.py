"""Tell a hundred kinds of things apart: CIFAR-100 (Krizhevsky, 2009), from the user's files in the binary version."""

from pathlib import Path

import numpy as np
from torch import nn

from learning.tasks.files import data_folder
from learning.tasks.images import Brightness, DataFile, subset_for_tests
from learning.tasks.supervised import Samples, SupervisedTask

SIDE, COLOURS = 32, 3

COARSE_CLASSES, FINE_CLASSES = 20, 100

LABEL_BYTES = 2
"""A record is the coarse label, the fine label, and the picture: all red values by rows, then green, then blue."""

RECORD_BYTES = LABEL_BYTES + COLOURS * SIDE * SIDE

TRAIN_SAMPLES, TEST_SAMPLES = 50_000, 10_000
"""The files have no header, so a cut-off one shows by its size alone."""

SOURCE = (
    "https://www.cs.toronto.edu/~kriz/cifar-100-binary.tar.gz "
    "(MD5 03b5dce01913d631647c71ecec9e9cb8; the data folder may hold its folder cifar-100-binary/ as it is)"
)


def cifar100() -> SupervisedTask:
    """50,000 colour pictures of 100 classes; 324,516 parameters."""
    return cifar100_task(data_folder(), TRAIN_SAMPLES, TEST_SAMPLES)


def cifar100_task(folder: Path, train_samples: int, test_samples: int) -> SupervisedTask:
    """From train.bin and test.bin in `folder`. Raises TaskError naming the file that is absent or not as expected."""
    train, test = _samples(folder, "train.bin", train_samples), _samples(folder, "test.bin", test_samples)
    return SupervisedTask("cifar100", convolutional(), "cross_entropy", train, subset_for_tests(test))


def convolutional() -> nn.Sequential:
    """Two convolutions with pooling, then dense layers of 384 and 192: the kind of network of Kardam's experiments (section 5).

    Pictures are centred on grey: without that, all the first layer's gradients share the sign of the mean brightness.
    """
    return nn.Sequential(
        Brightness(black=-0.5),
        nn.Conv2d(COLOURS, 16, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(3, stride=2),
        nn.Conv2d(16, 64, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(4),
        nn.Flatten(),
        nn.Linear(64 * 3 * 3, 384),
        nn.ReLU(),
        nn.Linear(384, 192),
        nn.ReLU(),
        nn.Linear(192, FINE_CLASSES),
    )


def _samples(folder: Path, name: str, samples: int) -> Samples:
    """Pictures (samples, 3, 32, 32) and their fine labels, unsigned bytes."""
    described = f"{samples:,} records of {RECORD_BYTES:,} bytes (CIFAR-100, binary version)"
    file = DataFile("cifar100", folder, "cifar-100-binary", name, described, SOURCE)
    records = np.frombuffer(file.content(samples * RECORD_BYTES), dtype=np.uint8).reshape(samples, RECORD_BYTES)
    for column, kind, classes in ((0, "coarse", COARSE_CLASSES), (1, "fine", FINE_CLASSES)):
        wrong = np.flatnonzero(records[:, column] >= classes)
        if len(wrong):
            label = records[wrong[0], column]
            raise file.fault(f"has the {kind} label {label} in record {wrong[0]:,}, expected 0..{classes - 1}")
    pictures = records[:, LABEL_BYTES:].reshape(samples, COLOURS, SIDE, SIDE)
    return Samples(pictures.copy(), records[:, 1].copy())
