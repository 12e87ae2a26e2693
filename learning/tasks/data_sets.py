"""The data sets that ship with the package, so that a first run needs no download: data/SOURCES.md says whose they are."""

from pathlib import Path

import numpy as np

from learning.task import Float64Array, Int64Array

FOLDER = Path(__file__).parent / "data"


def handwritten_digits() -> tuple[Int64Array, Int64Array]:
    """1,797 images of 8 x 8 pixels, (images, 64) with brightness 0..16, and the digits 0..9 that they show, (images,).

    The test part of UCI's Optical Recognition of Handwritten Digits (Alpaydin and Kaynak, 1998), in its order: by writer.
    """
    with np.load(FOLDER / "digits.npz") as arrays:
        return arrays["images"].astype(np.int64), arrays["labels"].astype(np.int64)


def wines() -> tuple[Float64Array, Int64Array]:
    """13 measurements each of 178 wines, (wines, 13), and which of three growers made them, 0..2, (wines,).

    UCI's Wine (Forina et al., 1991), in its order: by grower.
    """
    with np.load(FOLDER / "wines.npz") as arrays:
        return arrays["measurements"], arrays["cultivars"].astype(np.int64)
