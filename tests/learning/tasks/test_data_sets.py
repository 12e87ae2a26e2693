"""The data that ship with the package are those of their sources, value for value, whatever libraries are there."""

import hashlib

import numpy as np

from learning.tasks.data_sets import handwritten_digits, wines


def digest(*arrays: np.ndarray) -> str:
    hasher = hashlib.blake2b(digest_size=16)
    for array in arrays:
        assert array.dtype.str in {"<i8", "<f8"}
        hasher.update(f"{array.dtype.str}{array.shape}".encode() + np.ascontiguousarray(array).tobytes())
    return hasher.hexdigest()


def test_the_digits_are_the_1797_of_uci_in_their_order() -> None:
    """The digest is that of scikit-learn's load_digits, as whole numbers."""
    images, labels = handwritten_digits()
    assert (images.min(), images.max()) == (0, 16)
    assert np.bincount(labels).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    assert digest(images, labels) == "9dcdbb58eb10e5b3c9ae395c4b243df8"


def test_the_wines_are_the_178_of_uci_in_their_order() -> None:
    """The digest is that of scikit-learn's load_wine."""
    measurements, cultivars = wines()
    assert (measurements[0].tolist()[:3], np.bincount(cultivars).tolist()) == ([14.23, 1.71, 2.43], [59, 71, 48])
    assert digest(measurements, cultivars) == "21266651994c60235a61dde6525bab7f"
